"""One venue, live: its catalogue, its connections, what is added and dropped, and polls while a stream is down.

What differs between venues is in their own modules: how to subscribe, how to poll.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from flows.collector.audit import Audit
from flows.collector.batches import batched
from flows.collector.connection import Link
from flows.collector.following import Following
from flows.collector.http import Http
from flows.collector.making import audit_name, poll_name
from flows.collector.pipeline import Pipeline
from flows.collector.places import PlaceFile
from flows.collector.reconcile import Reconciler, missing
from flows.collector.rounds import Poll, Rounds
from flows.collector.shard import Shard
from flows.collector.timing import MINUTE
from flows.collector.universe import Listed, Rule, entry, is_new
from lake.vocab import Gap, MarketStatus, Venue

HOUSEKEEPING: Final = 0.5  # seconds between two looks at what is to be added or dropped
PLACED: Final = 500  # markets in one record of what is about to be followed


@dataclass(frozen=True, slots=True)
class Common:
    """What a session works with."""

    link: Link
    pipeline: Pipeline
    rule: Rule
    listing: Http  # where the venue's catalogue is
    polling: Http  # where its books and its history are
    place: PlaceFile  # how far the catalogue was read


class Session(ABC):
    """What is followed on one venue."""

    venue: ClassVar[Venue]

    def __init__(self, common: Common) -> None:
        self.shards: Sequence[Shard[Any]] = ()
        self.followed: dict[int, Listed] = {}  # the most traded first
        self.is_listed = asyncio.Event()
        self._common = common
        self._link = common.link
        self._pipeline = common.pipeline
        self._rule = common.rule
        self._chosen = 0  # how many were followed at the start
        self._arriving: dict[int, None] = {}
        self._leaving: dict[int, float] = {}  # market to when it is dropped
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def listing(self) -> Http:
        """Where the venue's catalogue is, and its figures."""
        return self._common.listing

    @property
    def history(self) -> Http:
        """Where the venue's history is."""
        return self._common.polling

    async def run(self) -> None:
        """Follow the venue until cancelled."""
        self._leaving.clear()
        self._arriving.clear()
        self.followed = {}
        following = Following(
            self.venue, self, self._link, self._pipeline, self._rule, self._common.listing, self._books(),
            self._common.place,
        )  # fmt: skip
        known = await following.known()
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(following.read())
            found = known or await following.first()
            chosen = self._rule.choose(found.listed, self.venue)
            self._chosen = len(chosen)
            self._introduce(chosen)
            self.followed = {one.market: one for one in chosen}
            self.shards = self.connect(chosen)
            self._note_subscribed()
            self._tell_start(found.open)
            self.is_listed.set()
            for shard in self.shards:
                self._keep(shard)
            for work in (self._poll(), self._keep_house(), following.choose(), following.sweep()):
                self._tasks.create_task(work)
            if self.shards:
                audit = Audit(audit_name(self.venue), self.polls, self._streamed, self._link)
                self._tasks.create_task(audit.run(self._pipeline.changed))
                self._tasks.create_task(self._reconcile())

    def _books(self) -> Http | None:
        """Where single markets of an order book can be asked for, if the venue has such a place of its own."""
        return self._common.polling if self.venue is Venue.POLYMARKET else None

    def _introduce(self, markets: Iterable[Listed]) -> None:
        """What we know of markets that are about to be followed comes to the pipeline as all else does."""
        for batch in batched((one for one in markets if one.tokens), PLACED):
            self._link.intake.placed(self.venue, [(one.native_id, one.tokens) for one in batch])

    # --- what a venue does in its own way --------------------------------------------------------

    @abstractmethod
    def connect(self, markets: list[Listed]) -> Sequence[Shard[Any]]:
        """Shards that ask for `markets`; none where they are polled only."""

    @abstractmethod
    async def add(self, markets: list[Listed]) -> None:
        """Ask for more markets."""

    @abstractmethod
    async def drop(self, markets: list[Listed]) -> None:
        """Ask no longer for these."""

    @abstractmethod
    def polls(self, markets: Iterable[Listed]) -> Iterator[Poll]:
        """Requests whose answers tell the tops of `markets`: each is sent when it is awaited."""

    @abstractmethod
    def down(self) -> Iterable[Listed]:
        """Markets that no stream brings at present, and that are polled."""

    @abstractmethod
    def books_lost(self, connection: str, markets: list[int], reason: Gap) -> None:
        """Books are void until they are sent anew: ask for them, where the venue lets us."""

    @abstractmethod
    async def ask_again(self, shard: Shard[Any], markets: list[Listed], tries: int) -> None:
        """Ask for markets that a connection does not tell of, although it was asked `tries` times again before."""

    @abstractmethod
    def trades_missed(self, since: int, until: int) -> None:
        """Trades between those times, by our clock, did not come: ask for them."""

    # --- what is asked for and not told of ---------------------------------------------------------

    def _streamed(self) -> list[Listed]:
        """What a stream brings, or should: the rest is polled."""
        down = {one.market for one in self.down()}
        return [one for one in self.followed.values() if one.market not in down]

    async def _reconcile(self) -> None:
        timing, clock = self._link.timing, self._link.clock
        known = Reconciler(timing.reconcile_every)
        while True:
            await asyncio.sleep(timing.reconcile_every)
            gone = {
                shard: missing(shard.speaker.wanted, self._pipeline.whole(shard.current.name))
                for shard in self.shards
                if shard.is_good and shard.age >= timing.reconcile_every
            }
            due = known.due([market for markets in gone.values() for market in markets], clock.monotonic())
            for shard, markets in gone.items():
                for tries in sorted({due[market] for market in markets if market in due}):
                    again = [self.followed[m] for m in markets if due.get(m) == tries and m in self.followed]
                    if again:
                        many = f"{len(again):,} of {shard.markets:,} markets are asked for and not told of"
                        self._link.tell(shard.current.name, f"{many}; asked for again")
                        await self.ask_again(shard, again, tries)

    # --- what the streams tell -------------------------------------------------------------------

    def market_changed(self, market: int, fields: Mapping[str, Any]) -> None:
        """A listing, or the end of a market."""
        status = fields.get("status")
        if status == MarketStatus.RESOLVED:
            if market in self.followed:
                self._leaving[market] = self._link.clock.monotonic() + self._link.timing.unsubscribe_after
        elif market not in self.followed and (status == MarketStatus.ACTIVE or "title" in fields):
            self._arriving[market] = None

    async def _keep_house(self) -> None:
        """Add what was listed and drop what is over, some at a time."""
        while True:
            await asyncio.sleep(HOUSEKEEPING)
            now = self._link.clock.monotonic()
            due = [market for market, at in self._leaving.items() if at <= now]
            over = [one for market in due if (one := self.followed.pop(market, None)) is not None]
            for market in due:
                del self._leaving[market]
            if over:
                await self._dropped(over)
            new = self._arrived()
            if new:
                await self.follow(new)

    async def follow(self, markets: list[Listed]) -> None:
        """Ask for these as well, on the sockets that are open."""
        self._introduce(markets)
        self.followed |= {one.market: one for one in markets}
        await self.add(markets)
        self._note_subscribed()

    async def unfollow(self, markets: Iterable[int]) -> None:
        """Ask no longer for these; what came in of them stays."""
        await self._dropped([one for market in markets if (one := self.followed.pop(market, None)) is not None])

    async def _dropped(self, markets: list[Listed]) -> None:
        await self.drop(markets)
        self._link.intake.dropped(one.market for one in markets)
        self._note_subscribed()

    def _arrived(self) -> list[Listed]:
        """New markets to follow: as many as the rule lets in beside the chosen ones, or in place of those that left."""
        waiting, self._arriving = self._arriving, {}
        most, now = self._rule.most(self._chosen), self._link.clock.wall()
        found: list[Listed] = []
        for market in waiting:
            fields = self._pipeline.markets.get(market) or {}
            one = entry(market, fields, self._pipeline.stats.get(market), self.venue)
            if one is None or market in self.followed:
                continue
            has_room = most is None or (len(self.followed) + len(found) < most and is_new(one, now))
            if self._rule.is_watched(one, self.venue) or (has_room and self._rule.allows(fields)):
                found.append(one)
        return found

    # --- polls -----------------------------------------------------------------------------------

    async def _poll(self) -> None:
        """Poll, every interval, what no stream brings."""
        timing, clock = self._link.timing, self._link.clock
        rounds = Rounds(poll_name(self.venue), f"{self.venue.value}: poll", self._link)
        while True:
            began = clock.monotonic()
            markets = list(self.down())
            if markets:
                await rounds.ask(self.polls(markets))
            await asyncio.sleep(max(timing.poll_every - (clock.monotonic() - began), timing.poll_every / 10))

    # --- words -----------------------------------------------------------------------------------

    def _keep(self, shard: Shard[Any]) -> None:
        """Let the shard run."""
        assert self._tasks is not None
        self._tasks.create_task(shard.run(self._rotation))

    def _rotation(self) -> float:
        """Seconds after which a connection is replaced: no more than half of all connects are for that."""
        timing = self._link.timing
        return max(timing.rotate_every, 2 * MINUTE * len(self.shards) / timing.connects_a_minute)

    def _note_subscribed(self) -> None:
        for shard in self.shards:
            self._link.intake.asked(shard.current.name, shard.markets)

    def _tell_start(self, found: int) -> None:
        count, timing = len(self.shards), self._link.timing
        if not self.shards:
            self._say(f"{len(self.followed):,} of {found:,} open markets polled every {timing.poll_every:.0f} s")
            return
        plural = "" if count == 1 else "s"
        self._say(f"{len(self.followed):,} of {found:,} open markets followed on {count} connection{plural}")
        if count > timing.connects_a_minute:
            minutes = (count - timing.connects_a_minute) / timing.connects_a_minute
            pace = f"{timing.connects_a_minute} connections a minute"
            self._say(f"at {pace} it takes {minutes * MINUTE:.0f} s until all are open")

    def _say(self, line: str) -> None:
        self._link.say(f"{self.venue.value}: {line}")
