"""What a session follows: chosen as soon as something is known, and again as catalogue, volumes and lives change.

A lake that knows the venue's markets from a short time ago is enough to begin with; without one the walk of the
catalogue is waited for, though not for long. Everything that is learnt comes through the intake.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final, Protocol

from flows.collector.catalog import Catalog, Page
from flows.collector.connection import Link
from flows.collector.http import Http
from flows.collector.keeper import Keeper, Pass
from flows.collector.lifecycle import Sweep, Swept
from flows.collector.making import catalog_name, sweep_name
from flows.collector.pipeline import Pipeline
from flows.collector.places import PlaceFile
from flows.collector.universe import Listed, Rule, Survey, survey, unknown_names
from flows.venues.base import Wire
from lake.vocab import MarketStatus, Venue

ROUND: Final = 100
"""Requests of one round of the sweep; where more markets are followed they have their turn in later rounds."""

MISSES: Final = 3
"""Rounds in a row in which a venue knew nothing of a market that is followed, until it is followed no longer."""


class Follower(Protocol):
    """Who follows."""

    followed: dict[int, Listed]

    async def follow(self, markets: list[Listed]) -> None:
        """Ask for these as well."""

    async def unfollow(self, markets: Iterable[int]) -> None:
        """Ask no longer for these."""


class Following:
    """Chooses for one venue's session. `books` is where Polymarket's order book is, None on Kalshi."""

    def __init__(
        self,
        venue: Venue,
        follower: Follower,
        link: Link,
        pipeline: Pipeline,
        rule: Rule,
        listing: Http,
        books: Http | None,
        file: PlaceFile,
    ) -> None:
        self._venue = venue
        self._follower = follower
        self._link = link
        self._pipeline = pipeline
        self._rule = rule
        catalog = Catalog(listing, venue, link.clock, pipeline.events.__contains__)
        self._keeper = Keeper(
            catalog, file, self._put_page, clock=link.clock, timing=link.timing, rng=link.rng, say=self._say,
            settle=self._settle,
        )  # fmt: skip
        self._sweep = Sweep(venue, listing, books, self._put_answer)
        self._is_chosen = asyncio.Event()
        self._is_read = asyncio.Event()  # the catalogue, once in this life, or as much of it as the venue gives
        self._is_due = asyncio.Event()  # to choose again
        self._seen: set[int] | None = None
        self._suspects: dict[int, str] = {}  # market to native id: open as far as we know, but not on the venue's list
        self._overdue: dict[int, str] = {}
        self._misses: Counter[int] = Counter()
        self._turn = 0
        self._told: set[str] = set()

    # --- the catalogue ---------------------------------------------------------------------------

    async def read(self) -> None:
        """Keep the catalogue up, for ever."""
        await self._keeper.run(self._passed, self._rule.top or 0, self._is_chosen)

    async def known(self) -> Survey | None:
        """What can be followed at once, of a lake that knows it from a short time ago; to be asked before `read`."""
        if not self._keeper.is_fresh:
            return None
        found = await self._survey()
        if not found.listed:
            self._keeper.start_over()
            return None
        self._say("catalogue: known from before; it is read meanwhile")
        self._is_chosen.set()
        return found

    async def first(self) -> Survey:
        """What can be followed soon after the walk began."""
        wait = self._link.timing.follow_after
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._is_read.wait()
            is_read = self._is_read.is_set()
            found = await self._survey()
            if found.listed or is_read:
                if not is_read:
                    self._say(f"catalogue: it takes a while; {found.open:,} open markets are known so far")
                self._is_chosen.set()
                return found

    async def _passed(self, done: Pass) -> None:
        """A reading came to its end."""
        intake = self._link.intake
        await intake.consumed()
        if not done.is_walk:
            return
        intake.anchor()
        self._seen = done.seen
        self._is_due.set()
        if done.fault is not None:
            open_ = (await self._survey()).open
            self._say(f"catalogue: {done.fault}; it is not whole, {open_:,} open markets are known")
            if not open_:
                return
        self._is_read.set()

    async def _put_page(self, page: Page) -> None:
        name = sweep_name if page.is_change else catalog_name
        await self._link.intake.room()
        self._link.intake.frame(name(self._venue), page.wire, page.payload)

    async def _put_answer(self, wire: Wire, answer: bytes) -> None:
        await self._link.intake.room()
        self._link.intake.frame(sweep_name(self._venue), wire, answer)

    async def _settle(self) -> None:
        """What was read is in the lake: a walk may go on behind it."""
        await self._link.sealed(self._link.intake.cut())

    # --- choosing --------------------------------------------------------------------------------

    async def choose(self) -> None:
        """Choose again, for ever: when a walk came to its end, and as volumes change."""
        while True:
            is_walked = True
            try:
                async with asyncio.timeout(self._link.timing.choose_every):
                    await self._is_due.wait()
            except TimeoutError:
                is_walked = False
            self._is_due.clear()
            if self._rule.top is not None and not is_walked:
                await self._keeper.lead(self._rule.staying or 0, asyncio.Event())
            await self._choose_again()

    async def _choose_again(self) -> None:
        seen, self._seen = self._seen, None
        found = await self._survey(seen)
        if seen is not None:
            self._suspects = found.unseen
        followed = self._follower.followed
        add, drop = self._rule.choose_again(found.listed, followed, found.refused, self._venue, self._link.clock.wall())
        if drop:
            await self._follower.unfollow(drop)
        add = [one for one in add if one.market not in followed]
        if add:
            await self._follower.follow(add)
        if add or drop:
            changes = f"{len(add):,} more, {len(drop):,} no longer"
            self._say(f"{len(followed):,} of {found.open:,} open markets followed now: {changes}")

    async def _survey(self, seen: set[int] | None = None) -> Survey:
        await self._link.intake.consumed()
        now, pipeline = self._link.clock.wall(), self._pipeline
        followed = self._follower.followed
        found = await survey(
            pipeline.markets, pipeline.stats, self._venue, self._rule, now, followed=followed.keys(), seen=seen
        )
        self._overdue = found.overdue
        if self._is_read.is_set():
            for line in unknown_names(self._rule, found, self._venue):
                if line.partition(";")[0] not in self._told:
                    self._told.add(line.partition(";")[0])
                    self._say(line)
        return found

    # --- the sweep -------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Ask about markets by name, for ever: what is followed, what should be over, what left the venue's list."""
        if self._is_read.is_set():  # all was told a moment ago
            await asyncio.sleep(self._link.timing.sweep_every)
        while True:
            began = self._link.clock.monotonic()
            await self.sweep_once()
            took = self._link.clock.monotonic() - began
            await asyncio.sleep(max(self._link.timing.sweep_every - took, self._link.timing.sweep_every / 10))

    async def sweep_once(self) -> Swept:
        """One round."""
        due = self._due()
        swept = await self._sweep.ask(due.values())
        if swept.fault is not None:
            self._say(f"sweep: {swept.fault}")
        elif swept.asked:
            await self._drop_missing(due, swept)
        return swept

    def _due(self) -> Mapping[int, str]:
        """Market to native id: suspects and overdue ones, at most half of a round, then the followed in turn."""
        most, followed = ROUND * self._sweep.size, list(self._follower.followed.values())
        others = (item for each in (self._suspects, self._overdue) for item in each.items())
        due = dict(islice((item for item in others if self._is_unclear(item[0])), most // 2))
        for market in due:  # the next round asks about others
            self._suspects.pop(market, None)
            if market in self._overdue:
                self._overdue[market] = self._overdue.pop(market)
        for one in islice(_from(followed, self._turn), max(0, most - len(due))):
            self._turn += 1
            due[one.market] = one.native_id
        self._turn %= max(1, len(followed))
        return due

    def _is_unclear(self, market: int) -> bool:
        return (self._pipeline.markets.get(market) or {}).get("status") != MarketStatus.RESOLVED

    async def _drop_missing(self, due: Mapping[int, str], swept: Swept) -> None:
        """A market of which the venue knows nothing, time and again, is followed no longer."""
        for market, native_id in due.items():
            if native_id in swept.told:
                self._misses.pop(market, None)
            elif market in self._follower.followed:
                self._misses[market] += 1
        gone = [market for market, misses in self._misses.items() if misses >= MISSES]
        for market in gone:
            del self._misses[market]
        gone = [market for market in gone if market in self._follower.followed]
        if gone:
            self._say(f"sweep: the venue knows nothing of {len(gone):,} markets any more; they are not followed")
            await self._follower.unfollow(gone)

    def _say(self, line: str) -> None:
        self._link.say(f"{self._venue.value}: {line}")


def _from(items: list[Listed], start: int) -> Iterator[Listed]:
    """All of these once, from that place on."""
    return iter((*items[start:], *items[:start]))
