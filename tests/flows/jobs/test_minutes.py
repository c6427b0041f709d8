"""When the refresh is due, and a loop that nothing ends but its stop."""

import logging
from pathlib import Path

import pytest

from flows.jobs.minutes import Minutes, due, refresh_minute, top_movers
from flows.jobs.refresh import refresh
from lake.clock import HOUR_US, MINUTE_US, SECOND_US, to_us
from lake.derived.slices import WINDOWS
from lake.errors import LakeError, LakeMismatch
from lake.lock import only_one
from lake.query import Lake
from lake.reading import computed_board
from lake.schema import BARS, MOVERS, QUOTES
from lake.settings import load
from lake.store import Store
from lake.vocab import Mode
from tests.builders import instant, quote
from tests.lake.fresh import MARKET, fresh_lake
from tests.lake.lakes import new_lake, publish

EDGE = 29_000_000 * MINUTE_US


@pytest.mark.parametrize(
    ("began", "expected"),
    [(2, 62), (2.1, 62), (30, 62), (61.9, 62), (1, 2), (62, 122), (63, 122)],
    ids=str,
)
def test_due_at_the_minute(began, expected):
    """A refresh is due moments after each minute's edge, whenever the one before began."""
    assert due(EDGE + round(began * SECOND_US), is_young=False) == EDGE + expected * SECOND_US


def test_due_soon_while_young():
    """A young lake is refreshed every ten seconds, so that its first movers are soon seen."""
    assert due(EDGE + 12 * SECOND_US, is_young=True) == EDGE + 22 * SECOND_US
    assert due(EDGE + 55 * SECOND_US, is_young=True) == EDGE + 62 * SECOND_US


class Stop:
    """A stop whose waits pass at once, on a clock of its own, until `end`."""

    def __init__(self, end: float) -> None:
        self.now = EDGE
        self.end = EDGE + round(end * SECOND_US)

    def wait(self, seconds: float) -> bool:
        self.now += round(seconds * SECOND_US)
        return self.is_set()

    def is_set(self) -> bool:
        return self.now >= self.end


def loop(tmp_path: Path, end: float, refresh, seconds: float = 0) -> tuple[Minutes, list[float]]:
    """A loop over `end` seconds whose refreshes take that long, and when each began."""
    stop, began = Stop(end), []

    def timed(store: Store) -> object:
        began.append((stop.now - EDGE) / SECOND_US)
        stop.now += round(seconds * SECOND_US)
        return refresh(store)

    settings = load(lake_uri=str(tmp_path / "lake"))
    minutes = Minutes(settings, stop, refresh=timed, wall=lambda: stop.now)
    minutes.run()
    return minutes, began


@pytest.fixture
def lake(tmp_path) -> Store:
    """An old lake, by the clock of `Stop`."""
    store = Store.create(tmp_path / "lake", Mode.SIMULATED)
    fresh_lake(store, "Will it?")
    return store


@pytest.fixture(autouse=True)
def born_long_ago(monkeypatch):
    monkeypatch.setattr("flows.jobs.minutes.born", lambda store: 0)


def test_once_a_minute(tmp_path, lake):
    """The first at once, then one a minute."""
    assert loop(tmp_path, 200, str)[1] == [0, 2, 62, 122, 182]


def test_slow_refreshes_do_not_pile_up(tmp_path, lake):
    """One that took 150 s is followed by one, at once, and not by the two that were missed."""
    assert loop(tmp_path, 400, str, seconds=150)[1] == [0, 150, 300]


def test_failures_are_counted_and_told(tmp_path, lake, caplog):
    """A refresh that fails is one line, and the next one comes."""

    def fails(store: Store) -> object:
        raise OSError("disk\n\x1b[31mfull")

    with caplog.at_level(logging.INFO, "movers.jobs"):
        minutes, began = loop(tmp_path, 130, fails)
    assert (minutes.failed, minutes.done, len(began)) == (4, 0, 4)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[-1] == "refresh: failed, 4 times so far: OSError: disk [31mfull"
    assert all(record.exc_info is None for record in caplog.records)


def test_a_clock_that_is_set_back(tmp_path, lake, monkeypatch):
    """While a refresh runs it goes back an hour: the next refresh is a minute later, and not that hour."""
    stop, began = Stop(200), []

    def back(store: Store) -> None:
        began.append((stop.now - EDGE) / SECOND_US)
        if len(began) == 1:
            stop.now -= HOUR_US

    minutes = Minutes(load(lake_uri=str(tmp_path / "lake")), stop, refresh=back, wall=lambda: stop.now)
    minutes.run()
    assert began[:3] == [0, 60 - 3_600, 62 - 3_600]


@pytest.mark.parametrize(("mode", "at"), [(Mode.LIVE, "10:01"), (Mode.SIMULATED, "10:01"), (Mode.REPLAY, "12:00")])
def test_rows_of_a_clock_that_was_ahead(tmp_path, mode, at):
    """They do not stop time: the board is of now, and one of a later instant is gone. A replay has no other clock."""
    store = new_lake(tmp_path, mode)
    publish(store, {(QUOTES, "kalshi"): [quote(0.40, 0.42, "12:00")]})
    refresh(store, instant("12:00"))
    publish(store, {(QUOTES, "kalshi"): [quote(0.50, 0.52, "10:01")]})
    report = refresh_minute(store, wall=lambda: to_us(instant("10:01")))
    assert report.as_of == instant(at)
    assert Lake(store).board()["as_of"].unique().to_list() == [instant(at)]
    publish(store, {(QUOTES, "kalshi"): [quote(0.60, 0.62, "10:12")]})
    as_of = refresh_minute(store, wall=lambda: to_us(instant("10:12"))).as_of
    board = Lake(store).board().select(*MOVERS.columns, "venue")
    assert board.equals(computed_board(store, WINDOWS, as_of))


def test_waits_for_a_lake(tmp_path, caplog):
    """Without a lake, and with one that is empty, it waits, and says so once each."""
    with caplog.at_level(logging.INFO, "movers.jobs"):
        _, began = loop(tmp_path, 30, str)
        Store.create(tmp_path / "lake", Mode.SIMULATED)
        _, again = loop(tmp_path, 30, str)
    assert began == again == []
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "not there yet; waiting for the collector",
        "no rows yet; waiting for the collector",
    ]


def test_lake_of_another_mode(tmp_path):
    """Waiting does not change that, so it ends."""
    Store.create(tmp_path / "lake", Mode.REPLAY)
    with pytest.raises(LakeMismatch, match="replay"):
        loop(tmp_path, 30, str)


def test_refresh(lake):
    """It publishes bars and a board as of the newest row; done again it changes nothing."""
    report = refresh_minute(lake)
    files = {path: path.read_bytes() for table in (BARS, MOVERS) for path in map(lake.path, lake.parts(table))}
    assert files
    assert refresh_minute(lake).as_of == report.as_of
    assert {path: path.read_bytes() for path in files} == files
    rows = top_movers(lake, report.as_of)
    assert {(row["window"], row["market id"], row["move, pp"]) for row in rows} >= {("5m", MARKET, 30.0)}


def test_jobs_of_another_process(lake, tmp_path):
    """A second jobs process on a lake is refused in one line, and does nothing; the first one's end frees the lake."""
    with only_one(lake.root, "jobs"), pytest.raises(LakeError, match="is its jobs already"):
        loop(tmp_path, 200, lambda store: None)
    assert loop(tmp_path, 100, lambda store: None)[0].done > 0
