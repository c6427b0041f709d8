"""The collector's path, fed from a recording: same parsers, same books, same writer.

A replay is a collector named `replay` whose epoch comes of the recording's digest, so the same
recording twice makes the same files and adds nothing, and one that was broken off goes on. Recorded
times stay; "now" is the recording's clock.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from flows.collector.making import describing
from flows.collector.pipeline import Counts, Pipeline
from flows.collector.recordings import Recording, Survey
from flows.collector.sealing import publish
from flows.collector.segments import Segment
from flows.venues.base import Adapter, Frame, Opened, frame_seq
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.clock import from_us
from lake.errors import LakeError
from lake.schema import SEGMENTS
from lake.store import Store
from lake.vocab import Venue

COLLECTOR: Final = "replay"
EPOCHS: Final = 1 << 23  # seq = epoch * 2**40 + frame number fits 63 bits
_STEP: Final = 500  # frames between two words of progress


@dataclass(slots=True)
class ReplayReport:
    """What one recording brought."""

    name: str
    first: datetime
    last: datetime
    epoch: int
    counts: Counts = field(default_factory=Counts)
    added: int = 0  # rows that the lake did not have
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.counts.messages / self.seconds if self.seconds else 0.0


def replay(
    recording: Recording,
    store: Store,
    *,
    survey: Survey | None = None,
    speed: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    sleep: Callable[[float], None] = time.sleep,
    timer: Callable[[], float] = time.monotonic,
) -> ReplayReport:
    """Replay into `store`, at `speed` times the recorded pace, or as fast as it goes.

    The recording is read to its end first, unless its `survey` is given: a damaged one is refused before a row is
    written. Raises `RecordingError`, `LakeError`.
    """
    survey = survey or recording.survey()
    epoch = epoch_of(store, survey.digest)
    report = ReplayReport(recording.name, from_us(survey.first), from_us(survey.last), epoch)
    started = timer()

    def seal(segment: Segment) -> None:
        report.added += publish(store, segment, COLLECTOR, survey.digest)

    pipeline = replay_pipeline(recording, seal, survey)
    report.counts = pipeline.counts
    for done, item in enumerate(_items(recording, epoch), 1):
        if speed is not None:
            behind = (item.received - survey.first) / 1e6 / speed - (timer() - started)
            if behind > 0:
                sleep(behind)
        if isinstance(item, Frame):
            pipeline.feed(item)
        else:
            pipeline.opened(item)
        if done % _STEP == 0:
            progress(pipeline.counts.frames, survey.frames)
    pipeline.finish(survey.last)
    report.seconds = timer() - started
    progress(survey.frames, survey.frames)
    return report


def replay_pipeline(recording: Recording, seal: Callable[[Segment], None], survey: Survey) -> Pipeline:
    """A pipeline for the recording; of one that is ours, with what the collector knows of its own connections."""
    if not recording.is_ours:
        return Pipeline(adapters(), seal, survey.poll_every)
    return Pipeline(adapters(use_yes_price=True), seal, survey.poll_every, describing=describing(Venue))


def adapters(*, use_yes_price: bool | None = None) -> dict[Venue, Adapter]:
    """A fresh adapter of each venue."""
    return {Venue.POLYMARKET: Polymarket(), Venue.KALSHI: Kalshi(use_yes_price=use_yes_price)}


def _items(recording: Recording, epoch: int) -> Iterator[Frame | Opened]:
    seq = frame_seq(epoch, 0)
    for item in recording.items():
        if item.payload is None:
            yield Opened(item.connection, item.received, item.wire, seq)
        else:
            yield Frame(seq, item.connection, item.received, item.payload, item.wire)
            seq += 1


def epoch_of(store: Store, digest: str) -> int:
    """The recording's epoch: of its digest, or the next that no other recording in this lake has."""
    known = (
        store.scan(SEGMENTS).filter(pl.col("collector") == COLLECTOR).select("epoch", "input_digest").unique().collect()
    )
    owners = dict(zip(known["epoch"], known["input_digest"], strict=True))
    first = int(digest[:12], 16) % EPOCHS
    for step in range(EPOCHS):
        epoch = (first + step) % EPOCHS
        if owners.get(epoch, digest) == digest:
            return epoch
    raise LakeError(f"lake {store.root}: holds {EPOCHS} recordings; replay into another folder")
