"""What a refresh makes of rows as they come in, in any order, is what all rows at once give: bars and blocks."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from flows.jobs.refresh import refresh_bars
from lake.derived.bars import bars
from lake.derived.prices import reference
from lake.schema import BAR_INTERVALS, BARS, BLOCKS, CARRIES, GAPS, QUOTES, TRADES, VENUE_STATS
from lake.store import Store
from lake.vocab import Mode
from tests.builders import Row, gap, instant, quote, trade
from tests.lake.lakes import new_lake, publish
from tests.strategies import OPENING, Session, sessions

TIMES = ("event_time", "received_time", "start_time", "end_time", "detected_time")
VENUE = "kalshi"


IS_SOAK = os.environ.get("MOVERS_PROFILE") == "soak"
MOST = 30 if IS_SOAK else 12  # quotes of a session: each may lie in a block of its own, and blocks are what takes time


def few(count: int, soak: int) -> settings:
    """Settings of a property of which an example takes long: so many examples, and so many in `make soak`."""
    return settings(max_examples=soak if IS_SOAK else count, deadline=None)


def spread_out(session: Session, factor: int) -> Session:
    """The same rows over `factor` times the time."""
    return Session(*([_later(row, factor) for row in rows] for rows in session))


def _later(row: Row, factor: int) -> Row:
    times = {name: row[name] for name in TIMES if row.get(name) is not None}
    return row | {name: OPENING + (time - OPENING) * factor for name, time in times.items()}


def publish_rows(store: Store, session: Session, stats: Sequence[Row] = (), venue: str = VENUE) -> None:
    """These rows, a segment for each day."""
    rows = dict(zip((QUOTES, TRADES, GAPS, VENUE_STATS), (*session, stats), strict=True))
    for day in sorted({row[table.time].date() for table, several in rows.items() for row in several}):
        of_day = {table: [row for row in several if row[table.time].date() == day] for table, several in rows.items()}
        publish(store, {(table, venue): several for table, several in of_day.items()}, day)


def dealt(session: Session, places: list[int]) -> list[Session]:
    """The rows dealt to segments, round by round in the order of `places`."""
    hands = [Session([], [], []) for _ in range(max(places) + 1)]
    for kind, rows in enumerate(session):
        for number, row in enumerate(rows):
            hands[places[number % len(places)]][kind].append(row)
    return hands


def found(store: Store) -> dict[str, pl.DataFrame]:
    """The bars of the lake by interval."""
    rows = store.scan(BARS).collect()
    return {
        every: rows.filter(pl.col("interval") == every).select(*BARS.columns).sort("market_key", "bar_start")
        for every in BAR_INTERVALS
    }


def from_scratch(session: Session, until: datetime | None) -> dict[str, pl.DataFrame]:
    """The bars that all rows at once give."""
    prices = reference(*session.frames)
    return {
        every: bars(prices, session.frames[1], every, until=until).select(*BARS.columns).collect()
        for every in BAR_INTERVALS
    }


def require_equal(store: Store, session: Session, until: datetime | None) -> None:
    expected = from_scratch(session, until)
    for every, frame in found(store).items():
        assert_frame_equal(frame, expected[every], check_exact=True)


@few(4, soak=84)
@given(sessions(MOST), st.lists(st.integers(0, 3), min_size=5, max_size=9), st.sampled_from([1, 7, 60]))
def test_bars_of_a_feed_that_has_ended(session: Session, places: list[int], factor: int):
    """After every segment, of rows of any time, bars are those of all rows so far."""
    session, so_far = spread_out(session, factor), Session([], [], [])
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder), Mode.SIMULATED)
        for hand in dealt(session, places):
            publish_rows(store, hand)
            so_far = Session(*(old + new for old, new in zip(so_far, hand, strict=True)))
            refresh_bars(store)
            require_equal(store, so_far, None)


@few(5, soak=84)
@given(sessions(MOST), st.lists(st.integers(0, 3), min_size=5, max_size=9), st.lists(st.integers(0, 4_000), min_size=4))
def test_bars_of_a_feed_that_goes_on(session: Session, places: list[int], seconds: list[int]):
    """At every instant up to which rows are in, bars are covered so far and no further."""
    so_far, instants = Session([], [], []), [OPENING + timedelta(seconds=at) for at in sorted(seconds)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder), Mode.SIMULATED)
        for hand, until in zip(dealt(session, places), instants, strict=False):
            publish_rows(store, hand)
            so_far = Session(*(old + new for old, new in zip(so_far, hand, strict=True)))
            refresh_bars(store, until=until)
            require_equal(store, so_far, until)


def test_a_quiet_market_goes_on_being_covered(tmp_path):
    """Without a new row, a bar that was cut at the former instant is covered up to the new one."""
    store, session = new_lake(tmp_path), Session([quote(at="10:02:30")], [], [])
    publish_rows(store, session)
    for at in ("10:02:45", "10:03:20", "10:10:00", "10:31", "11:05", "2026-03-03 00:30"):
        refresh_bars(store, until=instant(at))
        require_equal(store, session, instant(at))
    assert found(store)["1h"]["coverage"].to_list() == [57.5 / 60]


def test_a_late_row_restates_what_follows_it_and_no_more(tmp_path):
    """A quote that held until the market's next one changes the blocks up to there; the files of later hours stay."""
    store = new_lake(tmp_path)
    quotes = [quote(0.40, 0.42, f"{hour}:15:00", market) for hour in (10, 12, 14) for market in (1, 2)]
    publish_rows(store, Session(quotes, [], []))
    refresh_bars(store)
    late = quote(0.30, 0.32, "10:25:00", seq=10**6)
    publish_rows(store, Session([late], [], []))
    before = {part: store.path(part).stat().st_mtime_ns for part in store.parts(BLOCKS)}
    refresh_bars(store)
    changed = {part.name for part, time in before.items() if store.path(part).stat().st_mtime_ns != time}
    assert changed == {"10", "12"}
    require_equal(store, Session([*quotes, late], [], []), None)


def test_a_gap_of_the_whole_venue_restates_every_market(tmp_path):
    """A late gap without a market cuts what every market held."""
    store = new_lake(tmp_path)
    quotes = [quote(at="10:00", market=market) for market in (1, 2, 3)] + [quote(at="10:30", market=2)]
    publish_rows(store, Session(quotes, [], []))
    refresh_bars(store)
    holes = [gap("10:05", "10:20", market=None)]
    publish_rows(store, Session([], [], holes))
    refresh_bars(store)
    require_equal(store, Session(quotes, [], holes), None)


@pytest.mark.parametrize("kill", range(12))
def test_killed_anywhere_it_is_made_up_for(tmp_path, monkeypatch, kill):
    """Killed at any file that it writes, the next refresh ends with the same bars, blocks and carries."""
    quotes = [quote(0.40, 0.42, f"10:{minute:02}:00", market) for minute in range(0, 50, 12) for market in (1, 2)]
    late = [quote(0.30, 0.32, "10:01:00", seq=10**6), quote(0.20, 0.22, "10:41:00", seq=10**6 + 1)]
    fills = [trade(0.31, at="10:08:00")]
    killed, whole = new_lake(tmp_path / "a"), new_lake(tmp_path / "b")
    for store in (killed, whole):
        publish_rows(store, Session(quotes, [], []))
        refresh_bars(store, until=instant("10:50"))
        publish_rows(store, Session(late, fills, []))
    refresh_bars(whole, until=instant("10:52"))
    replace, count = Store.replace, 0

    def breaks(self, *args: object) -> None:
        nonlocal count
        count += 1
        if count > kill:
            raise KeyboardInterrupt
        replace(self, *args)

    monkeypatch.setattr(Store, "replace", breaks)
    with suppress(KeyboardInterrupt):
        refresh_bars(killed, until=instant("10:51"))
    monkeypatch.undo()
    refresh_bars(killed, until=instant("10:52"))
    for table in (BARS, BLOCKS, CARRIES):
        mine, other = (store.scan(table).select(*table.columns).collect() for store in (killed, whole))
        by = [name for name in table.key if name in table.columns]
        assert_frame_equal(mine.sort(by), other.sort(by), check_exact=True)
    require_equal(killed, Session([*quotes, *late], fills, []), instant("10:52"))
