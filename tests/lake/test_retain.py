"""`lake.retain`: whole files that are too old go to the trash, and a clock that jumped takes nothing."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from flows.jobs.maintenance import look_ahead, maintain
from lake import retain
from lake.errors import LakeError, SettingError
from lake.lock import only_one
from lake.query import Lake
from lake.schema import BARS, MARKETS, QUOTES, RAW
from lake.store import Store
from tests.lake.lakes import derive, market, new_lake, publish, row
from tests.lake.merging import names, segment, sums

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
KEEP = retain.kept({}, 24)

pytestmark = pytest.mark.usefixtures("no_fsync")


def days_of(store: Store, table) -> list[int]:
    """The days since START that have files."""
    return sorted({(part.day - START.date()).days for part in store.listed(table)})


def lake_of(folder: Path, days: int) -> Store:
    """A segment a day from START on, written when it happened."""
    lake = new_lake(folder)
    for day in range(days):
        segment(lake, START + day * DAY + timedelta(hours=9))
    age(lake)
    return lake


def age(lake: Store) -> None:
    """Every file was written on its partition's day."""
    for path in lake.root.rglob("date=*/*.parquet"):
        written = datetime.fromisoformat(path.parent.name.removeprefix("date=")).replace(tzinfo=UTC)
        os.utime(path, (written.timestamp(),) * 2)


def run(lake: Store, now: datetime, keep=KEEP, **given):
    return maintain(lake, now, keep, reserve=0, **given)


def test_what_is_older_than_it_is_kept_goes(tmp_path):
    """Each table by its own days, raw frames by hours; catalogues and the ledger stay; the trash holds the rest."""
    lake = lake_of(tmp_path, 8)
    publish(lake, {(MARKETS, "kalshi"): [market("kalshi:A", START)]}, START.date())
    age(lake)
    ledger = sums(lake)["segments"]
    report = run(lake, START + 8 * DAY + timedelta(hours=12), retain.kept({"quotes": 4}, 24))
    assert report.refused == [] and report.faults == []
    assert days_of(lake, QUOTES) == [4, 5, 6, 7] and days_of(lake, RAW) == [7]
    assert sums(lake)["trades"].rows == 8 and sums(lake)["markets"].rows == 1 and sums(lake)["segments"] == ledger
    assert len(list((lake.root / "_trash").rglob("quotes/**/*.parquet"))) >= 4
    quotes = Lake(lake).maintenance().row(by_predicate=pl.col("table") == "quotes", named=True)
    assert (quotes["rows_deleted"], quotes["files_deleted"], quotes["rows"]) == (12, 4, 12)
    assert quotes["bytes_freed"] > 0 and quotes["files_made"] > 0


def test_ordinary_passes_are_never_refused(tmp_path):
    """A pass a day for three weeks, with days off between: each takes what is due, and no more."""
    lake, keep = new_lake(tmp_path), retain.kept({"quotes": 5}, 24)
    for day in range(21):
        if day % 7 < 5:
            segment(lake, START + day * DAY + timedelta(hours=9), 1, only=(QUOTES, RAW))
        report = run(lake, START + day * DAY + timedelta(hours=12), keep)
        age(lake)
        assert report.refused == [], day
    assert days_of(lake, QUOTES) == [15, 16, 17, 18] and days_of(lake, RAW) == [18]


@pytest.mark.parametrize("jump", [timedelta(days=60), timedelta(days=3_650)])
def test_a_clock_that_jumped_takes_nothing(tmp_path, jump):
    """Not even with a segment that was sealed under the wrong clock; confirmed, all but the newest day goes."""
    lake = lake_of(tmp_path, 8)
    run(lake, START + 8 * DAY)
    age(lake)
    now, before = START + 8 * DAY + jump, sums(lake)
    segment(lake, now)
    report = run(lake, now)
    assert "quotes" in {refused.table for refused in report.refused}
    assert "quotes" not in {due.part.table.name for due in report.deleted}
    assert "--confirm-deletions" in str(report.refused[0])
    assert sums(lake)["quotes"].rows == before["quotes"].rows + 3
    notes = Lake(lake).maintenance().filter(pl.col("table") == "quotes")["note"].to_list()
    assert any("clock" in note for note in notes if note)
    age(lake)
    run(lake, now, confirmed=True)
    assert days_of(lake, QUOTES) == [(now - START).days]


def test_what_is_young_stays_whatever_its_name_says(tmp_path):
    """A file of a former day that was written an hour ago, and one whose name says nothing."""
    lake = lake_of(tmp_path, 33)
    now = START + 33 * DAY + timedelta(hours=12)
    written = lake.path(lake.listed(QUOTES)[0])
    os.utime(written, ((now - timedelta(hours=1)).timestamp(),) * 2)
    odd = written.parent.parent / "date=2026-01-02" / "my-own.parquet"
    odd.write_bytes(b"PAR1")
    os.utime(odd, (0, 0))
    _, report = look_ahead(lake, now, KEEP)
    gone = {str(due.part.path) for due in report.deleted if due.part.table is QUOTES}
    assert len(gone) == 2 and not any("2026-01-01" in path or "my-own" in path for path in gone)


def test_the_newest_day_stays(tmp_path):
    """A collector that was off for months finds the last state that it knew."""
    lake = lake_of(tmp_path, 3)
    run(lake, START + 300 * DAY, confirmed=True)
    assert days_of(lake, QUOTES) == [2]


def test_bars_go_by_their_interval(tmp_path):
    """Bars of a minute go long before those of an hour; those of a day stay."""
    lake = new_lake(tmp_path)
    for day in range(17):
        for interval in ("1m", "1h", "1d"):
            bar = row(BARS, market_key=1, bar_start=START + day * DAY)
            derive(lake, BARS, [bar], interval=interval, date=(START + day * DAY).date())
    age(lake)
    run(lake, START + 16 * DAY + timedelta(hours=1))
    intervals = [part.partition["interval"] for part in lake.parts(BARS)]
    left = {each: intervals.count(each) for each in ("1m", "1h", "1d")}
    assert left == {"1m": 15, "1h": 17, "1d": 17}


def test_the_trash_is_emptied_in_its_time(tmp_path):
    """What was moved there stays its hours; a folder of another name is nobody's business."""
    lake = new_lake(tmp_path)
    segment(lake, START)
    first = START + timedelta(hours=2)
    run(lake, first)
    assert list((lake.root / "_trash").rglob("*.parquet"))
    mine = lake.root / "_trash" / "mine"
    mine.mkdir()
    run(lake, first + timedelta(hours=24))
    assert list((lake.root / "_trash").rglob("*.parquet"))
    assert run(lake, first + timedelta(hours=24, seconds=1)).freed > 0
    assert mine.is_dir() and not (lake.root / "_trash" / "20260101T020000").exists()


def test_one_cleaner_at_a_time(tmp_path):
    """A second one is refused at once, and changes nothing."""
    lake = lake_of(tmp_path, 2)
    before = names(lake)
    with only_one(lake.root, "maintenance"), pytest.raises(LakeError, match="maintenance already"):
        run(lake, START + 9 * DAY)
    assert names(lake) == before


def test_a_full_disk_makes_merging_wait(tmp_path):
    """Where the reserve is touched nothing more is written but the account, which says so."""
    lake = lake_of(tmp_path, 1)
    before = names(lake)
    report = maintain(lake, START + DAY, KEEP, reserve=1 << 60)
    assert report.merged == [] and "nearly full" in report.faults[0] and names(lake) == before
    assert any("nearly full" in note for note in Lake(lake).maintenance()["note"] if note)


def test_settings_name_tables():
    """RETENTION_DAYS with a name that is no table is refused, with those that are."""
    assert retain.kept({"quotes": 3}, 6)["quotes"] == timedelta(days=3)
    assert retain.kept({"quotes": 0}, 6)["quotes"] is None
    assert retain.kept({}, 6)["raw"] == timedelta(hours=6)
    with pytest.raises(SettingError, match="snapshots.*there are quotes"):
        retain.kept({"snapshots": 3}, 24)
