"""A day that a collector recorded, replayed from its raw frames into another lake: the same rows, under new numbers."""

import json
import time
from collections.abc import Callable
from datetime import date
from hashlib import blake2b

import polars as pl

from flows.collector import retell
from flows.collector.making import Make
from flows.collector.pipeline import Counts
from flows.collector.replay import COLLECTOR, ReplayReport, epoch_of
from flows.collector.retell import Day
from flows.collector.sealing import Frames, frames_of
from flows.collector.segments import Segment
from flows.venues.base import Outcome
from lake.clock import day_of, from_us
from lake.errors import RecordingError
from lake.layout import SeqRange
from lake.reading import newest
from lake.schema import EVENTS, FEED_HEALTH, MARKETS, QUOTES, RAW, SEQ_BITS, TRADES
from lake.store import Store

Progress = Callable[[int, int], None]


def replay_day(
    source: Store, target: Store, day: date, make: Make, progress: Progress = lambda done, total: None
) -> list[ReplayReport]:
    """Replay what `source` keeps of that day into `target`, by pipelines of `make`; a report for each life.

    Raises `RecordingError` if no frames of it are kept, `LakeError`.
    """
    found, without = retell.days(source, day)
    if not found:
        kept = f"{without:,} segments, but their frames are gone (RAW_RETENTION_HOURS)" if without else "nothing"
        raise RecordingError(f"lake {source.root}: holds {kept} of {day}; give another --date")
    return [_replay(source, target, each, make, progress) for each in found]


def _replay(source: Store, target: Store, day: Day, make: Make, progress: Progress) -> ReplayReport:
    digest = blake2b(f"{day.life} {day.day} {day.first} {day.last}".encode(), digest_size=16).hexdigest()
    epoch = epoch_of(target, digest)
    shift = (epoch << SEQ_BITS) - day.first
    began, report, keys = time.monotonic(), None, set[int]()
    for segment in retell.segments(source, day, make, progress):
        frames = {key: frame for key, frame in frames_of(segment).items() if key[0] is not RAW}
        for (table, _), frame in frames.items():
            if table in (QUOTES, TRADES):
                keys.update(frame["market_key"].unique())
        if report is None:
            report = ReplayReport(f"{day.life} {day.day}", from_us(segment.first_received), from_us(0), epoch)
        report.last = from_us(segment.last_received)
        report.counts.frames += segment.frames
        report.counts.bytes += segment.size
        _count(report.counts, frames)
        report.added += _publish(target, segment, frames, shift, digest)
    assert report is not None
    report.added += _describe(source, target, keys, day.last + shift + 1, report, digest)
    report.seconds = time.monotonic() - began
    return report


def _count(counts: Counts, frames: Frames) -> None:
    """Add what the accounts of these minutes say, and the rows."""
    for (table, _), frame in frames.items():
        counts.rows[table.name] += frame.height
        if table is FEED_HEALTH:
            for outcome in Outcome:
                counts.outcomes[outcome] += int(frame[outcome.value].sum())
            for kinds in frame["ignored_kinds"]:
                counts.ignored.update(json.loads(kinds))


def _publish(target: Store, segment: Segment, frames: Frames, shift: int, digest: str) -> int:
    moved = {key: frame.with_columns(pl.col("seq") + shift) for key, frame in frames.items()}
    first, last = segment.first_seq + shift, segment.last_seq + shift
    span = SeqRange(COLLECTOR, first >> SEQ_BITS, first, last)
    ends = segment.first_received, segment.last_received
    return target.publish_segment(span, day_of(segment.first_received), segment.frames, moved, digest, ends=ends)


def _describe(source: Store, target: Store, keys: set[int], seq: int, report: ReplayReport, digest: str) -> int:
    """What the source knew of these markets and their events at the day's end: it came of pages that are not kept."""
    is_there = pl.col("market_key").is_in(list(keys))
    markets = newest(source, MARKETS, "market_key", report.last).filter(is_there).collect()
    events = newest(source, EVENTS, "event_id", report.last).collect()
    events = events.filter(pl.col("event_id").is_in(markets["event_id"].drop_nulls().unique().to_list()))
    frames = {
        (table, str(venue)): rows.drop("venue").with_columns(seq=pl.lit(seq)).select(*table.columns)
        for table, known in ((MARKETS, markets), (EVENTS, events))
        for (venue,), rows in known.group_by("venue")
    }
    frames = {key: frame.sort(*key[0].order) for key, frame in frames.items()}
    span = SeqRange(COLLECTOR, seq >> SEQ_BITS, seq, seq)
    return target.publish_segment(span, report.last.date(), 0, frames, digest)
