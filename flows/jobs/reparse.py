"""A day's quotes and trades anew, from its raw frames, as after a mended parser; in place, and each table at once.

What is told again (`flows.collector.retell`) takes the place of the rows of its segments; rows of segments whose frames
are not kept any more stay as they are. Each table of a venue gets a new edition of the day's merged file, which covers
all its former files, so a reader sees the old rows or the new ones; the bars follow, then the ledger's lines, which say
until then that there is something to do. Killed at any step, the same command does the rest, and done twice it changes
nothing more.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Final

import polars as pl

from flows.collector import retell
from flows.collector.making import Make
from flows.collector.retell import Day
from flows.collector.sealing import frames_of
from flows.collector.segments import Segment
from flows.jobs.refresh import restate
from lake import parquet
from lake.covers import FOOTER, Cover, Ranges, coalesced, holds
from lake.derived.blocks import BLOCK
from lake.errors import LakeError
from lake.layout import Level, Merged, Part, SeqRange, part
from lake.lease import UPKEEP, sole
from lake.parquet import Written
from lake.rowhash import rows_hash
from lake.schema import QUOTES, SEGMENTS, TRADES, Table
from lake.store import Store
from lake.vocab import Venue

TOLD: Final = (QUOTES, TRADES)
CLOSED: Final = timedelta(minutes=10)
"""How long after its end a day is over."""

MARKETS_AT_ONCE: Final = 64
"""Into how many groups of markets the rows of a day are cut, so that one group is in memory at a time."""

SCRATCH: Final = "reparse-"

Progress = Callable[[int, int], None]
Place = tuple[Table, str]


Ends = tuple[datetime | None, datetime | None, datetime | None, datetime | None]
"""First and last of the table's time, first and last received."""

ENDS: Final = ("first_time", "last_time", "first_received_time", "last_received_time")
"""The columns of the ledger that say it."""

_NONE: Final[tuple[int, int, Ends]] = (0, 0, (None,) * 4)


@dataclass(slots=True)
class ReparseReport:
    """What became of a day."""

    day: date
    segments: int = 0  # told again
    without: int = 0  # segments whose frames are not kept: their rows stay
    before: dict[str, int] = field(default_factory=dict)  # rows by table
    after: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)  # table and venue whose rows are others now

    def __str__(self) -> str:
        kept = f", {self.without:,} segments without frames stay as they are" if self.without else ""
        rows = ", ".join(f"{name} {self.before[name]:,} to {count:,}" for name, count in self.after.items())
        what = f"changed: {', '.join(self.changed)}" if self.changed else "nothing changed"
        return f"{self.day}: {self.segments:,} segments told again{kept}; {rows}; {what}"


def reparse(
    store: Store,
    day: date,
    make: Make,
    now: datetime,
    progress: Progress = lambda done, total: None,
) -> ReparseReport:
    """Rebuild the day's quotes and trades from what is kept of its frames, then its bars.

    Tables whose rows come out the same are left alone. Raises `LakeError` for a day that is not over, of which no frame
    is kept, whose state another program wrote, or while jobs are at work on the lake; then nothing was changed.
    """
    end = datetime.combine(day, time(), UTC) + timedelta(days=1)
    if now < end + CLOSED:
        raise LakeError(f"{day}: is not over; its frames are told again from {end + CLOSED:%Y-%m-%d %H:%M} UTC on")
    lives, without = retell.days(store, day)
    if not lives:
        raise LakeError(f"lake {store.name}: keeps no frames of {day} (RAW_RETENTION_HOURS); nothing was changed")
    report = ReparseReport(day, sum(len(life.spans) for life in lives), without)
    told = coalesced(span for life in lives for span in life.spans)
    with (
        sole(store, "jobs") as held,
        sole(held, UPKEEP) as mine,
        _scratch(store.local) as folder,
    ):
        news = _tell(mine, lives, make, folder, progress)
        for table in TOLD:
            for venue in Venue:
                _rebuild(mine, (table, venue.value), news, told, report, now)
        restate(mine, _blocks(mine, news, told, day))
        _enter(mine, news, told, day, now)
    return report


@contextmanager
def _scratch(local: Path) -> Iterator[Path]:
    """A folder for as long as this lasts; what the killed have left of theirs goes first."""
    for left in local.glob(f"{SCRATCH}*"):
        rmtree(left)
    with TemporaryDirectory(prefix=SCRATCH, dir=local) as folder:
        yield Path(folder)


@dataclass(slots=True)
class News:
    """What was told again: rows on disk, a file a segment, and what the ledger is to say of them."""

    files: dict[Place, list[Path]] = field(default_factory=dict)
    lines: dict[tuple[str, str, SeqRange], tuple[int, int, Ends]] = field(default_factory=dict)  # rows, hash, times


def _tell(store: Store, lives: list[Day], make: Make, folder: Path, progress: Progress) -> News:
    news = News()
    done, total = 0, sum(len(life.spans) for life in lives)
    for life in lives:
        for segment in retell.segments(store, life, make):
            span = _span(life, segment)
            for (table, venue), frame in frames_of(segment).items():
                if table in TOLD:
                    path = folder / f"{table.name}-{venue}-{span.name}.parquet"
                    frame.write_parquet(path)
                    news.files.setdefault((table, venue), []).append(path)
                    news.lines[table.name, venue, span] = (frame.height, rows_hash(frame), _ends(frame))
            done += 1
            progress(done, total)
    return news


def _span(life: Day, segment: Segment) -> SeqRange:
    """The segment's name in the ledger; one that a recovery ended reaches a little further there."""
    for span in life.spans:
        if span.first == segment.first_seq and segment.last_seq <= span.last:
            return span
    raise LakeError(f"{life.life}: what begins at seq {segment.first_seq} was cut in another way; nothing was changed")


def _ends(frame: pl.DataFrame) -> Ends:
    event, received = frame["event_time"], frame["received_time"]
    return event.min(), event.max(), received.min(), received.max()  # type: ignore[return-value]


def _rebuild(store: Store, place: Place, news: News, told: Ranges, report: ReparseReport, now: datetime) -> None:
    """A new edition of the day's file: rows of other segments as they are, those told again in their place."""
    table, venue = place
    inputs = store.parts(table, venues=[venue], dates=[report.day])
    if any(store.days_of(each) != (report.day, report.day) for each in inputs):
        raise LakeError(f"{report.day}: is merged into a month; its frames should be gone, and its rows stay")
    old = store.scan_parts(table, inputs).select(*table.columns)
    is_told = pl.any_horizontal(pl.col("seq").is_between(span.first, span.last) for span in told)
    files = news.files.get(place, [])
    new = pl.scan_parquet(files, glob=False).select(*table.columns) if files else table.empty().select(*table.columns)
    rows = pl.concat([old.filter(~is_told), new])
    before, after = (_said(frame) for frame in (old, rows))
    report.before[table.name] = report.before.get(table.name, 0) + before[0]
    report.after[table.name] = report.after.get(table.name, 0) + after[0]
    there = store.listed(table, venues=[venue], dates=[report.day])
    store.trash([each for each in there if each not in inputs], now)  # what one that was killed has left
    if before == after:
        return
    report.changed.append(f"{table.name} of {venue}")
    edition = 1 + max(map(_edition, there), default=0)
    target = part(table, Merged(Level.DAY, None, edition).name, venue=venue, date=report.day)
    ranges = coalesced([*told, *(span for each in inputs for span in store.spans(each))])
    _publish(store, target, rows, ranges, after)
    store.trash(inputs, now)


def _edition(each: Part) -> int:
    merged = Merged.parse(each.name)
    return merged.edition if merged is not None and merged.level is Level.DAY else 0


def _said(rows: pl.LazyFrame) -> tuple[int, int]:
    """How many rows, and their hash, a group of markets at a time."""
    found = Written()
    for group in _groups(rows):
        found.add(group, None)
    return found.rows, found.rows_hash


def _groups(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The rows by ranges of market_key, so that groups follow one another in the table's order."""
    width = (1 << 64) // MARKETS_AT_ONCE
    for number in range(MARKETS_AT_ONCE):
        low = -(1 << 63) + number * width
        is_in = (pl.col("market_key") >= low) & (pl.col("market_key") <= low + width - 1)
        yield rows.filter(is_in).collect()


def _publish(store: Store, target: Part, rows: pl.LazyFrame, ranges: Ranges, wanted: tuple[int, int]) -> None:
    table = target.table

    def sorted_groups() -> Iterator[pl.DataFrame]:
        for group in _groups(rows):
            if group.height:
                yield group.sort(*table.order, maintain_order=True)

    def footer(written: Written) -> dict[bytes, bytes]:
        times = written.first_time, written.last_time
        return {FOOTER: Cover(ranges, target.day, target.day, written.rows, written.rows_hash, *times).dump()}

    def check(path: Path) -> None:
        found = parquet.read(path, table)
        if (found.rows, found.rows_hash) != wanted:
            raise LakeError(f"{target.path}: was not read back as it was written; nothing was published")

    store.publish_file(target, lambda path: parquet.write(path, table, sorted_groups(), footer), check)


def _blocks(store: Store, news: News, told: Ranges, day: date) -> dict[str, set[datetime]]:
    """By venue the blocks of segments of which the ledger says other rows than were told: their bars may be old."""
    lines = store.scan_parts(SEGMENTS, store.parts(SEGMENTS, dates=[day])).select(*SEGMENTS.columns).collect()
    known: dict[tuple[str, str, SeqRange], tuple[int, int, Ends]] = {}
    for row in lines.filter(pl.col("table").is_in([table.name for table in TOLD])).iter_rows(named=True):
        span = SeqRange(row["collector"], row["epoch"], row["first_seq"], row["last_seq"])
        if holds(told, (span,)):
            ends: Ends = tuple(row[name] for name in ENDS)
            known[row["table"], row["venue"], span] = (row["rows"], row["rows_hash"], ends)
    found: dict[str, set[datetime]] = {}
    for key in known.keys() | news.lines.keys():
        was, is_now = known.get(key, _NONE), news.lines.get(key, _NONE)
        if was[:2] != is_now[:2]:
            for _, _, (first, last, *_) in (was, is_now):
                found.setdefault(key[1], set()).update(_between(first, last))
    return found


def _between(first: datetime | None, last: datetime | None) -> Iterator[datetime]:
    """The starts of the blocks from the one of `first` to the one of `last`."""
    if first is not None and last is not None:
        start = first - (first - datetime(1970, 1, 1, tzinfo=UTC)) % BLOCK
        while start <= last:
            yield start
            start += BLOCK


def _enter(store: Store, news: News, told: Ranges, day: date, now: datetime) -> None:
    """The ledger's lines of what was told again, in a new edition of its day's file."""
    inputs = store.parts(SEGMENTS, dates=[day])
    old = store.scan_parts(SEGMENTS, inputs).select(*SEGMENTS.columns).collect()
    new = _with_lines(old, news, told)
    there = store.listed(SEGMENTS, dates=[day])
    store.trash([each for each in there if each not in inputs], now)
    if new.drop("bytes").equals(old.sort(*SEGMENTS.order, nulls_last=False).drop("bytes")):
        return
    edition = 1 + max(map(_edition, there), default=0)
    target = part(SEGMENTS, Merged(Level.DAY, None, edition).name, date=day)
    spans = coalesced(span for each in inputs for span in store.spans(each))
    written = Written()
    written.add(new, SEGMENTS.time)

    def footer(found: Written) -> dict[bytes, bytes]:
        times = found.first_time, found.last_time
        return {FOOTER: Cover(spans, day, day, found.rows, found.rows_hash, *times).dump()}

    store.publish_file(target, lambda path: parquet.write(path, SEGMENTS, [new], footer))
    store.trash(inputs, now)


def _with_lines(old: pl.DataFrame, news: News, told: Ranges) -> pl.DataFrame:
    """The lines of the ledger, those of quotes and trades of the told segments anew."""
    facts = {
        SeqRange(row["collector"], row["epoch"], row["first_seq"], row["last_seq"]): row
        for row in old.iter_rows(named=True)
    }
    again = [span.name for span in facts if holds(told, (span,))]
    name = pl.concat_str("collector", "epoch", "first_seq", "last_seq", separator="-")
    kept = old.filter(~(name.is_in(again) & pl.col("table").is_in([table.name for table in TOLD])))
    lines = []
    for (table, venue, span), (rows, found, ends) in news.lines.items():
        line = {**facts[span], "table": table, "venue": venue, "rows": rows, "bytes": 0, "rows_hash": found}
        line |= dict(zip(ENDS, ends, strict=True))
        lines.append(line | {"partition_date": facts[span]["opened_time"].date()})
    added = pl.DataFrame(lines, schema=dict(SEGMENTS.columns)) if lines else kept.clear()
    return pl.concat([kept, added]).sort(*SEGMENTS.order, nulls_last=False)
