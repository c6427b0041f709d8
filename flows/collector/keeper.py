"""A venue's catalogue, kept up: walked from end to end when that is due, asked for what changed in between.

A walk that breaks off goes on where it was, in this life or the next. Where the venue does not keep to the filters by
which changes are asked for, that is said once, and walks are more frequent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

from msgspec.structs import replace

from flows.collector.catalog import Catalog, Page, Untrusted
from flows.collector.connection import is_worth_a_word
from flows.collector.http import Unreachable, VenueError
from flows.collector.places import Place, PlaceFile
from flows.collector.timing import Clock, Timing
from lake.clock import SECOND_US

SAVE_US: Final = 20 * SECOND_US
"""Between two times that the place of a walk is kept."""

SPOKEN: Final = 10
"""A walk is told of in so many steps."""

SPOKEN_US: Final = 15 * SECOND_US
"""A walk of unknown length is told of so often."""


@dataclass(slots=True)
class Pass:
    """What one reading of the catalogue was."""

    is_walk: bool
    pages: int = 0
    markets: int = 0  # named on them
    seen: set[int] | None = None  # all open markets, where it was a walk from the first page to the last
    fault: VenueError | None = None  # why it broke off


class Keeper:
    """Reads one venue's catalogue again and again.

    `put` takes every page, and returns once there is room for more; `settle` waits until what was put is safe, before
    the place behind it is kept. `progress` hears of markets so far, and of how many there are, 0 = unknown.
    """

    def __init__(
        self,
        catalog: Catalog,
        file: PlaceFile,
        put: Callable[[Page], Awaitable[None]],
        *,
        clock: Clock,
        timing: Timing,
        rng: Random,
        say: Callable[[str], None],
        settle: Callable[[], Awaitable[None]] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.place = file.load()
        self._catalog = catalog
        self._file = file
        self._put = put
        self._clock = clock
        self._timing = timing
        self._rng = rng
        self._say = say
        self._settle = settle
        self._progress = progress or self._tell
        self._spoken = (0, 0)  # the last step that was told, and when
        self._is_trusted = True
        self._faults: set[str] = set()  # of filters, those that were told
        self._failures = 0
        self._keeping: asyncio.Task[None] | None = None
        self._walk_after = 0  # a walk that the venue refused is not tried again before

    @property
    def is_fresh(self) -> bool:
        """Whether the catalogue was read a short time ago, so that what the lake knows of it still holds."""
        return 0 <= self._clock.wall() - self.place.whole < self._timing.catalog_fresh * SECOND_US

    def start_over(self) -> None:
        """The lake does not have what was read: all of it is read again."""
        self.place = Place()

    async def run(self, passed: Callable[[Pass], Awaitable[None]], most: int, stop_leading: asyncio.Event) -> None:
        """Read for ever; `passed` hears of every reading that came to its end, or that broke off for good.

        Where nothing is known yet the `most` traded come first, until `stop_leading`.
        """
        if not self.is_fresh and not self.place.began:
            await self.lead(most, stop_leading)
        try:
            while True:
                found = await self._read()
                if found.fault is None or not isinstance(found.fault, Unreachable):
                    await passed(found)
                self._keep_soon()
                await asyncio.sleep(self.wait(found))
        finally:
            if self._keeping is not None:
                self._keeping.cancel()

    async def lead(self, most: int, stop: asyncio.Event) -> None:
        """Read the most traded markets; a venue that cannot tell which these are is walked at once."""
        with suppress(VenueError):
            async for page in self._catalog.leaders(most):
                await self._put(page)
                if stop.is_set():
                    return

    async def step(self) -> Pass:
        """One reading, of whichever kind is due, and its place kept. Never raises `VenueError`: see `Pass.fault`."""
        found = await self._read()
        if self._keeping is not None:
            await self._keeping
        await self._keep(replace(self.place))
        return found

    async def _read(self) -> Pass:
        return await (self._walk() if self.is_walk_due else self._changes())

    @property
    def is_walk_due(self) -> bool:
        """Whether everything is to be read, and not only what changed."""
        now, timing = self._clock.wall(), self._timing
        every = timing.walk_every if self._is_trusted else timing.walk_every_untrusted
        if now < self._walk_after:
            return False
        return bool(self.place.began) or not self.place.whole or not 0 <= now - self.place.whole < every * SECOND_US

    def wait(self, found: Pass) -> float:
        """Seconds until the next reading."""
        if not isinstance(found.fault, Unreachable):
            self._failures = 0
            return self._timing.catalog_every
        self._failures += 1
        wait = self._timing.delay(self._failures, self._rng)
        if is_worth_a_word(self._failures):
            self._say(f"catalogue: {found.fault}; again in {wait:.1f} s")
        return wait

    async def _walk(self) -> Pass:
        place, found = self.place, Pass(is_walk=True)
        is_resumed = place.begin(self._clock.wall())
        if is_resumed:
            self._say(f"catalogue: goes on behind page {place.pages:,}, {place.markets:,} markets")
        seen: set[int] = set()
        kept = self._clock.wall()
        self._spoken = (0, kept)
        try:
            async for page in self._catalog.walk(place):
                if self._clock.wall() - kept >= SAVE_US:
                    kept = self._clock.wall()
                    self._keep_soon()
                await self._put(page)
                seen.update(page.markets)
                found.pages, found.markets = found.pages + 1, found.markets + len(page.markets)
                self._progress(place.markets + len(page.markets), place.expected)
        except VenueError as exc:
            found.fault = exc
            if not isinstance(exc, Unreachable):  # the cursor may be the reason
                place.began, place.cursor = 0, ""
                self._walk_after = 0 if is_resumed else self._clock.wall() + round(self._again() * SECOND_US)
        else:
            place.end(self._clock.wall())
            self._is_trusted = True
            found.seen = None if is_resumed else seen
        return found

    async def _changes(self) -> Pass:
        found, began = Pass(is_walk=False), self._clock.wall()
        newest = self.place.newest
        if not self.place.changed:
            return found
        try:
            async for page in self._catalog.changes(self.place):
                await self._put(page)
                found.pages, found.markets = found.pages + 1, found.markets + len(page.markets)
        except Untrusted as exc:
            if str(exc) not in self._faults:
                self._faults.add(str(exc))
                minutes = self._timing.walk_every_untrusted / 60
                self._say(f"catalogue: {exc}; all of it is read every {minutes:.0f} min instead")
            self._is_trusted = False
        except VenueError as exc:
            found.fault, self.place.newest = exc, newest
            return found
        self.place.changed = self.place.passed = began
        return found

    def _keep_soon(self) -> None:
        """Keep the place as it is now, beside the reading, unless a former one still waits for the lake."""
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep(replace(self.place)))

    async def _keep(self, place: Place) -> None:
        """Keep this place, once all that came before it is safe."""
        if self._settle is not None:
            await self._settle()
        await asyncio.to_thread(self._file.save, place)

    def _again(self) -> float:
        return self._timing.refused(self._rng)

    def _tell(self, markets: int, expected: int) -> None:
        """A line now and then, while a walk lasts."""
        now, (step, at) = self._clock.wall(), self._spoken
        if now - at < SPOKEN_US:
            return
        share = min(SPOKEN - 1, SPOKEN * markets // expected) if expected else step + 1
        if share > step:
            percent = f", {100 * markets // expected} %" if expected and markets <= expected else ""
            self._say(f"catalogue: {markets:,} markets read{percent}")
            self._spoken = (share, now)
