"""A day's quotes and trades anew from its raw frames: the same if the parser is the same, mended where it is not."""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from flows.collector import again
from flows.jobs import reparse as job
from flows.jobs.maintenance import maintain
from flows.jobs.refresh import refresh_bars
from flows.venues.polymarket import Polymarket
from lake.clock import from_us
from lake.errors import BadFrame, LakeError
from lake.lock import only_one
from lake.reading import computed_board
from lake.schema import BARS, QUOTES, RAW, SEGMENTS, TRADES
from lake.store import Store
from lake.vocab import Mode
from tests.flows.collector.lived import Lived, day_of, make

pytestmark = pytest.mark.usefixtures("no_fsync")


def after(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, hours=1)


def content(store: Store) -> dict[str, pl.DataFrame]:
    found = {table.name: store.scan(table).sort(*table.key) for table in (QUOTES, TRADES, BARS)}
    return {name: rows.collect() for name, rows in found.items()}


def live(root: Path, log: Path) -> Store:
    """A lake of the session, with bars, as the parsers of the moment make it."""
    store = Store.create(root, Mode.SIMULATED)
    life = Lived(log).run(2_000).end()
    for segment in life.segments:
        life.seal(store, segment)
    refresh_bars(store)
    return store


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Store:
    """As it should be."""
    folder = tmp_path_factory.mktemp("sound")
    return live(folder / "lake", folder / "wal")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> Store:
    """As a parser with a fault makes it: one that takes larger trades for dead letters."""
    read = Polymarket._last_trade

    def fail(self, wire, frame):
        if float(wire.size) > 20:
            raise BadFrame("a fault that will be mended")
        return read(self, wire, frame)

    folder = tmp_path_factory.mktemp("faulty")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Polymarket, "_last_trade", fail)
        return live(folder / "lake", folder / "wal")


@pytest.fixture(autouse=True)
def few_groups(monkeypatch):
    """So few rows are read again in a few groups of markets."""
    monkeypatch.setattr(job, "MARKETS_AT_ONCE", 4)


@pytest.fixture
def copy(tmp_path) -> Callable[[Store], Store]:
    """A lake of one's own with the same files."""

    def made(store: Store) -> Store:
        return Store.open(shutil.copytree(store.root, tmp_path / "copy"), Mode.SIMULATED)

    return made


@pytest.mark.parametrize("merged", [False, True])
def test_same_parser_changes_nothing(sound, copy, merged):
    """Told again by the same parsers a day is what it was, merged or not; no file is written."""
    store = copy(sound)
    now = after(day_of(store))
    if merged:
        maintain(store, now, {})
    before, files = content(store), [part.path for table in (QUOTES, TRADES, SEGMENTS) for part in store.parts(table)]
    report = job.reparse(store, day_of(store), make, now)
    assert report.segments > 3 and not report.changed
    assert all(frame.equals(before[name]) for name, frame in content(store).items())
    assert files == [part.path for table in (QUOTES, TRADES, SEGMENTS) for part in store.parts(table)]


@pytest.mark.parametrize("merged", [False, True])
def test_mended_parser(sound, faulty, copy, merged):
    """After a fault is mended the day's rows and bars are those that a sound parser would have made at once."""
    store = copy(faulty)
    now = after(day_of(store))
    if merged:
        maintain(store, now, {})
    wanted = content(sound)
    assert store.scan(TRADES).collect().height < wanted["trades"].height
    report = job.reparse(store, day_of(store), make, now)
    assert report.changed == ["trades of polymarket"]
    found = content(store)
    for name in wanted:
        assert found[name].equals(wanted[name]), name
    plain = pl.read_parquet(store.root / "trades" / "**" / "*.parquet", hive_partitioning=True)
    assert plain.height == wanted["trades"].height
    again = job.reparse(store, day_of(store), make, now)
    assert not again.changed
    lines = store.scan(SEGMENTS).filter(pl.col("table") == "trades").collect()
    assert lines["rows"].sum() == wanted["trades"].height


def test_rows_without_frames_stay(faulty, copy):
    """Segments whose raw frames are gone keep their rows; only the others are told again."""
    store = copy(faulty)
    raw = sorted(store.parts(RAW), key=lambda part: part.name)
    gone = raw[0].name
    for part in raw:
        if part.name == gone:
            store.remove(part)
    before = store.scan(TRADES).collect()
    report = job.reparse(store, day_of(store), make, after(day_of(store)))
    rows = store.scan(TRADES).collect()
    assert report.without == 1 and rows.height > before.height
    assert before.join(rows, on=["market_key", "trade_id", "seq"], how="anti").is_empty()


@pytest.mark.soak
@pytest.mark.parametrize("name", ["ws_btc15m_20260515T1907", "ws_btc15m_20260515T2131_reconnects"])
def test_recorded_session(recordings, tmp_path, name):
    """A recorded session answers alike as sealed, as merged, told again in place, and replayed into another lake."""
    life = Lived(tmp_path / "wal").run(path=recordings / "kalshi" / name).end()
    stores = {what: Store.create(tmp_path / what, Mode.REPLAY) for what in ("sealed", "merged", "again")}
    for segment in life.segments:
        for what in ("sealed", "merged"):
            life.seal(stores[what], segment)
    day = day_of(stores["sealed"])
    again.replay_day(stores["sealed"], stores["again"], day, make)
    for store in stores.values():
        refresh_bars(store)
    maintain(stores["merged"], after(day), {})
    report = job.reparse(stores["merged"], day, make, after(day))
    assert report.segments > 1 and not report.changed
    wanted, end = answers(stores["sealed"]), from_us(life.now)
    assert wanted["quotes"].height > 10_000
    movers = computed_board(stores["sealed"], {"5m": timedelta(minutes=5)}, end)
    for what in ("merged", "again"):
        found = answers(stores[what])
        assert all(found[table].equals(rows) for table, rows in wanted.items()), what
        board = computed_board(stores[what], {"5m": timedelta(minutes=5)}, end)
        assert board.drop("first_seq", "last_seq").equals(movers.drop("first_seq", "last_seq"))
    assert movers.height > 0


def answers(store: Store) -> dict[str, pl.DataFrame]:
    """Rows without the numbers that a replay gives anew."""
    return {name: rows.drop("seq", strict=False) for name, rows in content(store).items()}


def test_refused(sound, copy):
    """A day that is not over, one that is not kept, a lake at which jobs are at work: named, and nothing changes."""
    store = copy(sound)
    day = day_of(store)
    with pytest.raises(LakeError, match=f"{day}: is not over"):
        job.reparse(store, day, make, after(day) - timedelta(hours=1))
    with pytest.raises(LakeError, match="keeps no frames of 2001-01-01"):
        job.reparse(store, date(2001, 1, 1), make, after(day))
    with only_one(store.local, "jobs"), pytest.raises(LakeError, match="jobs"):
        job.reparse(store, day, make, after(day))
