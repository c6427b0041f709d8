"""A stream that is always there: its connection is replaced by a fresh one now and then, while it is up.

Connections freeze after some time without a word, heartbeats going on. So each is replaced before long: its successor
is opened and subscribed beside it, the markets are handed over one by one (`flows.collector.handover`), and then the
former is let go: nothing is missed, and nothing is written twice. Where a hand-over does not come to its end, the
former stays.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final, Generic, Protocol, TypeVar

from flows.collector.connection import Connection, Link, Send, Speaker
from flows.venues.base import Wire
from lake.vocab import SUCCESSOR

_LOOK: Final = 0.25  # seconds between two looks at how far a hand-over is

Spoken = TypeVar("Spoken", bound=Speaker)


class Known(Protocol):
    """What is asked of the pipeline."""

    def feeds(self, connection: str) -> Collection[int]:
        """The markets that the connection feeds."""

    def follows(self, connection: str) -> Collection[int]:
        """The markets of which it tells the whole book beside the connection that feeds them."""


class Shard(Generic[Spoken]):
    """Connections by turns. `speak` makes what the next one says; all of them ask for the same markets."""

    def __init__(self, name: str, wire: Wire, speak: Callable[[], Spoken], link: Link, known: Known) -> None:
        self._name = name
        self._wire = wire
        self._speak = speak
        self._link = link
        self._known = known
        self._opens = 0  # of former connections
        self._speakers: dict[str, Spoken] = {}
        self.current = self._made(name)
        self.next: Connection | None = None

    @property
    def speaker(self) -> Spoken:
        """What the connection says that is the newest in use."""
        return self._speakers[self.current.name]

    @property
    def markets(self) -> int:
        """How many markets it asks for."""
        return self.speaker.markets

    @property
    def is_down(self) -> bool:
        """Whether its markets have to be polled."""
        return self.current.is_down

    @property
    def is_good(self) -> bool:
        """Whether data came since it was opened."""
        return self.current.is_good

    @property
    def opens(self) -> int:
        """How often a connection was opened."""
        return self._opens + self.current.opens + (0 if self.next is None else self.next.opens)

    @property
    def age(self) -> float:
        """Seconds since its connection was opened."""
        return self._link.clock.monotonic() - self.current.opened

    def speaking(self) -> list[tuple[Spoken, Send]]:
        """Who talks on this shard, each with how to send: during a hand-over two."""
        each = [self.current] if self.next is None else [self.current, self.next]
        return [(self._speakers[one.name], one.send) for one in each]

    def has(self, connection: str) -> bool:
        """Whether the connection of that name is one of this shard."""
        return connection in (self.current.name, None if self.next is None else self.next.name)

    def restart(self, connection: str, reason: str) -> None:
        """Connect anew the one of that name."""
        for each in (self.current, self.next):
            if each is not None and each.name == connection:
                each.restart(reason)

    async def run(self, every: Callable[[], float]) -> None:
        """Keep it connected until cancelled; a connection is replaced after `every` seconds, give or take."""
        tasks = {self.current.name: asyncio.create_task(self.current.run())}
        try:
            while True:
                await _while_running(tasks[self.current.name], every() * self._link.rng.uniform(0.5, 1.0))
                await self._replace(tasks)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _replace(self, tasks: dict[str, asyncio.Task[None]]) -> None:
        """A connection that is being connected anew needs no successor."""
        if not self.current.is_good:
            return
        other = self._name if self.current.name != self._name else self._name + SUCCESSOR
        former, fresh = self.current, self._made(other)
        self.next = fresh
        tasks[other] = asyncio.create_task(fresh.run())
        try:
            is_done = await self._taken_over(tasks)
        finally:
            self.next = None
        gone = former if is_done else fresh
        if is_done:
            self.current = fresh
            self._link.intake.asked(fresh.name, self.markets)
        else:
            self._link.tell(fresh.name, "could not take the place of the former connection, which stays")
        self._opens += gone.opens
        await _end(gone, tasks.pop(gone.name))

    async def _taken_over(self, tasks: dict[str, asyncio.Task[None]]) -> bool:
        """Whether the former connection can be let go, within the time for it."""
        assert self.next is not None
        clock, timing = self._link.clock, self._link.timing
        until = clock.monotonic() + timing.hand_over_within
        while clock.monotonic() < until:
            await _while_running(tasks[self.next.name], _LOOK)
            if self.next.is_good and not self._left():
                return True
        return self.next.is_good and self._left() <= set(self._known.follows(self.next.name))

    def _left(self) -> set[int]:
        """The markets that only the former feeds yet."""
        return set(self._known.feeds(self.current.name)) & set(self.speaker.wanted)

    def _made(self, name: str) -> Connection:
        speaker = self._speakers[name] = self._speak()
        return Connection(name, self._wire, speaker, self._link)


async def _end(connection: Connection, task: asyncio.Task[None]) -> None:
    """One that is open says that it was closed; one that is not has nothing to say."""
    connection.retire()
    if not connection.is_open:
        task.cancel()
    await asyncio.wait([task])


async def _while_running(task: asyncio.Task[None], seconds: float) -> None:
    """Wait so long; what ends the task meanwhile is raised."""
    done, _ = await asyncio.wait([task], timeout=seconds)
    for one in done:
        one.result()
