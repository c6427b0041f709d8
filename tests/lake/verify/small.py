"""A small lake of four sealed segments, each with quotes, trades and a minute of health; and how to look at it."""

import os
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from shutil import copytree

import polars as pl
import pyarrow.parquet as pq

from lake import layout
from lake.clock import to_us
from lake.covers import FOOTER, Cover, coalesced
from lake.layout import Part, SeqRange
from lake.rowhash import rows_hash
from lake.schema import FEED_HEALTH, GAPS, QUOTES, SEGMENTS, TRADES, Table
from lake.store import Store
from lake.verify.apart import Apart
from lake.verify.findings import Report, Severity, What
from lake.verify.survey import Survey, survey
from tests.builders import TODAY, Row, gap, instant, quote, trade
from tests.lake.lakes import new_lake, row, rows

NOW = instant("2026-03-04 12:00")
FRAMES = 10
COUNT = 4


def span(number: int, collector: str = "c") -> SeqRange:
    """The range of the `number`th segment, from 0 on."""
    return SeqRange(collector, 0, number * FRAMES, number * FRAMES + FRAMES - 1)


def minute(number: int) -> str:
    """When that segment began."""
    return f"10:{number:02}:00"


def health(number: int, **columns: object) -> Row:
    """A minute in which five messages came, and what became of each."""
    known = {"connection": "k1", "minute": instant(minute(number)), "frames": 5, "messages": 5}
    counts = {"applied": 2, "ignored": 1, "duplicate": 1, "dead": 1, "seq": span(number).last}
    return row(FEED_HEALTH, **known, **counts) | columns


def seal(
    store: Store, number: int, tables: dict[tuple[Table, str], list[Row]] | None = None, day: date = TODAY
) -> None:
    """The `number`th segment, with these rows or the usual ones."""
    first, at = span(number).first, minute(number)
    usual = {
        (QUOTES, "kalshi"): [quote(0.4 + step / 100, 0.5, at, seq=first + step) for step in range(8)],
        (TRADES, "kalshi"): [trade(0.45, 10 + step, at, seq=first + step) for step in range(3)],
        (FEED_HEALTH, "kalshi"): [health(number)],
    }
    frames = {key: rows(key[0], given) for key, given in (tables or usual).items()}
    ends = to_us(instant(at)), to_us(instant(at) + timedelta(seconds=59))
    store.publish_segment(span(number), day, FRAMES, frames, None, ends=ends)


def small(folder: Path) -> Store:
    """The lake."""
    store = new_lake(folder)
    for number in range(COUNT):
        seal(store, number)
    age(store)
    return store


def copied(store: Store, folder: Path) -> Store:
    """The same lake in another folder; its files are as old."""
    return Store.open(copytree(store.root, folder / "lake"))


def age(store: Store, hours: float = 2) -> None:
    """Let all files be so old at `NOW`."""
    moment = NOW.timestamp() - 3600 * hours
    for place in store.root.rglob("*"):
        os.utime(place, (moment, moment))


def look(store: Store, processes: Apart, *, full: bool = True) -> Survey:
    """What a survey finds, two days later."""
    return survey(store, processes, now=NOW, full=full)


def errors(report: Report) -> set[tuple[What, str]]:
    """Kind and place of each error."""
    return {(each.what, each.where) for each in report.findings if each.severity is Severity.ERROR}


def part(table: Table, number: int, day: date = TODAY) -> Part:
    """The file of that segment."""
    partition = {"date": day} if table is SEGMENTS else {"venue": "kalshi", "date": day}
    return layout.part(table, span(number).name, **partition)


def path(store: Store, table: Table, number: int) -> Path:
    """Where that file lies."""
    return store.root / part(table, number).path


def where(table: Table, number: int) -> str:
    """How findings name that file."""
    return part(table, number).path.as_posix()


def merge(store: Store, table: Table, numbers: Iterable[int], name: str = "day") -> Path:
    """One file of these segments, with a footer that says so; they stay."""
    parts = [part(table, number) for number in numbers]
    frame = pl.concat([store.load(each) for each in parts]).sort(*table.order)
    ranges = coalesced(SeqRange.parse(each.name) for each in parts)
    cover = Cover(ranges, TODAY, TODAY, frame.height, rows_hash(frame), None, None)
    partition = {"date": TODAY} if table is SEGMENTS else {"venue": "kalshi", "date": TODAY}
    place = store.root / layout.part(table, name, **partition).path
    with pq.ParquetWriter(place, frame.to_arrow().schema) as writer:
        writer.write_table(frame.to_arrow())
        writer.add_key_value_metadata({FOOTER: cover.dump()})
    return place


def trash(store: Store, place: Path) -> Path:
    """The file, moved to the trash as maintenance does."""
    target = store.root / "_trash" / "20260303T000000" / place.relative_to(store.root)
    target.parent.mkdir(parents=True, exist_ok=True)
    return place.rename(target)


def note(store: Store, start: str, end: str | None, number: int, collector: str = "d") -> None:
    """A segment of another collector that only holds a gap of the whole venue."""
    given = {(GAPS, "kalshi"): rows(GAPS, [gap(start, end, None, seq=number)])}
    store.publish_segment(SeqRange(collector, 0, number, number), TODAY, 1, given, None)
