"""Each kind of damage is found and named; a lake without any has no finding."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.jobs.maintenance import maintain
from lake.layout import Life, SeqRange, wal_name
from lake.schema import BARS, FEED_HEALTH, GAPS, QUOTES, SEGMENTS, TRADES
from lake.store import Store
from lake.verify.findings import Severity, What
from lake.verify.survey import survey
from tests.builders import TODAY, quote, trade
from tests.lake.lakes import derive, new_lake, row, rows
from tests.lake.verify.small import (
    COUNT,
    NOW,
    copied,
    errors,
    health,
    look,
    merge,
    minute,
    note,
    part,
    path,
    seal,
    span,
    trash,
    where,
)
from tests.session import replayed
from tests.strategies import examples


def test_a_sound_lake_has_no_finding(lake, processes):
    """Four segments, each file read to its last byte and hashed."""
    report = look(lake, processes).report
    assert report.findings == []
    assert (report.files, report.lines, report.hashed, report.unhashed) == (4 * COUNT, 3 * COUNT, 4 * COUNT, 0)


@pytest.mark.soak
def test_the_projects_own_session_is_sound(tmp_path, processes):
    """Replayed by the command itself, bars and boards computed: each file is read, and nothing is found."""
    report = look(Store.open(replayed(tmp_path)), processes).report
    assert report.findings == []
    assert report.hashed == report.files > 900


def test_an_empty_lake_is_sound(tmp_path, processes):
    """Nothing was sealed, and nothing is missing."""
    assert look(new_lake(tmp_path), processes).report.findings == []


def cut(lake: Store) -> None:
    os.truncate(path(lake, QUOTES, 1), 100)


def flip(lake: Store) -> None:
    """In the values of the first column that differ from row to row."""
    place = path(lake, QUOTES, 1)
    with pq.ParquetFile(place) as file:
        column = file.metadata.row_group(0).column(list(QUOTES.columns).index("bid"))
        middle = column.data_page_offset + column.total_compressed_size - 8
    content = bytearray(place.read_bytes())
    content[middle] ^= 0xFF
    place.write_bytes(content)


def blank(lake: Store) -> None:
    place = path(lake, QUOTES, 1)
    content = bytearray(place.read_bytes())
    content[4:400] = bytes(396)
    place.write_bytes(content)


def empty(lake: Store) -> None:
    path(lake, QUOTES, 1).write_bytes(b"")


def text(lake: Store) -> None:
    path(lake, QUOTES, 1).write_text("PAR1 I am no Parquet, but end like one: PAR1")


def delete(lake: Store) -> None:
    path(lake, QUOTES, 1).unlink()


def edit(lake: Store) -> None:
    place = path(lake, QUOTES, 1)
    pl.read_parquet(place, hive_partitioning=False).with_columns(bid=0.01).write_parquet(place)


def shorten(lake: Store) -> None:
    place = path(lake, QUOTES, 1)
    pl.read_parquet(place, hive_partitioning=False).head(3).write_parquet(place)


def another(lake: Store) -> None:
    shutil.copy(path(lake, QUOTES, 2), path(lake, QUOTES, 1))


@pytest.mark.parametrize(
    ("harm", "kinds"),
    [
        (cut, {What.DAMAGED}),
        (flip, {What.DAMAGED, What.WRONG_HASH}),
        (blank, {What.DAMAGED}),
        (empty, {What.DAMAGED}),
        (text, {What.DAMAGED}),
        (delete, {What.MISSING}),
        (edit, {What.WRONG_ROWS, What.WRONG_HASH}),
        (shorten, {What.WRONG_ROWS, What.WRONG_HASH}),
        (another, {What.WRONG_RANGE, What.WRONG_HASH, What.REPEATED}),
    ],
)
def test_a_file_that_is_not_what_it_was_is_named(lake, processes, harm, kinds):
    """Whatever was done to one file, errors name that file and say which kind; every one says what to do next."""
    harm(lake)
    report = look(lake, processes).report
    found = errors(report)
    assert {what for what, _ in found} & kinds
    assert {what for what, _ in found} <= kinds
    assert {place for what, place in found if what is not What.REPEATED} == {where(QUOTES, 1)}
    assert all(each.found and each.step for each in report.findings)


def test_any_flipped_byte_is_found_or_changes_nothing(lake, processes):
    """Bytes here and there are flipped, in one file after the other: what no error names reads as it did."""
    places = [path(lake, table, number) for table in (QUOTES, TRADES) for number in range(COUNT)]
    whole = {place: (place.read_bytes(), pl.read_parquet(place, hive_partitioning=False)) for place in places}
    found = 0
    for start in range(5, 4000, 517):
        for number, place in enumerate(places):
            content = bytearray(whole[place][0])
            content[(start + 61 * number) % len(content)] ^= 0x55
            place.write_bytes(content)
        named = {where for _, where in errors(look(lake, processes).report)}
        for place in places:
            if place.relative_to(lake.root).as_posix() in named:
                found += 1
            else:
                assert pl.read_parquet(place, hive_partitioning=False).equals(whole[place][1])
    assert found > 30


def test_a_lost_line_of_the_ledger(lake, processes):
    """Its files are unlisted, and the life has a hole."""
    path(lake, SEGMENTS, 1).unlink()
    assert errors(look(lake, processes).report) == {
        (What.HOLE, span(1).name),
        *((What.UNLISTED, where(table, 1)) for table in (QUOTES, TRADES, FEED_HEALTH)),
    }


def test_a_damaged_line_of_the_ledger(lake, processes):
    """The file is named, whether its end is gone or its middle."""
    for harm in (
        lambda place: os.truncate(place, 50),
        lambda place: place.write_bytes(b"PAR1" + place.read_bytes()[:-4] + b"PAR1"),
    ):
        harm(path(lake, SEGMENTS, 1))
        assert (What.DAMAGED, where(SEGMENTS, 1)) in errors(look(lake, processes).report)


def test_a_file_copied_under_another_range(lake, processes):
    """It is no segment's, its rows are not of that range, and where ranges meet they overlap."""
    odd = SeqRange("c", 0, 15, 24)
    copy = path(lake, QUOTES, 1).with_name(f"{odd.name}.parquet")
    shutil.copy(path(lake, QUOTES, 1), copy)
    name = copy.relative_to(lake.root).as_posix()
    found = errors(look(lake, processes).report)
    assert {(What.UNLISTED, name), (What.WRONG_RANGE, name), (What.OVERLAP, name)} <= found


def test_overlapping_segments(lake, processes):
    """Two writers under one name: the range that begins within another's."""
    odd = SeqRange("c", 0, 35, 44)
    frames = {(QUOTES, "kalshi"): rows(QUOTES, [quote(at=minute(5), seq=41)])}
    lake.publish_segment(odd, TODAY, 10, frames, None)
    assert (What.OVERLAP, odd.name) in errors(look(lake, processes).report)


def test_a_hole_is_an_error_unless_it_is_in_gaps(lake, processes):
    """The frames between two segments are missing; a gap of the whole venue over that time makes it known."""
    seal(lake, 6)
    hole = SeqRange("c", 0, 40, 59).name
    assert errors(look(lake, processes).report) == {(What.HOLE, hole)}
    note(lake, "11:00:00", "12:00:00", 0)
    assert errors(look(lake, processes).report) == {(What.HOLE, hole)}
    note(lake, "10:03:30", "10:06:30", 1)
    report = look(lake, processes).report
    assert errors(report) == set()
    assert [(each.what, each.where) for each in report.findings] == [(What.LOST, hole)]


def test_the_first_segment_of_a_life(lake, processes):
    """A life begins at 0: a ledger that begins later has a hole."""
    for table in (QUOTES, TRADES, FEED_HEALTH, SEGMENTS):
        path(lake, table, 0).unlink()
    assert errors(look(lake, processes).report) == {(What.HOLE, span(0).name)}


def test_messages_that_do_not_add_up(lake, processes):
    """The minute is named, with both figures."""
    seal(lake, 4, {(FEED_HEALTH, "kalshi"): [health(4, dead=0)]})
    report = look(lake, processes, full=False).report
    assert errors(report) == {(What.MESSAGES, where(FEED_HEALTH, 4))}
    assert "k1, 2026-03-02 10:04: 5 messages, 4 told of" in report.findings[0].found


def test_repeated_keys(lake, processes):
    """A quote twice is an error; a trade twice is counted once by every reader, and is only said."""
    twice = quote(at=minute(4), seq=41)
    seal(lake, 4, {
        (QUOTES, "kalshi"): [twice, twice],
        (TRADES, "kalshi"): [trade(at=minute(4), seq=41, trade_id="t0"), trade(at=minute(4), seq=42, trade_id="t0")],
    })  # fmt: skip
    found = [(each.severity, each.what, each.where) for each in look(lake, processes).report.findings]
    assert found == [
        (Severity.ERROR, What.REPEATED, f"quotes/venue=kalshi/date={TODAY}"),
        (Severity.WARNING, What.REPEATED, f"trades/venue=kalshi/date={TODAY}"),
    ]


def test_foreign_and_temporary_files(lake, processes):
    """A foreign file and an old temporary one are said, a young one is not; none is an error."""
    folder = path(lake, QUOTES, 1).parent
    (folder / "notes.txt").write_text("mine")
    (folder / "Mine.parquet").write_bytes(path(lake, QUOTES, 1).read_bytes())
    for name, age in ((".old.tmp", timedelta(hours=2)), (".young.tmp", timedelta(minutes=5))):
        (folder / name).write_bytes(b"half")
        moment = (NOW - age).timestamp()
        os.utime(folder / name, (moment, moment))
    report = look(lake, processes).report
    assert errors(report) == set() and report.is_sound
    assert {(each.what, each.where.rpartition("/")[2]) for each in report.findings} == {
        (What.STRANGER, "notes.txt"), (What.STRANGER, "Mine.parquet"), (What.LEFTOVER, ".old.tmp"),
    }  # fmt: skip


def test_a_foreign_file_with_a_name_that_readers_take(lake, processes):
    """Its rows would be in every answer: an error, and so are the keys that it repeats."""
    copy = path(lake, QUOTES, 1).with_name("mine.parquet")
    shutil.copy(path(lake, QUOTES, 1), copy)
    name = copy.relative_to(lake.root)
    assert errors(look(lake, processes).report) == {
        (What.UNLISTED, name.as_posix()), (What.REPEATED, name.parent.as_posix()),
    }  # fmt: skip


def test_a_watermark_ahead_of_the_ledger(lake, processes):
    """Derived tables that claim more than was sealed, as after the last segment was lost without a trace."""
    lake.set_watermark("blocks", {"c-0": 39, "until": 10**15})
    assert look(lake, processes).report.findings == []
    for table in (QUOTES, TRADES, FEED_HEALTH, SEGMENTS):
        path(lake, table, COUNT - 1).unlink()
    assert errors(look(lake, processes).report) == {(What.AHEAD, "_watermarks.json")}
    (lake.root / "_watermarks.json").write_text("{")
    assert errors(look(lake, processes).report) == {(What.DAMAGED, "_watermarks.json")}


def test_a_damaged_derived_file(lake, processes):
    """It is named, and that it is computed anew."""
    bar = row(BARS, market_key=1, bar_start=quote()["event_time"], open=0.5)
    derive(lake, BARS, [bar], interval="1m")
    (place,) = (lake.root / "bars").rglob("*.parquet")
    os.truncate(place, 30)
    (found,) = look(lake, processes).report.findings
    assert (found.what, found.where) == (What.DAMAGED, place.relative_to(lake.root).as_posix())
    assert "anew" in found.step


def test_a_broken_off_seal(lake, processes):
    """A segment with files and no line is an error, but for one that the log still holds or that is being sealed."""
    frame = rows(QUOTES, [quote(at=minute(4), seq=41)])
    file = part(QUOTES, 4)
    lake.publish(file, frame)
    name = file.path.as_posix()
    moment = (NOW - timedelta(hours=2)).timestamp()
    os.utime(lake.path(file), (moment, moment))
    assert errors(look(lake, processes).report) == {(What.UNLISTED, name)}
    os.utime(lake.path(file), (NOW.timestamp(), NOW.timestamp()))
    assert errors(look(lake, processes).report) == set()
    os.utime(lake.path(file), (moment, moment))
    (lake.root / "wal").mkdir()
    (lake.root / "wal" / wal_name(Life("c", 0), 35)).write_bytes(b"log")
    report = look(lake, processes).report
    assert errors(report) == set()
    assert {(each.what, each.where) for each in report.findings} == {
        (What.WAITING, name), (What.WAITING, wal_name(Life("c", 0), 35)),
    }  # fmt: skip


def test_the_log_is_listed(lake, processes):
    """Which of its files the ledger has already, and what was put aside."""
    folder = lake.root / "wal"
    (folder / "aside").mkdir(parents=True)
    for number in (0, 40):
        (folder / wal_name(Life("c", 0), number)).write_bytes(b"12345")
    (folder / "aside" / "c-0-0.wal.17").write_bytes(b"torn")
    report = look(lake, processes).report
    assert errors(report) == set()
    assert {each.where: each.found for each in report.findings} == {
        wal_name(Life("c", 0), 0): "5 bytes of log; is sealed already",
        wal_name(Life("c", 0), 40): "5 bytes of log; is not sealed to its end, by the ledger",
        "c-0-0.wal.17": "a piece of the log that could not be read",
    }


def test_rows_that_are_kept_no_longer(lake, processes):
    """A file that is older than its table keeps is not missing."""
    path(lake, QUOTES, 1).unlink()
    for days, expected in ((1, set()), (30, {(What.MISSING, where(QUOTES, 1))})):
        kept = {QUOTES.name: timedelta(days=days)}
        assert errors(survey(lake, processes, now=NOW, kept=kept).report) == expected


def test_merged_files_are_held_against_the_ledger(lake, processes):
    """While its inputs are there and after they went, a merged file is sound; its inputs are leftovers meanwhile."""
    for table in (QUOTES, SEGMENTS):
        merge(lake, table, range(COUNT))
    report = look(lake, processes).report
    assert errors(report) == set()
    assert {each.where for each in report.findings} == {
        where(table, n) for table in (QUOTES, SEGMENTS) for n in range(COUNT)
    }
    for table in (QUOTES, SEGMENTS):
        for number in range(COUNT):
            path(lake, table, number).unlink()
    assert look(lake, processes).report.findings == []


def test_a_merged_file_that_lost_rows(lake, processes):
    """Fewer rows than the lines that it covers, or other ones with an honest footer, or no footer at all."""
    place = merge(lake, QUOTES, range(COUNT))
    name = place.relative_to(lake.root).as_posix()
    whole = place.read_bytes()
    for number in range(COUNT):
        trash(lake, path(lake, QUOTES, number))
    pl.read_parquet(place, hive_partitioning=False).write_parquet(place)
    assert (What.DAMAGED, name) in errors(look(lake, processes).report)
    place.write_bytes(whole)
    assert errors(look(lake, processes).report) == set()
    (lake.root / where(QUOTES, 0)).write_bytes((lake.root / f"_trash/20260303T000000/{where(QUOTES, 0)}").read_bytes())
    edit_and_merge(lake)
    assert {what for what, _ in errors(look(lake, processes).report)} == {What.WRONG_COVERS, What.WRONG_HASH}


def edit_and_merge(lake: Store) -> None:
    """Merge again, from inputs of which one lost a row."""
    for number in range(1, COUNT):
        shutil.copy(lake.root / f"_trash/20260303T000000/{where(QUOTES, number)}", path(lake, QUOTES, number))
    place = path(lake, QUOTES, 0)
    pl.read_parquet(place, hive_partitioning=False).head(7).write_parquet(place)
    merge(lake, QUOTES, range(COUNT))
    for number in range(COUNT):
        path(lake, QUOTES, number).unlink()


def test_merged_files_that_overlap(lake, processes):
    """Two merged files that share a segment are read twice."""
    merge(lake, QUOTES, (0, 1), "hour-10")
    merge(lake, QUOTES, (1, 2), "hour-11")
    for number in range(3):
        path(lake, QUOTES, number).unlink()
    assert What.OVERLAP in {what for what, _ in errors(look(lake, processes).report)}


def test_what_is_merged_meanwhile_is_not_missed(lake, processes):
    """After the footers were read all is merged, and its inputs go: what does not fit any more is looked at again."""
    said = []

    def tell(what: str, done: int, of: int) -> None:
        if what == "reading segments" and what not in said:
            maintain(lake, NOW, {}, reserve=0)
        said.append(what)

    report = survey(lake, processes, now=NOW, full=True, tell=tell).report
    assert errors(report) == set() and report.hashed == report.files
    assert said.count("reading segments") == 2


def test_the_seed_chooses_the_sample(lake, processes, monkeypatch):
    """The same seed reads the same files; full reads all."""
    monkeypatch.setattr("lake.verify.survey.SAMPLE", 3)
    flip(lake)
    found = [errors(survey(lake, processes, now=NOW, seed=seed).report) for seed in (*range(12), *range(12))]
    assert found[:12] == found[12:]
    assert set() in found and any(found)


def test_a_file_that_ends_its_reader(processes):
    """The process that reads it is gone; the file is named, and all others are read."""
    answers = processes.run(Path(), _abort, [["a", "abort"], ["b"]])
    assert [fault.file for fault in answers.faults] == ["abort"]
    assert "ends the process" in answers.faults[0].reason
    assert sorted(name for given in answers.given for name in given) == ["a", "b"]


def test_a_file_that_an_engine_refuses(processes):
    """What the engine says is the reason."""
    assert processes.run(Path(), _abort, [["a", "refuse"]]) == ([["a"]], [("refuse", "no such thing")])


def _abort(_: Path, files: list[str]) -> list[str]:
    if any(name.endswith("abort") for name in files):
        os.abort()
    if any(name.endswith("refuse") for name in files):
        raise ValueError("no such thing")
    return files


@examples(25)
@given(data=st.data())
def test_any_one_file_deleted_or_cut_is_found(sound, tmp_path_factory, processes, data):
    """Whichever file of the raw tables it is, ledger and gaps among them, and wherever it is cut: an error says so."""
    store = copied(sound, tmp_path_factory.mktemp("lake"))
    note(store, "10:00:10", "10:00:20", 0, "c2")
    files = sorted(
        place for place in store.root.rglob("*.parquet") if "c2" not in place.name or GAPS.name in str(place)
    )
    victim = data.draw(st.sampled_from(files))
    size = victim.stat().st_size
    kept = data.draw(st.none() | st.integers(0, size - 1))
    if kept is None:
        victim.unlink()
    else:
        os.truncate(victim, kept)
    found = errors(look(store, processes, full=False).report)
    assert found
    name = victim.relative_to(store.root).as_posix()
    is_named = name in {place for _, place in found}
    assert is_named or (kept is None and victim.parent.parent.name == "_segments")
