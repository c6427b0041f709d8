"""Merging hours, days and months: a reader sees every row once, whatever happens, and nobody else is needed for it."""

from datetime import UTC, date, datetime, timedelta

import duckdb
import polars as pl
import pyarrow.dataset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.collector.former import next_epoch
from flows.jobs.maintenance import maintain
from flows.jobs.refresh import refresh_bars
from lake import compact
from lake.compact import Ledger
from lake.covers import coalesced
from lake.layout import Level
from lake.ledger import sealed
from lake.reading import dates, days
from lake.rowhash import rows_hash
from lake.schema import BARS, GAPS, QUOTES, RAW, SEALED, SEGMENTS, TRADES
from lake.store import Store
from tests.lake.lakes import new_lake
from tests.lake.merging import Sum, names, segment, sums
from tests.strategies import examples

FOREVER: dict[str, None] = {}

lives = st.tuples(st.integers(0, 3), st.integers(0, 400), st.integers(0, 5))  # epoch, hour, quotes

pytestmark = pytest.mark.usefixtures("no_fsync")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def pass_at(store: Store, text: str, keep=FOREVER):
    return maintain(store, at(text), keep, reserve=0)


def test_a_closed_hour_becomes_one_file_a_table(tmp_path):
    """Ten minutes after its end, not before; the open hour stays as it is; a second pass changes nothing."""
    lake = new_lake(tmp_path)
    for minute in (0, 1, 30, 59):
        segment(lake, f"10:{minute:02}")
    open_one = segment(lake, "11:00")
    before = sums(lake)
    assert pass_at(lake, "2026-03-02 11:09:59").merged == []
    report = pass_at(lake, "2026-03-02 11:10:00")
    assert {(done.merge.target.table.name, done.merge.target.name) for done in report.merged} == {
        (name, "hour-10") for name in ("quotes", "trades", "gaps", "raw", "segments")
    }
    assert [part.name for part in lake.parts(QUOTES)] == [open_one.name, "hour-10"]
    assert sums(lake) == before
    files = names(lake)
    assert pass_at(lake, "2026-03-02 11:11").merged == [] and names(lake) == files
    assert sums(lake) == before


def test_hours_become_days_and_days_months(tmp_path):
    """A day once it is over, a month a week after its end, in the partition of its first day; raw frames stay hours."""
    lake = new_lake(tmp_path)
    for day in ("2026-02-27", "2026-02-28", "2026-03-01"):
        for hour in (9, 10):
            segment(lake, f"{day} {hour:02}:00")
    before = sums(lake)
    pass_at(lake, "2026-03-02 00:10")
    assert [(part.day.isoformat(), part.name) for part in lake.parts(QUOTES)] == [
        ("2026-02-27", "day"), ("2026-02-28", "day"), ("2026-03-01", "day"),
    ]  # fmt: skip
    assert {part.name for part in lake.parts(RAW)} == {"hour-09", "hour-10"}
    pass_at(lake, "2026-03-07 23:59")
    assert len(lake.parts(QUOTES)) == 3
    pass_at(lake, "2026-03-08 00:00")
    assert [(part.day.isoformat(), part.name) for part in lake.parts(QUOTES)] == [
        ("2026-02-01", "month"), ("2026-03-01", "day"),
    ]  # fmt: skip
    assert sums(lake) == before


def test_a_month_is_found_by_each_of_its_days(tmp_path):
    """By a day that it covers, and not by its partition's day where that one is not covered."""
    lake = new_lake(tmp_path)
    segment(lake, "2026-02-10 09:00")
    segment(lake, "2026-02-20 09:00")
    pass_at(lake, "2026-03-10 00:00")
    found = {day: [part.name for part in lake.parts(QUOTES, dates=[date(2026, 2, day)])] for day in (1, 10, 15, 20, 21)}
    assert found == {1: [], 10: ["month"], 15: ["month"], 20: ["month"], 21: []}
    assert lake.parts(QUOTES, venues=["polymarket"]) == []
    assert dates(lake, QUOTES) == [date(2026, 2, 20)]
    near = days(lake, QUOTES, None, at("2026-02-10 08:00"), at("2026-02-10 10:00")).collect()
    assert near.height == 6


def test_what_comes_late_makes_a_new_edition(tmp_path):
    """A life that was recovered afterwards is merged into its hour, day and month; whoever listed the former edition
    reads it or misses it, and never reads a row of it twice."""
    lake = new_lake(tmp_path)
    for minute in (0, 1):
        segment(lake, f"10:{minute:02}", epoch=1)
    pass_at(lake, "2026-03-02 11:10")
    late = segment(lake, "10:30", epoch=0)
    listed = lake.parts(QUOTES)
    assert [part.name for part in listed] == [late.name, "hour-10"]
    before = sums(lake)
    lazy = lake.scan_parts(QUOTES, listed)
    pass_at(lake, "2026-03-02 11:20")
    assert [part.name for part in lake.parts(QUOTES)] == ["hour-10-2"]
    with pytest.raises(FileNotFoundError):
        lazy.collect()
    assert sums(lake) == before
    pass_at(lake, "2026-03-03 00:10")
    segment(lake, "10:45", epoch=0)
    pass_at(lake, "2026-03-03 01:00")
    assert [part.name for part in lake.parts(QUOTES)] == ["day-2"]
    assert lake.spans(lake.parts(QUOTES)[0]) == coalesced(sealed(lake))
    segment(lake, "10:50", epoch=0)
    pass_at(lake, "2026-04-08 00:00")
    segment(lake, "10:55", epoch=0)
    pass_at(lake, "2026-04-08 01:00")
    assert [part.name for part in lake.parts(QUOTES)] == ["month-2"]
    assert sums(lake)["quotes"].rows == 3 * 6


def test_a_reader_sees_every_row_once_while_the_inputs_are_there(tmp_path):
    """Each row counts once while the merged file and its inputs are both there; what is left of them is tidied away."""
    lake = new_lake(tmp_path)
    for minute in range(3):
        segment(lake, f"10:{minute:02}")
    before, copies = sums(lake), {}
    for table in SEALED:
        for part in lake.listed(table):
            copies[lake.path(part)] = lake.path(part).read_bytes()
    pass_at(lake, "2026-03-02 11:10")
    for path, content in copies.items():
        path.write_bytes(content)
    assert sums(lake) == before
    report = pass_at(lake, "2026-03-02 11:20")
    assert report.leftovers == len(copies) and report.merged == []
    assert sums(lake) == before and not any(path.exists() for path in copies)


def test_a_segment_that_was_merged_is_not_published_again(tmp_path):
    """After a crash before its WAL was removed, sealing it again adds nothing and leaves no second copy."""
    lake = new_lake(tmp_path)
    segment(lake, "10:00")
    before = sums(lake)
    pass_at(lake, "2026-03-02 11:10")
    files = names(lake)
    segment(lake, "10:00")
    assert names(lake) == files and sums(lake) == before


def test_what_the_ledger_does_not_know_is_left_alone(tmp_path):
    """A file of a segment that broke off before its line, and files of other names, are neither merged nor moved."""
    lake = new_lake(tmp_path)
    segment(lake, "10:00")
    orphan = segment(lake, "10:01")
    ledger_file = next(part for part in lake.parts(SEGMENTS) if part.name == orphan.name)
    lake.path(ledger_file).unlink()
    stranger = lake.path(lake.parts(QUOTES)[0]).with_name("notes.txt")
    stranger.write_text("mine")
    pass_at(lake, "2026-03-02 11:10")
    assert [part.name for part in lake.parts(QUOTES)] == [orphan.name, "hour-10"]
    assert stranger.read_text() == "mine"


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"", "other rows"])
def test_a_damaged_input_is_named_and_the_rest_goes_on(tmp_path, damage):
    """Cut, empty, or with other rows than were written: it stays where it is, is named, and nothing covers it."""
    lake = new_lake(tmp_path)
    segment(lake, "10:00")
    bad = segment(lake, "10:01")
    segment(lake, "10:02")
    part = next(part for part in lake.parts(QUOTES) if part.name == bad.name)
    path, content = lake.path(part), lake.path(part).read_bytes()
    if damage == "other rows":
        pl.read_parquet(path, hive_partitioning=False).with_columns(bid=0.99).write_parquet(path)
    else:
        path.write_bytes(damage(content))
    report = pass_at(lake, "2026-03-02 11:10")
    assert len(report.faults) == 1 and bad.name in report.faults[0] and "\n" not in report.faults[0]
    assert {done.merge.target.table.name for done in report.merged} == {"quotes", "trades", "gaps", "raw", "segments"}
    assert [part.name for part in lake.parts(QUOTES)] == [bad.name, "hour-10"]
    path.write_bytes(content)
    assert sums(lake)["quotes"].rows == 9
    assert pass_at(lake, "2026-03-02 11:20").faults == []
    assert [part.name for part in lake.parts(QUOTES)] == ["hour-10-2"] and sums(lake)["quotes"].rows == 9


def test_an_older_programs_files_are_merged(tmp_path):
    """Segments without their hash or their times in the ledger, and files that lack a column, lose nothing."""
    lake = new_lake(tmp_path)
    for minute in range(2):
        segment(lake, f"10:{minute:02}")
    before = sums(lake)
    for part in lake.parts(SEGMENTS):
        old = pl.read_parquet(lake.path(part), hive_partitioning=False)
        old.drop("rows_hash", "opened_time", "closed_time").write_parquet(lake.path(part))
    older = lake.parts(QUOTES)[0]
    frame = pl.read_parquet(lake.path(older), hive_partitioning=False).with_columns(source=pl.lit(None, pl.String))
    frame.drop("source").write_parquet(lake.path(older))
    expected = rows_hash(lake.scan(QUOTES).select(*QUOTES.columns).collect())
    assert pass_at(lake, "2026-03-02 11:10").faults == []
    after = sums(lake)
    assert after["quotes"] == Sum(6, expected) and after["trades"] == before["trades"]
    assert [part.name for part in lake.parts(QUOTES)] == ["hour-10"]


def test_any_engine_reads_the_merged_files(tmp_path):
    """Plain Polars, DuckDB and pyarrow over all files see the same rows, sorted in each file, with statistics."""
    lake = new_lake(tmp_path)
    for minute in range(4):
        segment(lake, f"10:{minute:02}", venues=("kalshi", "polymarket"))
    pass_at(lake, "2026-03-02 11:10")
    pass_at(lake, "2026-03-03 00:10")
    for table in (QUOTES, TRADES, GAPS):
        ours = lake.scan(table).select(*table.columns).collect()
        glob = str(lake.root / table.name / "**" / "*.parquet")
        hashes = {
            rows_hash(ours),
            rows_hash(pl.read_parquet(glob).select(*table.columns)),
            rows_hash(pl.DataFrame(pyarrow.dataset.dataset(lake.root / table.name).to_table())),
            rows_hash(duckdb.sql(f"SELECT {', '.join(table.columns)} FROM '{glob}'").pl().cast(table.columns)),
        }
        assert len(hashes) == 1
        for part in lake.parts(table):
            plain = pl.read_parquet(lake.path(part), hive_partitioning=False)
            assert dict(plain.schema) == dict(table.columns) and plain.equals(plain.sort(*table.order))
            column = lake.metadata(part).row_group(0).column(list(table.columns).index(table.order[0]))
            assert column.is_stats_set


@given(
    st.lists(lives, min_size=1, max_size=8, unique_by=lambda life: life[:2]),
    st.lists(st.integers(0, 700), max_size=6),
)
@examples(6)
def test_passes_at_any_times_change_no_row(tmp_path_factory, segments, passes):
    """Segments of several lives in any order, and passes between them by any clock: the rows are what was sealed."""
    lake = new_lake(tmp_path_factory.mktemp("lake"))
    start, todo = at("2026-02-27 00:00"), list(passes)
    for epoch, hours, count in segments:
        segment(lake, start + timedelta(hours=hours), count + 1, epoch=epoch, number=hours)
        if todo:
            maintain(lake, start + timedelta(hours=todo.pop()), FOREVER, reserve=0)
    expected = sum(count + 1 for *_, count in segments)
    before = sums(lake)
    assert before["quotes"].rows == expected
    maintain(lake, start + timedelta(days=400), FOREVER, reserve=0)
    assert sums(lake) == before
    files = names(lake)
    assert maintain(lake, start + timedelta(days=400), FOREVER, reserve=0).merged == [] and names(lake) == files
    assert all(part.name.startswith(("month", "hour")) for table in SEALED for part in lake.parts(table))


def test_a_merge_in_pieces_is_the_merge_at_once(tmp_path, monkeypatch):
    """Where memory holds but a few rows, the file is the same, in the same order."""
    lake = new_lake(tmp_path)
    for minute in range(6):
        segment(lake, f"10:{minute:02}", 9)
        segment(lake, f"10:{minute:02}", 9, collector="other")
    ledger, now = Ledger(lake), at("2026-03-02 11:10")
    for table in (QUOTES, RAW):
        (wanted,) = compact.plan(lake, ledger, table, Level.HOUR, now).merges
        at_once = list(compact._slabs(lake, table, list(wanted.inputs)))
        monkeypatch.setattr(compact, "AT_ONCE", 500)
        pieces = list(compact._slabs(lake, table, list(wanted.inputs)))
        monkeypatch.undo()
        assert len(at_once) == 1 and len(pieces) > 2
        assert pl.concat(pieces).equals(at_once[0])


def test_a_plan_touches_nothing(tmp_path):
    """It reads, and no file is made, changed or moved."""
    lake = new_lake(tmp_path)
    segment(lake, "10:00")
    before = {path: path.stat().st_mtime_ns for path in lake.root.rglob("*")}
    for table in SEALED:
        for level in (Level.HOUR, Level.DAY, Level.MONTH):
            compact.plan(lake, Ledger(lake), table, level, at("2026-06-01 00:00"))
    assert {path: path.stat().st_mtime_ns for path in lake.root.rglob("*")} == before


def test_bars_do_not_depend_on_when_segments_were_merged(tmp_path):
    """Segments that were merged before the refresh knew them make the bars that they would have made, and once taken
    they are not taken again."""
    plain, merged = new_lake(tmp_path / "plain"), new_lake(tmp_path / "merged")
    for lake in (plain, merged):
        segment(lake, "10:00")
    refresh_bars(merged)
    for lake in (plain, merged):
        for minute in range(1, 6):
            segment(lake, f"10:{minute:02}")
    pass_at(merged, "2026-03-02 11:10")
    assert refresh_bars(merged).segments == 5 and refresh_bars(merged).segments == 0
    refresh_bars(plain)
    found = [lake.scan(BARS).sort("interval", "market_key", "bar_start").collect() for lake in (plain, merged)]
    assert found[0].height > 0 and found[0].equals(found[1])
    assert next_epoch(merged, "c") == next_epoch(plain, "c") == 1
