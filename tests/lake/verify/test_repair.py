"""What can be brought back is, what cannot is noted, nothing is deleted, and a second repair changes nothing."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.jobs.maintenance import maintain
from lake.errors import LakeError
from lake.lock import only_one
from lake.query import Lake
from lake.retain import kept
from lake.schema import BARS, FEED_HEALTH, GAPS, QUOTES, SEGMENTS, TRADES
from lake.store import Store
from lake.verify.findings import What
from lake.verify.plan import Step, Verb, plan
from lake.verify.repair import repair
from lake.verify.survey import survey
from tests.builders import TODAY, instant, quote
from tests.lake.lakes import derive, row, rows
from tests.lake.verify.small import (
    COUNT,
    NOW,
    age,
    copied,
    errors,
    look,
    merge,
    minute,
    note,
    part,
    path,
    seal,
    trash,
    where,
)
from tests.strategies import examples


def mend(lake: Store, processes) -> list[Step]:
    """Repair; the steps that were done, once a second repair had none and the lake had no error left."""
    done: list[Step] = []
    found = repair(lake, lambda: look(lake, processes), NOW, processes, done.append)
    assert errors(found.report) == set()
    before = content(lake)
    again: list[Step] = []
    repair(lake, lambda: look(lake, processes), NOW, processes, again.append)
    assert again == []
    assert content(lake) == before
    return done


def content(lake: Store) -> dict[str, bytes]:
    """Every file of the lake but the locks."""
    files = (place for place in lake.root.rglob("*") if place.is_file() and place.suffix != ".lock")
    return {place.relative_to(lake.root).as_posix(): place.read_bytes() for place in files}


def gaps(lake: Store) -> list[tuple]:
    """Start, end and reason of the gaps of the whole venue, by time."""
    found = lake.scan(GAPS).filter(pl.col("market_key").is_null()).sort("start_time").collect()
    return found.select("start_time", "end_time", "reason").rows()


def gap_of(*numbers: int) -> tuple:
    """The time of these segments, as a gap."""
    end = instant(minute(numbers[-1])) + timedelta(seconds=59)
    return instant(minute(numbers[0])), end, "segment_damaged"


def test_a_sound_lake_is_left_alone(lake, processes):
    """There is nothing to do."""
    assert mend(lake, processes) == []


def test_a_damaged_segment_goes_to_quarantine_and_into_gaps(lake, processes):
    """Its bytes are kept, its time is a gap of the venue, and coverage says so."""
    os.truncate(path(lake, QUOTES, 1), 100)
    kept = path(lake, QUOTES, 1).read_bytes()
    assert [step.verb for step in mend(lake, processes)] == [Verb.QUARANTINE, Verb.RECORD]
    assert (lake.root / "_quarantine" / where(QUOTES, 1)).read_bytes() == kept
    assert not path(lake, QUOTES, 1).exists()
    assert gaps(lake) == [gap_of(1)]
    seen = Lake(lake).coverage(start=instant(minute(0)), end=instant(minute(2)), as_of=instant(minute(4)))
    assert seen["unseen_seconds"].to_list() == [59.0]
    assert seen["reasons"].to_list() == ['{"segment_damaged": 59.0}']


def test_lost_neighbours_are_one_gap(lake, processes):
    """Files of two segments in a row, of two tables, one cut and the others deleted."""
    os.truncate(path(lake, QUOTES, 1), 100)
    path(lake, TRADES, 1).unlink()
    path(lake, QUOTES, 2).unlink()
    done = mend(lake, processes)
    assert sorted(step.verb for step in done) == sorted([Verb.QUARANTINE, Verb.NOTE, Verb.NOTE, Verb.RECORD])
    assert gaps(lake) == [gap_of(1, 2)]
    found = {each.where for each in look(lake, processes).report.findings if each.what is What.LOST}
    assert found == {where(QUOTES, 1), where(TRADES, 1), where(QUOTES, 2)}


def test_what_no_price_rests_on_makes_no_gap(lake, processes):
    """A minute of health that is lost is noted; the venue was watched all the same."""
    path(lake, FEED_HEALTH, 1).unlink()
    assert [step.verb for step in mend(lake, processes)] == [Verb.NOTE]
    text = (lake.root / "_quarantine" / f"{where(FEED_HEALTH, 1)}.lost").read_text()
    assert "1 rows" in text and where(FEED_HEALTH, 1) in text
    assert gaps(lake) == []


def test_a_missing_file_comes_back_from_the_trash(lake, processes):
    """It lies where it lay, byte for byte, and nothing is lost."""
    before = content(lake)
    trash(lake, path(lake, QUOTES, 1))
    assert [step.verb for step in mend(lake, processes)] == [Verb.RESTORE]
    assert content(lake) == before


def test_a_damaged_file_in_the_trash_is_no_help(lake, processes):
    """It stays there, and the loss is noted."""
    os.truncate(trash(lake, path(lake, QUOTES, 1)), 100)
    assert {step.verb for step in mend(lake, processes)} == {Verb.NOTE, Verb.RECORD}
    assert gaps(lake) == [gap_of(1)]


@pytest.mark.parametrize("harm", ["cut", "deleted", "edited"])
def test_the_inputs_of_a_merged_file_come_back(lake, processes, harm):
    """From the trash, where they are still all there: the rows are those of before."""
    before = lake.scan(QUOTES).sort("seq").collect()
    place = merge(lake, QUOTES, range(COUNT))
    for number in range(COUNT):
        trash(lake, path(lake, QUOTES, number))
    match harm:
        case "cut":
            os.truncate(place, 500)
        case "deleted":
            place.unlink()
        case "edited":
            pl.read_parquet(place, hive_partitioning=False).with_columns(bid=0.3).write_parquet(place)
    done = mend(lake, processes)
    assert [step.verb for step in done if step.verb is not Verb.QUARANTINE] == [Verb.RESTORE] * COUNT
    assert lake.scan(QUOTES).sort("seq").collect().equals(before)
    assert gaps(lake) == []


def test_some_inputs_of_a_merged_file_are_gone(lake, processes):
    """What is in the trash comes back, the others' time is a gap."""
    place = merge(lake, QUOTES, range(COUNT))
    for number in (0, 3):
        trash(lake, path(lake, QUOTES, number))
    for number in (1, 2):
        path(lake, QUOTES, number).unlink()
    os.truncate(place, 500)
    mend(lake, processes)
    assert path(lake, QUOTES, 0).exists() and path(lake, QUOTES, 3).exists()
    assert gaps(lake) == [gap_of(1, 2)]


def test_merged_lines_of_the_ledger_come_back(lake, processes):
    """A damaged file of the ledger that was merged: its inputs are in the trash. No other file is blamed for it."""
    before = lake.scan(SEGMENTS).sort("first_seq", "table").collect()
    place = merge(lake, SEGMENTS, range(COUNT))
    quotes = merge(lake, QUOTES, range(COUNT))
    for number in range(COUNT):
        trash(lake, path(lake, SEGMENTS, number))
        trash(lake, path(lake, QUOTES, number))
    os.truncate(place, 500)
    done = mend(lake, processes)
    assert [step.verb for step in done] == [Verb.QUARANTINE, *[Verb.RESTORE] * COUNT]
    assert quotes.exists()
    assert lake.scan(SEGMENTS).sort("first_seq", "table").collect().equals(before)
    assert gaps(lake) == []


def test_a_damaged_line_is_written_again_from_its_files(lake, processes):
    """Rows, bytes, hash and times are those of before; what only the collector knew is as its range says."""
    before = lake.load(part(SEGMENTS, 1))
    os.truncate(path(lake, SEGMENTS, 1), 60)
    done = mend(lake, processes)
    assert [step.verb for step in done] == [Verb.QUARANTINE, Verb.LIST]
    unknown = ["opened_time", "closed_time"]
    assert lake.load(part(SEGMENTS, 1)).drop(unknown).equals(before.drop(unknown))
    assert gaps(lake) == []


def test_a_lost_line_is_written_again_and_its_time_is_a_gap(lake, processes):
    """Nobody knows whether its files are all that it had: a seal may have been broken off."""
    before = lake.load(part(SEGMENTS, 1))
    path(lake, SEGMENTS, 1).unlink()
    assert [step.verb for step in mend(lake, processes)] == [Verb.LIST]
    assert (
        lake.load(part(SEGMENTS, 1))
        .drop("opened_time", "closed_time")
        .equals(before.drop("opened_time", "closed_time"))
    )
    assert [(start, reason) for start, _, reason in gaps(lake)] == [(instant(minute(1)), "segment_damaged")]


def test_a_broken_off_seal_at_the_end(lake, processes):
    """One file of a segment, no line and no log: it gets its line, and its time a gap."""
    lake.publish(part(QUOTES, 4), rows(QUOTES, [quote(at=minute(4), seq=41)]))
    age(lake)
    assert [step.verb for step in mend(lake, processes)] == [Verb.LIST]
    assert lake.load(part(SEGMENTS, 4)).select("table", "rows").rows() == [("quotes", 1)]
    assert gaps(lake) == [(instant(minute(4)), instant(minute(4)), "segment_damaged")]


def test_a_hole_is_noted(lake, processes):
    """Whole segments without a file and without a line: the time between their neighbours is a gap."""
    for table in (QUOTES, TRADES, FEED_HEALTH, SEGMENTS):
        path(lake, table, 1).unlink()
    assert [step.verb for step in mend(lake, processes)] == [Verb.RECORD]
    assert gaps(lake) == [(gap_of(0)[1], gap_of(2)[0], "segment_damaged")]


def test_a_hole_that_is_on_record_is_left_alone(lake, processes):
    """The collector noted it already."""
    seal(lake, 6)
    age(lake)
    note(lake, "10:03:30", "10:06:30", 0)
    assert mend(lake, processes) == []


def test_leftovers_are_tidied_away(lake, processes):
    """Old temporary files go; inputs of a sound merged file go to the trash; young ones and foreign files stay."""
    merge(lake, QUOTES, range(COUNT))
    folder = path(lake, QUOTES, 0).parent
    (folder / ".x.parquet.17.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    age(lake)
    (folder / ".y.parquet.18.tmp").write_bytes(b"half")
    done = mend(lake, processes)
    assert sorted(step.verb for step in done) == sorted([Verb.REMOVE, *[Verb.TRASH] * COUNT])
    assert sorted(place.name for place in folder.iterdir()) == [".y.parquet.18.tmp", "day.parquet", "notes.txt"]
    trashed = lake.root / "_trash" / f"{NOW:%Y%m%dT%H%M%S}"
    assert (trashed / where(QUOTES, 0)).exists()


def test_inputs_of_a_changed_merged_file_stay(lake, processes):
    """It goes to quarantine, and they hold the rows again."""
    place = merge(lake, QUOTES, range(COUNT))
    content_ = bytearray(place.read_bytes())
    content_[4:300] = bytes(296)
    place.write_bytes(content_)
    age(lake)
    assert [step.verb for step in mend(lake, processes)] == [Verb.QUARANTINE]
    assert all(path(lake, QUOTES, number).exists() for number in range(COUNT))


def test_a_damaged_derived_file_is_put_aside(lake, processes):
    """Nothing is noted, as it is computed anew."""
    derive(lake, BARS, [row(BARS, market_key=1, bar_start=instant("10:00"), open=0.5)], interval="1m")
    (place,) = (lake.root / "bars").rglob("*.parquet")
    os.truncate(place, 30)
    assert [step.verb for step in mend(lake, processes)] == [Verb.QUARANTINE]
    assert gaps(lake) == []


def test_nobody_merges_meanwhile(lake, processes):
    """While maintenance is at work on the lake a repair is refused, before it looks."""
    with only_one(lake.local, "maintenance"), pytest.raises(LakeError, match="maintenance already"):
        repair(lake, lambda: look(lake, processes), NOW, processes, print)


def test_what_maintenance_removed_for_its_age_is_not_missed(lake, processes):
    """Merged, then gone with its trash: no finding and no gap; without a word of how long it is kept, it is missing."""
    seal(lake, COUNT, day=TODAY + timedelta(days=1))
    age(lake)
    keep = kept({"quotes": 2, "segments": 3}, 24)
    for days in (2, 4, 6, 8):
        maintain(lake, now := NOW + timedelta(days=days), keep, reserve=0)
        found = survey(lake, processes, now=now, full=True, kept=keep)
        assert errors(found.report) == set() and plan(lake, found, now, processes) == []
    assert [part.day for part in lake.listed(QUOTES)] == [TODAY + timedelta(days=1)] == lake.days(SEGMENTS)[-1:]
    assert errors(survey(lake, processes, now=now, full=True).report)


def test_a_plan_changes_nothing(lake, processes):
    """Whatever is to be done, every file is as it was."""
    os.truncate(path(lake, QUOTES, 1), 100)
    trash(lake, path(lake, TRADES, 2))
    path(lake, SEGMENTS, 3).unlink()
    before = content(lake)
    assert plan(lake, look(lake, processes), NOW, processes)
    assert content(lake) == before


def test_two_things_of_one_name_are_both_kept(lake, processes):
    """A file that is damaged once more does not write over the first in the quarantine."""
    whole = path(lake, QUOTES, 1).read_bytes()
    os.truncate(path(lake, QUOTES, 1), 100)
    mend(lake, processes)
    path(lake, QUOTES, 1).write_bytes(whole[:200])
    mend(lake, processes)
    kept = sorted((lake.root / "_quarantine" / where(QUOTES, 1)).parent.iterdir())
    assert [place.stat().st_size for place in kept] == [100, 200]


def harm(lake: Store, place: Path, kept: int | None, *, is_trashed: bool) -> None:
    """Cut or delete a file, and leave a copy in the trash before."""
    if is_trashed:
        target = lake.root / "_trash" / "20260303T000000" / place.relative_to(lake.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(place, target)
    if kept is None:
        place.unlink()
    else:
        os.truncate(place, kept)


@examples(12)
@given(data=st.data())
def test_any_damage_is_mended_once(sound, tmp_path_factory, processes, data):
    """Some files cut or deleted, with or without a copy in the trash: no error is left, what was whole is as it was."""
    lake = copied(sound, tmp_path_factory.mktemp("lake"))
    files = sorted(lake.root.rglob("*.parquet"))
    victims = data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=4, unique=True))
    for place in victims:
        kept = data.draw(st.none() | st.integers(0, place.stat().st_size - 1))
        harm(lake, place, kept, is_trashed=data.draw(st.booleans()))
    whole = {place: place.read_bytes() for place in files if place not in victims}
    mend(lake, processes)
    assert {place: place.read_bytes() for place in whole} == whole
    assert lake.scan(QUOTES).collect().height == lake.scan(QUOTES).select("seq").unique().collect().height
    assert lake.scan(QUOTES, dates=[TODAY]).collect().height <= 8 * COUNT
