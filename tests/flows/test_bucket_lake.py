"""The whole path over a lake in a bucket: recorded frames, bars, boards, questions, as in a folder."""

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from app.feed import Feed
from flows.jobs.minutes import Minutes, refresh_minute
from flows.jobs.refresh import refresh_bars
from flows.up.rows import NewestRows
from lake import bucket, lease
from lake.clock import MINUTE_US
from lake.derived.slices import WINDOWS
from lake.errors import LeaseLost
from lake.place import Bucket
from lake.query import Lake
from lake.schema import BARS, BLOCKS, CARRIES, MARKETS, MOVERS, SEGMENTS, TABLES
from lake.settings import Settings, load
from lake.store import Store
from lake.vocab import Mode
from tests.lake.fresh import fresh_lake
from tests.lake.thief import rob
from tests.objects import use
from tests.session import beginning, replayed


@pytest.fixture(scope="module")
def part(tmp_path_factory) -> Path:
    """Few enough frames for a bucket that answers one request at a time."""
    return beginning(tmp_path_factory.mktemp("part"))


@pytest.fixture(scope="module")
def folder(part, tmp_path_factory) -> Lake:
    """It in a folder."""
    return Lake.open(replayed(tmp_path_factory.mktemp("folder") / "lake", part))


@pytest.fixture(scope="module")
def lake(part, moto, tmp_path_factory) -> Iterator[Lake]:
    """The same in a bucket, by the same command."""
    place = moto.place(tmp_path_factory.mktemp("local"))
    with pytest.MonkeyPatch.context() as patch:
        use(patch, moto.url)
        patch.setenv("LAKE_LOCAL", str(place.local))
        assert replayed(place, part) == place
        yield Lake.open(place)


def rows(lake: Lake, table) -> pl.DataFrame:
    found = lake.store.scan(table).collect()
    columns = [name for name, dtype in found.schema.items() if not dtype.is_nested()]
    return found.sort(columns, nulls_last=True)


@pytest.mark.slow
def test_a_lake_in_a_bucket_is_that_in_a_folder(folder, lake):
    """Every table's rows, its files' names, and each page's questions: equal. On this machine is nothing of it."""
    assert {table.name for table in TABLES.values() if lake.store.parts(table)} > {"quotes", "trades", "bars", "movers"}
    for table in TABLES.values():
        assert lake.store.parts(table) == folder.store.parts(table), table.name
        assert_frame_equal(rows(lake, table), rows(folder, table))
    assert lake.counts() == folder.counts()
    for window in WINDOWS:
        assert_frame_equal(lake.movers(window), folder.movers(window))
    assert_frame_equal(lake.board(), folder.board())
    assert_frame_equal(lake.status(), folder.status())
    for query in (
        "SELECT * FROM movers_cache ORDER BY ALL",
        "SELECT venue, count(*), min(bid), max(ask) FROM quotes GROUP BY ALL ORDER BY ALL",
        "SELECT market_id, title FROM markets ORDER BY ALL",
    ):
        assert_frame_equal(lake.sql(query), folder.sql(query))
    assert lake.store.strangers() == []
    assert [path for path in lake.store.local.rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_bars_computed_anew_are_the_same(folder, lake):
    """Removed and made again, from what is in the bucket."""
    refresh_bars(lake.store, anew=True)
    for table in (BARS, BLOCKS, CARRIES):
        assert_frame_equal(rows(lake, table), rows(folder, table))


@pytest.fixture
def fresh(service, tmp_path) -> Store:
    """A lake in a bucket with rows up to now."""
    store = Store.create(service.place(tmp_path / "local"), Mode.SIMULATED)
    fresh_lake(store, "Will the alder bloom?")
    return store


def settings_of(store: Store) -> Settings:
    return load(lake_uri=str(store.root), lake_local=store.local)


def test_the_refresh_and_the_pages_go_by_it(fresh, service, monkeypatch):
    """The minute's refresh makes a board; the pages' feed sees it, once; an outage leaves on the page what is there."""
    refresh_minute(fresh)
    feed = Feed(fresh.root, Mode.SIMULATED)
    assert feed.look()
    assert feed.snapshot.latest is not None
    assert feed.snapshot.boards["5m"]["title"].to_list() == ["Will the alder bloom?"]
    number = feed.snapshot.number
    monkeypatch.setattr(bucket, "FIRST_PAUSE", 0.0)
    with monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        assert not feed.look()
    assert feed.snapshot.number == number
    refresh_minute(fresh)
    feed.look()
    assert feed.snapshot.problem is None


def test_the_minutes_hold_the_lease(fresh):
    """Jobs of another machine are refused while these run; afterwards the role is free."""
    seen: list[str] = []
    stop = threading.Event()

    def refresh(store: Store) -> str:
        seen.append(store.files.read("_jobs.lease").decode())
        stop.set()
        return "done"

    minutes = Minutes(settings_of(fresh), stop, refresh=refresh)
    minutes.run()
    assert minutes.done == 1
    assert '"renewed": null' not in seen[0]
    assert '"renewed": null' in fresh.files.read("_jobs.lease").decode()


def test_jobs_that_lost_the_lease_end(fresh, monkeypatch):
    """Another machine has the role: no refresh is begun any more, and the process ends instead of trying for ever."""
    monkeypatch.setattr(lease, "BEAT", 0.01)
    stop, begun = threading.Event(), []

    def refresh(store: Store) -> str:
        begun.append(1)
        if len(begun) > 1:
            stop.set()
        rob(store, "jobs")
        return "done"

    clock = count(0, MINUTE_US)  # so that the next refresh is due at once
    with pytest.raises(LeaseLost, match="is now that of process 8 on birch"):
        Minutes(settings_of(fresh), stop, refresh=refresh, wall=clock.__next__).run()
    assert len(begun) == 1


def test_the_age_of_the_newest_rows(fresh, monkeypatch):
    """Asked in the background: the supervisor waits for no object store."""
    free, look = threading.Event(), NewestRows._look

    def wait_and_look(self) -> None:
        assert free.wait(10)
        look(self)

    monkeypatch.setattr(NewestRows, "_look_on", wait_and_look)
    newest, away = NewestRows(fresh.root), NewestRows(Bucket("nobodys", "", fresh.local))
    assert newest() is None and away() is None
    free.set()
    for each in (newest, away):
        each._thread.join(10)
    assert 0 <= newest() < 60 and away() is None


def test_the_command_line_asks_a_bucket(fresh, movers):
    """`movers query --lake s3://...`; what is not there is told in one line, with code 2."""
    command = ("query", "SELECT count(*) AS n FROM markets", "--format", "csv", "--lake")
    code, out, _ = movers(*command, str(fresh.root))
    assert (code, out.split()) == (0, ["n", "1"])
    code, _, said = movers(*command, "s3://movers/none")
    assert code == 2 and "lake s3://movers/none: there is" in said and len(said.strip().splitlines()) == 1
    assert fresh.scan(MARKETS).collect().height == 1
    assert fresh.parts(SEGMENTS) and not fresh.parts(MOVERS)
