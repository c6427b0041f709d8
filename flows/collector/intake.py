"""Between the sockets and the pipeline: items in the order in which they came, never more than so many bytes.

Receiving stamps a frame, numbers it, hands it to the write-ahead log and puts it here; one consumer takes it out. Where
the consumer or the disk is behind, whoever receives waits, and the venue's own network buffers fill: memory does not
grow, and nothing is dropped. Where segments end is decided here, by what comes in, so that log and pipeline agree.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from typing import Any, Final, Protocol

from flows.collector import journal
from flows.collector.journal import Absent, Asked, Cut, Dropped, Item, Kind, Placed, Tick
from flows.collector.segments import Rule
from flows.collector.timing import Clock
from flows.venues.base import Closed, Frame, Opened, Wire, frame_seq
from lake.clock import HOUR_US, SECOND_US
from lake.vocab import Gap, Venue

MOST_BYTES: Final = 64 << 20


class Recorder(Protocol):
    """Where records go before anything is made of them: `lake.wal.Log`."""

    number: int  # of the next record
    waiting: int  # bytes that are not on their way to the disk yet

    def append(self, kind: int, name: str, received: int, monotonic: int, payload: bytes = b"") -> int:
        """Take a record; its number."""

    def cut(self) -> None:
        """What comes now belongs into a new file."""


class Unrecorded:
    """A recorder that keeps nothing: numbers alone."""

    def __init__(self) -> None:
        self.number = self.waiting = 0

    def append(self, kind: int, name: str, received: int, monotonic: int, payload: bytes = b"") -> int:
        """The next number."""
        self.number += 1
        return self.number - 1

    def cut(self) -> None:
        """Nothing is kept."""


class Intake:
    """Items in order of arrival; `epoch` is this collector's life.

    Frames of the connections `withheld` are passed on, and not recorded. `rule` says where segments end; None =
    nowhere.
    """

    def __init__(
        self,
        epoch: int,
        clock: Clock,
        most_bytes: int = MOST_BYTES,
        *,
        recorder: Recorder | None = None,
        withheld: Collection[str] = (),
        rule: Rule | None = None,
    ) -> None:
        self._items: deque[Item | asyncio.Event] = deque()
        self._first = frame_seq(epoch, 0)
        self._recorder: Recorder = recorder or Unrecorded()
        self._withheld = frozenset(withheld)
        self._rule = rule
        self._wall, self._steady = clock.wall, clock.monotonic
        self._most = most_bytes
        self._names: dict[tuple[str, Wire], str] = {}
        self._bytes = 0
        self._room = asyncio.Event()
        self._apart: int | None = None  # how far the two clocks are apart
        self._opened: int | None = None  # when the segment's first item came
        self._size = 0  # bytes of the segment
        self.halt: Gap | None = None  # why nothing more is to come, whatever room there is

    def __len__(self) -> int:
        return len(self._items)

    @property
    def next_seq(self) -> int:
        """The `seq` that the next item will have."""
        return self._first + self._recorder.number

    @property
    def is_full(self) -> bool:
        """Whether whoever receives has to wait for `room`."""
        return self._bytes >= self._most or self._recorder.waiting >= self._most or self.halt is not None

    # --- what comes in ---------------------------------------------------------------------------

    def frame(self, connection: str, wire: Wire, payload: bytes) -> None:
        """A frame came in now."""
        received, monotonic = self._now()
        if connection in self._withheld:
            kept = journal.withheld(payload)
            number = self._recorder.append(Kind.WITHHELD, f"{connection} {wire}", received, monotonic, kept)
        else:
            name = self._names.get((connection, wire))
            if name is None:
                name = self._names[connection, wire] = f"{connection} {wire}"
            number = self._recorder.append(Kind.FRAME, name, received, monotonic, payload)
        self._bytes += len(payload)
        self._size += len(payload)
        self._items.append(Frame(self._first + number, connection, received, payload, wire, monotonic))

    def opened(self, connection: str, wire: Wire) -> None:
        """A connection was opened now."""
        received, monotonic = self._now()
        self._put(Opened(connection, received, wire, self.next_seq, monotonic))

    def closed(self, connection: str, reason: Gap = Gap.DISCONNECTED) -> None:
        """A connection was lost now."""
        received, monotonic = self._now()
        self._put(Closed(connection, received, reason, self.next_seq, monotonic))

    def tick(self) -> int:
        """It is now; by how much the wall clock was set since the last time, microseconds."""
        tick = Tick(**self._note())
        self._put(tick)
        before, self._apart = self._apart, tick.received - tick.monotonic
        return 0 if before is None else self._apart - before

    def asked(self, connection: str, markets: int) -> None:
        """So many markets are asked for on the connection from now on."""
        self._put(Asked(connection=connection, markets=markets, **self._note()))

    def dropped(self, markets: Iterable[int]) -> None:
        """These are followed no longer."""
        self._put(Dropped(markets=list(markets), **self._note()))

    def placed(self, venue: Venue, markets: Iterable[tuple[str, Iterable[str]]]) -> None:
        """These, each with its tokens, are about to be followed."""
        told = [(native_id, list(tokens)) for native_id, tokens in markets]
        self._put(Placed(venue=venue, markets=told, **self._note()))

    def absent(self, venue: Venue, start: int) -> None:
        """Nobody heard of the venue from `start` until now."""
        self._put(Absent(venue=venue, start=start, **self._note()))

    def anchor(self) -> int:
        """What is known now is to be kept, as it came of frames that are not; the `seq` at whose end that is."""
        received, monotonic = self._clocks()
        self._cut(received, monotonic, is_anchor=True)
        return self.next_seq - 1

    def cut(self) -> int:
        """The segment ends now, so that it is sealed soon; the `seq` with which it ends."""
        self._cut(*self._clocks(), is_anchor=False)
        return self.next_seq - 1

    def _note(self) -> dict[str, Any]:
        received, monotonic = self._now()
        return {"seq": self.next_seq, "received": received, "monotonic": monotonic}

    def _put(self, item: Item) -> None:
        kind, name, payload = journal.write(item)
        self._recorder.append(kind, name, item.received, item.monotonic, payload)
        self._items.append(item)

    def _clocks(self) -> tuple[int, int]:
        return self._wall(), int(self._steady() * SECOND_US)

    def _now(self) -> tuple[int, int]:
        """Both clocks; before what belongs to the next segment, this one ends."""
        received, monotonic = self._clocks()
        if self._opened is None:
            self._opened = received
        elif self._rule is not None and self._rule.is_over(self._opened, self._size, received):
            is_anchor = received // HOUR_US != self._opened // HOUR_US
            self._cut(received, monotonic, is_anchor=is_anchor)
            self._opened = received
        return received, monotonic

    def _cut(self, received: int, monotonic: int, *, is_anchor: bool) -> None:
        self._put(Cut(seq=self.next_seq, received=received, monotonic=monotonic, is_anchor=is_anchor))
        self._recorder.cut()
        self._opened, self._size = None, 0

    # --- what goes out ---------------------------------------------------------------------------

    async def consumed(self) -> None:
        """Wait until all that is in here now was taken."""
        mark = asyncio.Event()
        self._items.append(mark)
        await mark.wait()

    async def room(self) -> None:
        """Wait until there is room."""
        while self.is_full:
            self._room.clear()
            await self._room.wait()

    def look(self) -> None:
        """Whoever waits for room looks again whether there is some."""
        if not self._room.is_set() and not self.is_full:
            self._room.set()

    def take(self) -> Item | None:
        """The next item; None if there is none."""
        while self._items:
            item = self._items.popleft()
            if isinstance(item, asyncio.Event):
                item.set()
                continue
            if isinstance(item, Frame):
                self._bytes -= len(item.payload)
                self.look()
            return item
        return None
