"""`lake.store`: a reader sees whole files or none, and writing twice changes nothing."""

import json
import os
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import files as lake_files
from lake import layout
from lake.errors import LakeError, LakeMismatch, LakeMissing, LakeUnwritable, PublishConflict, SchemaMismatch
from lake.schema import BARS, QUOTES, SCHEMA_VERSION, SEGMENTS, TRADES
from lake.store import Store
from lake.vocab import Mode
from tests.builders import TODAY, quote, trade
from tests.lake.lakes import derive, new_lake, part_of, publish, row, rows

TOMORROW = TODAY + timedelta(days=1)
DAMAGED = b"PAR1 this is no Parquet PAR1"


def files(lake: Store) -> dict[str, bytes]:
    return {str(path.relative_to(lake.root)): path.read_bytes() for path in lake.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", Mode)
def test_a_lake_opens_as_what_it_was_made(tmp_path, mode):
    """Making a lake twice, or opening it in its mode or in any, gives the same lake."""
    made = new_lake(tmp_path, mode)
    assert new_lake(tmp_path, mode) == made == Store.open(made.root, mode) == Store.open(made.root)
    assert made.mode == mode.lake


def test_a_lake_of_another_mode_is_refused(tmp_path):
    """Invented prices never meet real ones: the message names both modes, in one line."""
    made = new_lake(tmp_path, Mode.SIMULATED)
    for ask in (Store.open, Store.create):
        with pytest.raises(LakeMismatch, match=r"'simulated'.*'live'") as caught:
            ask(made.root, Mode.POLYMARKET)
        assert "\n" not in str(caught.value)


def test_a_newer_lake_is_refused(tmp_path):
    """What a later version wrote might be misread: the message gives both versions."""
    made = new_lake(tmp_path)
    marker = {"mode": "simulated", "schema_version": SCHEMA_VERSION + 1}
    (made.root / layout.MARKER).write_text(json.dumps(marker))
    with pytest.raises(LakeMismatch, match=f"schema {SCHEMA_VERSION + 1}.*update"):
        Store.open(made.root)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"mode": "simulated"}', '{"mode": 1, "schema_version": "x"}'])
def test_a_damaged_marker_is_said(tmp_path, text):
    """A marker that cannot be read is a mismatch, not a traceback, and is left as it is."""
    made = new_lake(tmp_path)
    (made.root / layout.MARKER).write_text(text)
    for ask in (Store.open, Store.create):
        with pytest.raises(LakeMismatch, match="no lake marker"):
            ask(made.root, Mode.SIMULATED)
    assert (made.root / layout.MARKER).read_text() == text


def test_no_lake_is_said_with_the_next_step(tmp_path):
    """A folder without a marker, none at all, and a file are no lake to read."""
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(LakeMissing, match="fill one first") as caught:
            Store.open(place)
        assert "\n" not in str(caught.value)


def test_a_place_that_cannot_hold_a_lake_is_said(tmp_path):
    """A file in the way, of the folder or above it, is named."""
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "lake"):
        with pytest.raises(LakeUnwritable, match=r"file.*LAKE_URI"):
            Store.create(place, Mode.SIMULATED)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_said(tmp_path):
    """No permission to write is said when the lake is made, and when a file is."""
    made = new_lake(tmp_path)
    made.root.chmod(0o500)
    try:
        with pytest.raises(LakeUnwritable, match="permission"):
            new_lake(tmp_path)
        with pytest.raises(LakeUnwritable, match="nothing of that file"):
            publish(made, {(QUOTES, "kalshi"): [quote()]})
    finally:
        made.root.chmod(0o700)


@settings(max_examples=8)  # each example is a lake with up to a dozen synced files
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 1)), min_size=1, max_size=6))
def test_what_is_published_is_scanned(tmp_path_factory, given_rows):
    """Each row comes back once, with the partition it was published to."""
    lake = new_lake(tmp_path_factory.mktemp("x"))
    wanted = []
    for number, (key, which) in enumerate(given_rows):
        venue, day = ("kalshi", "polymarket")[which], TODAY + timedelta(days=which)
        publish(lake, {(QUOTES, venue): [quote(market=key, seq=number)]}, day, number)
        wanted.append((key, number, venue, day))
    found = lake.scan(QUOTES).select("market_key", "seq", "venue", "date").sort("seq").collect()
    assert found.rows() == wanted
    some = lake.scan(QUOTES, venues=["kalshi"], dates=[TODAY]).select("seq").collect()
    assert sorted(some["seq"]) == [number for number, (_, which) in enumerate(given_rows) if which == 0]


def test_publishing_twice_changes_nothing(tmp_path):
    """The same segment again adds no row and rewrites no byte."""
    lake, quotes = new_lake(tmp_path), [quote(), quote(market=2)]
    assert publish(lake, {(QUOTES, "kalshi"): quotes, (TRADES, "kalshi"): []}, number=1) == 2
    before = files(lake)
    assert publish(lake, {(QUOTES, "kalshi"): quotes, (TRADES, "kalshi"): []}, number=1) == 0
    assert files(lake) == before


def test_other_rows_under_the_same_name_are_refused(tmp_path):
    """A raw file never changes: the first one stays."""
    lake = new_lake(tmp_path)
    lake.publish(part_of(1), rows(QUOTES, [quote(bid=0.3)]))
    before = files(lake)
    with pytest.raises(PublishConflict, match="other rows"):
        lake.publish(part_of(1), rows(QUOTES, [quote(bid=0.31)]))
    assert files(lake) == before


def test_a_frame_with_other_columns_is_refused(tmp_path):
    """Nothing is written of a frame that is not its table's."""
    lake = new_lake(tmp_path)
    with pytest.raises(SchemaMismatch, match="bid"):
        lake.publish(part_of(1), rows(QUOTES, [quote()]).drop("bid"))
    assert list(files(lake)) == [layout.MARKER]


def test_a_reader_never_sees_half_a_file(tmp_path, monkeypatch):
    """While a file is written no glob of the table finds it, and when the write fails nothing is left."""
    lake = new_lake(tmp_path)
    seen: list[list[Path]] = []

    def write_and_look(frame: pl.DataFrame, place: Path, **options: object) -> None:
        assert place.name.startswith(".")  # what begins with a dot is hidden from every engine
        place.write_bytes(b"half")
        seen.append([path for path in lake.root.rglob("*.parquet") if not path.name.startswith(".")])
        seen.append(list(lake.root.glob("**/*.parquet")))
        assert lake.parts(QUOTES) == []
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", write_and_look)
    with pytest.raises(LakeUnwritable, match=r"no space left.*nothing of that file was published"):
        lake.publish(part_of(1), rows(QUOTES, [quote()]))
    assert seen == [[], []]
    assert list(files(lake)) == [layout.MARKER]


def test_a_crash_before_the_ledger_is_made_good(tmp_path, monkeypatch):
    """Files without their line in `segments` are not written again; the line is added."""
    tables = {(QUOTES, "kalshi"): [quote(market=1)], (TRADES, "polymarket"): [trade(market=2)]}
    lake, whole = new_lake(tmp_path / "a"), new_lake(tmp_path / "b")
    publish(whole, tables, number=7)

    class Crash(Exception):
        pass

    original = Store._publish

    def crash_at_the_ledger(self, part, frame):
        if part.table is SEGMENTS:
            raise Crash
        return original(self, part, frame)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_publish", crash_at_the_ledger)
        with pytest.raises(Crash):
            publish(lake, tables, number=7)
    assert lake.scan(SEGMENTS).collect().is_empty()
    assert publish(lake, tables, number=7) == 0
    assert files(lake).keys() == files(whole).keys()
    for table in (QUOTES, TRADES, SEGMENTS):
        assert lake.scan(table).collect().equals(whole.scan(table).collect())


def test_the_ledger_says_what_must_exist(tmp_path):
    """One line a file of the segment, with its rows and bytes; a segment without rows has one line too."""
    lake = new_lake(tmp_path)
    publish(lake, {(QUOTES, "kalshi"): [quote(), quote(market=2)], (TRADES, "polymarket"): []}, number=3)
    publish(lake, {}, number=4)
    found = lake.scan(SEGMENTS).sort("first_seq").collect()
    assert found.select("first_seq", "table", "venue", "partition_date", "rows").rows() == [
        (3, "quotes", "kalshi", TODAY, 2),
        (4, None, None, None, 0),
    ]
    assert found["bytes"][0] == lake.path(part_of(3)).stat().st_size


def test_strangers_are_reported_and_never_read(tmp_path):
    """Whatever else lies in a table's folder is listed, and is no part of any answer."""
    lake = new_lake(tmp_path)
    publish(lake, {(QUOTES, "kalshi"): [quote()]}, number=1)
    folder = lake.path(part_of(1)).parent
    for name in ("notes.txt", "UPPER.parquet", ".c-0-9-9.parquet.77.tmp"):
        (folder / name).write_bytes(DAMAGED)
    stray = lake.root / "quotes" / "stray.parquet"
    stray.write_bytes(DAMAGED)
    (lake.root / "not-a-table").mkdir()
    (lake.root / "not-a-table" / "x.parquet").write_bytes(DAMAGED)
    assert {path.name for path in lake.strangers()} == {
        "notes.txt", "UPPER.parquet", ".c-0-9-9.parquet.77.tmp", "stray.parquet",
    }  # fmt: skip
    assert lake.parts(QUOTES) == [part_of(1)]
    assert lake.scan(QUOTES).collect().height == 1


def test_a_damaged_file_is_named(tmp_path):
    """The message gives the path and the next step."""
    lake = new_lake(tmp_path)
    publish(lake, {(QUOTES, "kalshi"): [quote()]}, number=1)
    lake.path(part_of(1)).write_bytes(DAMAGED)
    with pytest.raises(LakeError, match=r"c-0-1-1\.parquet.*move it away"):
        lake.load(part_of(1))


def test_replacing_leaves_only_the_new_rows(tmp_path):
    """A derived file is replaced whole, and removed when nothing is left of it."""
    lake = new_lake(tmp_path)
    for keys in ([1, 2], [3]):
        derive(lake, BARS, [row(BARS, market_key=key, ticks=1) for key in keys], interval="1m")
        assert lake.scan(BARS).collect()["market_key"].to_list() == keys
    derive(lake, BARS, [], interval="1m")
    assert lake.parts(BARS) == []
    derive(lake, BARS, [], interval="1m")


def test_an_older_file_lacks_a_column(tmp_path):
    """A column that was added later is null in older files, one that is gone is not shown."""
    lake = new_lake(tmp_path)
    publish(lake, {(QUOTES, "kalshi"): [quote()]}, number=1)
    old = rows(QUOTES, [quote(market=2)]).drop("source").with_columns(gone=1)
    old.write_parquet(lake.path(part_of(2)))
    found = lake.scan(QUOTES).sort("market_key").collect()
    assert found.schema == QUOTES.schema
    assert found["source"].to_list() == ["book", None]


@pytest.mark.parametrize("above", ["plain", "a=b", "venue=wrong/date=2020-01-01", "it's [a] *?", "sp ace/ü"])
def test_folders_above_the_lake_mean_nothing(tmp_path, above):
    """key=value folders, quotes, brackets and stars in the lake's own path change no answer."""
    lake = new_lake(tmp_path / above)
    publish(lake, {(QUOTES, "kalshi"): [quote()], (QUOTES, "polymarket"): [quote(market=2)]}, TOMORROW)
    found = lake.scan(QUOTES).sort("market_key").collect()
    assert found.columns == list(QUOTES.schema)
    assert found.select("venue", "date").rows() == [("kalshi", TOMORROW), ("polymarket", TOMORROW)]


def test_other_engines_read_the_same_lake(tmp_path):
    """Plain Polars, DuckDB and pyarrow, without our code, find each row once, with its venue and day."""
    lake = new_lake(tmp_path)
    for number in range(6):
        venue, day = ("kalshi", "polymarket")[number % 2], TODAY + timedelta(days=number // 4)
        publish(lake, {(QUOTES, venue): [quote(market=key, seq=number) for key in range(number + 1)]}, day, number)
    pattern = f"{lake.root}/quotes/**/*.parquet"
    ours = lake.scan(QUOTES).group_by("venue", "date").len().sort("venue", "date").collect().rows()
    polars = pl.scan_parquet(pattern, hive_partitioning=True).group_by("venue", "date").len().sort("venue", "date")
    duck = duckdb.sql(f"SELECT venue, date, count(*) FROM read_parquet('{pattern}') GROUP BY ALL ORDER BY ALL")
    arrow = pyarrow.dataset.dataset(lake.root / "quotes", partitioning="hive").to_table(columns=["venue", "date"])
    counted = pl.from_arrow(arrow).cast(pl.String).group_by("venue", "date").len().sort("venue", "date")
    assert sum(count for *_, count in ours) == 21
    assert polars.collect().rows() == ours
    assert duck.fetchall() == ours
    assert counted.rows() == [(venue, str(day), count) for venue, day, count in ours]


def test_a_watermark_is_kept(tmp_path):
    """What a job has reached survives; other jobs' marks stay."""
    lake = new_lake(tmp_path)
    assert lake.watermark("bars") == {}
    lake.set_watermark("bars", {"c-0": 5})
    lake.set_watermark("movers", {"c-0": 7})
    again = Store.open(lake.root)
    assert (again.watermark("bars"), again.watermark("movers")) == ({"c-0": 5}, {"c-0": 7})
    assert lake.strangers() == []


def test_every_file_is_synced_before_its_name(tmp_path, monkeypatch):
    """The bytes reach the disk before the rename, and the folder after it: a power cut leaves a whole file or none."""
    order: list[str] = []
    sync, rename = lake_files.fsync, Path.replace
    monkeypatch.setattr(lake_files, "fsync", lambda path: (order.append("sync"), sync(path))[1])
    monkeypatch.setattr(Path, "replace", lambda self, target: (order.append("rename"), rename(self, target))[1])
    new_lake(tmp_path).publish(part_of(1), rows(QUOTES, [quote()]))
    assert order[-3:] == ["sync", "rename", "sync"]


@pytest.mark.parametrize(
    ("hurt", "is_read"),
    [
        (lambda data: b"", False),
        (lambda data: data[:-1], False),
        (lambda data: b"PAR1PAR1", False),
        (lambda data: DAMAGED, False),
        (lambda data: b"x" + data[1:], True),
    ],
)
def test_damaged_files_are_known(tmp_path, hurt, is_read):
    """Cut, overwritten or empty; a file that is whole is not among them, nor one that is none of the lake's."""
    store = new_lake(tmp_path)
    publish(store, {(QUOTES, "kalshi"): [quote()], (QUOTES, "polymarket"): [quote()]})
    (store.root / "quotes" / "stray.parquet").write_bytes(b"x")
    assert store.damaged() == []
    (part, _), path = store.parts(QUOTES), store.path(store.parts(QUOTES)[0])
    path.write_bytes(hurt(path.read_bytes()))
    assert store.damaged() == [part]
    if not is_read:
        with pytest.raises(LakeError, match="is damaged; move it away"), store.reading():
            store.scan(QUOTES).collect()


def test_a_fault_without_damage_is_let_through(tmp_path):
    """Only a damaged file is blamed on one."""
    store = new_lake(tmp_path)
    publish(store, {(QUOTES, "kalshi"): [quote()]})
    with pytest.raises(pl.exceptions.ColumnNotFoundError), store.reading():
        store.scan(QUOTES).select("nope").collect()


def test_a_folder_that_spells_its_day_otherwise_is_a_stranger(tmp_path):
    """It is reported, and keeps no question from its answer."""
    store = new_lake(tmp_path)
    publish(store, {(QUOTES, "kalshi"): [quote()]})
    folder = store.root / "quotes" / "venue=kalshi" / "date=20260101"
    folder.mkdir()
    (folder / "c-0-1-1.parquet").write_bytes(b"x")
    assert store.scan(QUOTES).collect().height == 1
    assert [str(path) for path in store.strangers()] == ["quotes/venue=kalshi/date=20260101/c-0-1-1.parquet"]


def test_a_missing_lake_is_named_in_full(tmp_path, monkeypatch):
    """Also where a relative folder was given."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LakeMissing, match=str(tmp_path / "nowhere")):
        Store.open(Path("nowhere"))
