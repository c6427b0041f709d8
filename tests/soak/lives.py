"""A collector without sockets and without an event loop, a step at a time: what a test says happens, and nothing else.

Its parts are the collector's own, its steps in the order in which `flows.collector.service` takes them: messages of
the feeder come in, are written to the log, are shown in hot streams, and are sealed.
"""

import json
from collections.abc import Callable, Iterable

from flows.collector import sealing
from flows.collector.intake import Intake
from flows.collector.journal import number_of
from flows.collector.making import live_pipeline
from flows.collector.pipeline import Pipeline
from flows.collector.recover import recover
from flows.collector.segments import Rule, Segment
from flows.collector.timing import Clock
from flows.venues.base import Wire
from lake import hot, wal
from lake.clock import SECOND_US, day_of
from lake.hot import Hot
from lake.layout import Life
from lake.schema import RAW
from lake.store import Store
from lake.vocab import Venue
from lake.wal import Batch, Piece
from tests.flows.collector.venues import Venues, tokens
from tests.soak.feeder import MARKETS, message

NAME = "main"
CONNECTION = "polymarket-1"


def make(seal: Callable[[Segment], None]) -> Pipeline:
    return live_pipeline(seal, 30, venues=[Venue.POLYMARKET])


class Collector:
    """One life; `now` is its clock, microseconds. What it has accepted are numbers of the feeder."""

    def __init__(self, store: Store, epoch: int, now: Callable[[], int]) -> None:
        self.store = store
        self.life = Life(NAME, epoch)
        self.sent: dict[int, int] = {}  # number to its record's
        self.durable = -1  # the last record that is on disk
        self.closed: list[Segment] = []  # and not in the lake yet
        self._unshown: list[Segment] = []
        self._now = now
        self._log = wal.Log(store.local / "wal", self.life, "boot")
        clock = Clock(wall=now, monotonic=lambda: now() / SECOND_US)
        self._intake = Intake(epoch, clock, recorder=self._log, rule=Rule())
        self._pipeline = make(self._close)
        self._hot = Hot(store.local, self.life)
        self._intake.opened(CONNECTION, Wire.POLYMARKET_SOCKET)
        books = [Venues(MARKETS).book(tokens(place)[0]) for place in range(MARKETS)]
        self._intake.frame(CONNECTION, Wire.POLYMARKET_SOCKET, json.dumps(books).encode())

    @property
    def accepted(self) -> set[int]:
        """The numbers whose records are on disk."""
        return {number for number, record in self.sent.items() if record <= self.durable}

    def _close(self, segment: Segment) -> None:
        self.closed.append(segment)
        self._unshown.append(segment)

    def send(self, numbers: Iterable[int]) -> None:
        """These come in."""
        for number in numbers:
            self._intake.frame(CONNECTION, Wire.POLYMARKET_SOCKET, message(number, self._now() // 1_000).encode())
            self.sent[number] = number_of(self._intake.next_seq, self.life.epoch) - 1

    def tick(self) -> None:
        """It is now."""
        self._intake.tick()

    def feed(self) -> None:
        """Consume what came in."""
        while (item := self._intake.take()) is not None:
            self._pipeline.take(item)

    def commit(self) -> None:
        """Everything that came in is on disk."""
        self.feed()
        if (batch := self._log.take()) is not None:
            self._log.write(batch)
            self.durable = batch.last

    def show(self) -> None:
        """Everything that came in is on disk, and its rows are shown."""
        self.commit()
        closed, self._unshown = self._unshown, []
        for segment in [*closed, *([] if self._pipeline.open is None else [self._pipeline.open])]:
            found = sealing.make(segment, sealing.drain(segment), NAME, "boot")
            for (table, venue), frame in found.items():
                if table is not RAW:
                    self._hot.append(table, venue, segment.first_seq, day_of(segment.first_received), frame)
        for segment in closed:
            self._keep(segment)

    def seal(self) -> Segment:
        """The first closed segment goes into the lake."""
        self.show()
        segment = self.closed[0]
        sealing.write(self.store, segment, sealing.frames_of(segment, NAME, "boot"), NAME)
        if segment.known:
            self._keep(segment)
            wal.forget(self._log.folder, self.life, self._following(segment))
        self._hot.remove(segment.first_seq)
        return self.closed.pop(0)

    def end(self) -> None:
        """It is stopped, and everything goes into the lake."""
        self.tick()
        self.feed()
        self._pipeline.finish(self._now())
        self.commit()
        while self.closed:
            self.seal()
        self._log.close()
        wal.forget_all(self._log.folder, self.life)

    def die(self, share: float = 0.0) -> None:
        """It is killed while what it had not committed is written: so much of that, 0 to 1, reached the disk."""
        batch = self._log.take()
        if batch is not None:
            self._log.write(_torn(batch, share))
        self._log.close()
        self._hot = Hot(self.store.local, self.life)

    def _keep(self, segment: Segment) -> None:
        following = self._following(segment)
        if segment.known and following not in wal.states(self._log.folder, self.life):
            wal.write_state(self._log.folder, self.life, following, segment.known)

    def _following(self, segment: Segment) -> int:
        return number_of(segment.last_seq, self.life.epoch) + 1


def start_again(store: Store, now: int) -> None:
    """What the next start makes of what the dead have left, as `flows.collector.service` does."""
    folder = store.local / "wal"
    former = wal.lives(folder)
    for life in hot.lives(store.local) - {*former}:
        hot.remove(store.local, life)
    for life in former:
        recover(store, folder, life, make, now)


def _torn(batch: Batch, share: float) -> Batch:
    left = int(share * sum(len(record) for piece in batch.pieces for record in piece.records))
    pieces = []
    for piece in batch.pieces:
        data = b"".join(piece.records)
        if left > 0:
            pieces.append(Piece(piece.number, piece.is_new, [data[:left]]))
        left -= len(data)
    return Batch(pieces, batch.last)
