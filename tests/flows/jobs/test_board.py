"""The board from blocks is the board from all rows, to the last bit."""

import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from flows.jobs.board import summed_board
from flows.jobs.refresh import boards_since, refresh, refresh_bars, refresh_board, trim_boards
from lake.derived.slices import WINDOWS
from lake.query import Lake
from lake.reading import computed_board, open_gaps
from lake.schema import HISTORY, MOVERS
from lake.store import Store
from lake.vocab import Mode
from tests.builders import gap, instant, quote, trade, venue_stat
from tests.flows.jobs.test_blocks import MOST, dealt, few, publish_rows, spread_out
from tests.lake.lakes import new_lake, publish, row
from tests.strategies import MARKETS, OPENING, SPAN, Session, instants, sessions


@st.composite
def figures(draw: st.DrawFn) -> list[dict]:
    """What the venue says of its volumes."""
    figure = st.none() | st.integers(0, 9).map(lambda units: units * 1_000.0)
    return [
        venue_stat(draw(instants()), draw(st.sampled_from(MARKETS)), seq=seq, volume_24h_usd=draw(figure),
                   volume_24h_contracts=draw(figure))
        for seq in range(draw(st.integers(0, 6)))
    ]  # fmt: skip


@few(5, soak=120)
@given(
    sessions(MOST), figures(), st.lists(st.integers(0, 2), min_size=5, max_size=9), st.sampled_from([1, 12, 45]),
    st.integers(0, 1_100), st.integers(0, 60),
)  # fmt: skip
def test_board_of_any_rows(session, stats, places, factor, tenths, seconds):
    """Of rows in several segments, at any instant, with gaps, late rows, block trades and figures of the venue."""
    session = spread_out(session, factor)
    as_of = OPENING + factor * SPAN * (tenths / 1_000) + timedelta(seconds=seconds)
    as_of = as_of.replace(microsecond=0)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder), Mode.SIMULATED)
        for number, hand in enumerate(dealt(session, places)):
            publish_rows(store, hand, stats if number == 0 else ())
            refresh_bars(store)
        expected = computed_board(store, WINDOWS, as_of)
        found = summed_board(store, ["kalshi"], WINDOWS, as_of)
        assert_frame_equal(found, expected, check_exact=True)


def lively(store: Store) -> Session:
    """An hour of two markets, one that rises, one across a gap; trades, one of them a block trade."""
    rising = [quote(0.30 + step / 100, 0.32 + step / 100, f"10:{step:02}:30", 1) for step in range(50)]
    other = [quote(0.60, 0.62, "10:00", 2), quote(0.70, 0.72, "10:40", 2)]
    fills = [trade(0.4, 100.0, "10:20", 1), trade(0.4, 9.0, "10:48", 1, is_block_trade=True)]
    session = Session([*rising, *other], fills, [gap("10:15", "10:16", 2)])
    publish_rows(store, session)
    return session


def test_a_refresh_is_bars_and_a_board_as_of_now(tmp_path):
    """The published board is that of all rows, in steps that who calls can watch; done twice it changes nothing."""
    store, now = new_lake(tmp_path), instant("10:50")
    lively(store)
    steps: list[str] = []

    def watched(name, work):
        steps.append(name)
        return work()

    report = refresh(store, now, watched)
    assert_frame_equal(
        store.scan(MOVERS).select(*MOVERS.columns, "venue").collect(), computed_board(store, WINDOWS, now)
    )
    assert steps == ["bars", "board", "former-boards"]
    assert report.as_of == now and report.board.listed["15m"] == 1
    files = {path: path.read_bytes() for path in store.root.rglob("*.parquet")}
    refresh(store, now)
    assert {path: path.read_bytes() for path in store.root.rglob("*.parquet")} == files


def test_an_empty_lake_has_an_empty_board(tmp_path):
    """Nothing to do is no error."""
    report = refresh(new_lake(tmp_path), instant("10:50"))
    assert (report.board.rows, report.bars.segments) == (0, 0)


def test_only_the_lists_of_former_hours_are_kept(tmp_path):
    """A board of an hour that is over gives way to its lists; asked as of its instant, the answer is the same."""
    store, then = new_lake(tmp_path), instant("10:50")
    lively(store)
    refresh(store, then)
    asked = {"window": "15m", "as_of": then, "limit": None}
    before, listed = Lake(store).movers(**asked), store.scan(MOVERS).filter(pl.col("biggest_rank") > 0).collect()
    refresh(store, instant("10:58"))
    assert len(store.parts(MOVERS)) == 2
    refresh(store, instant("11:01"))
    assert [part.name for part in store.parts(MOVERS)][1:] == ["lists-10"]
    assert boards_since(store, then) == [instant("11:01")]
    kept = store.scan(MOVERS).filter(pl.col("as_of") == then)
    assert kept.filter(pl.col("biggest_rank") > 0).collect().equals(listed)
    assert kept.filter(pl.col("biggest_rank").is_null(), pl.col("classic_rank").is_null()).collect().is_empty()
    assert Lake(store).movers(**asked).equals(before)


def test_lists_that_were_not_finished_are_finished(tmp_path, monkeypatch):
    """Killed between the file of lists and the boards' removal, the next trim ends with each row once."""
    store = new_lake(tmp_path)
    lively(store)
    for at in ("10:50", "10:58"):
        refresh(store, instant(at))
    rows = store.scan(MOVERS).filter(pl.col("biggest_rank") > 0).select(pl.len()).collect().item()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        trim_boards(store, instant("11:00"))
    monkeypatch.undo()
    assert trim_boards(store, instant("11:00")) == 2
    found = store.scan(MOVERS).filter(pl.col("biggest_rank") > 0).collect()
    assert (found.height, found.select("as_of", "window", "market_key").is_unique().all()) == (rows, True)


def test_a_board_of_rows_that_are_in_no_block_is_computed_from_them(tmp_path):
    """Without a refresh of the bars the board is right all the same."""
    store, now = new_lake(tmp_path), instant("10:50")
    lively(store)
    refresh_board(store, now)
    assert_frame_equal(
        store.scan(MOVERS).select(*MOVERS.columns, "venue").collect(), computed_board(store, WINDOWS, now)
    )


def test_the_venues_history_serves_a_board_from_blocks_too(tmp_path):
    """A market that is watched since a moment ago has a former price of 24 hours, from the blocks as from all rows."""
    store, now = new_lake(tmp_path), instant("10:50")
    publish_rows(store, Session([quote(0.50, 0.52, "10:30")], [], []))
    bar = {"market_key": 1, "interval": "5m", "close": 0.31, "price_rule": "venue_history"}
    starts = [instant("2026-03-01 10:45"), instant("09:45")]
    bars = [row(HISTORY, **bar, bar_start=start, seq=seq) for seq, start in enumerate(starts)]
    publish(store, {(HISTORY, "kalshi"): bars})
    refresh(store, now)
    found = store.scan(MOVERS).select(*MOVERS.columns, "venue").collect()
    assert_frame_equal(found, computed_board(store, WINDOWS, now))
    shown = (
        found.filter(pl.col("verdict") == "ok").select("window", "rule_then", "price_then", "move_pp").sort("window")
    )
    assert shown.rows() == [
        ("15m", "mid", 0.51, 0.0),
        ("1h", "venue_history", 0.31, 20.0),
        ("24h", "venue_history", 0.31, 20.0),
        ("5m", "mid", 0.51, 0.0),
    ]


@pytest.mark.parametrize("at", ["10:39:59", "10:40", "10:52", "11:30"])
@pytest.mark.parametrize("summed", [False, True])
def test_open_gaps_end_with_a_quote_wherever_it_lies(tmp_path, at, summed):
    """A gap without an end is open until the market's next quote, be that in a block, in rows, or in no block yet."""
    store = new_lake(tmp_path)
    quotes = [quote(at="10:00", market=market) for market in (1, 2, 3)] + [quote(at="10:40", market=2)]
    publish_rows(store, Session(quotes, [], [gap("10:05", market=market) for market in (1, 2, 3)]))
    if summed:
        refresh_bars(store, until=instant("10:51"))
    publish_rows(store, Session([quote(at="10:15", market=3)], [], []))
    found = open_gaps(store, instant(at), timedelta(days=1)).select("market_key").collect()
    assert sorted(found["market_key"]) == ([1, 2] if at == "10:39:59" else [1])


@pytest.mark.parametrize("back", [(1, 2), (1,), ()], ids=str)
@pytest.mark.parametrize("at", ["08:29", "09:31", "10:21"])
def test_a_gap_of_the_whole_venue_lasts_until_each_markets_next_quote(tmp_path, back, at):
    """Where nobody knows its end, a market that is not back is in the gap, long after it began."""
    store, now = new_lake(tmp_path), instant(at)
    quotes = [quote(0.40, 0.42, f"08:{minute}", market) for minute in ("00", "20") for market in (1, 2)]
    publish_rows(store, Session(quotes, [trade(at="08:10", market=market) for market in (1, 2)], []))
    refresh_bars(store, until=instant("08:21"))
    again = [quote(0.50, 0.52, f"09:{minute}", market) for minute in ("05", "25") for market in back]
    publish_rows(store, Session(again, [], [gap("08:20", None, market=None, seq=10**6)]))
    refresh_bars(store, until=now)
    expected = computed_board(store, WINDOWS, now)
    assert_frame_equal(summed_board(store, ["kalshi"], WINDOWS, now), expected, check_exact=True)
    away = expected.filter(~pl.col("market_key").is_in(back) | (now < instant("09:00")))
    assert set(away["verdict"]) <= {"gap_in_slice"}


def test_a_gap_of_the_whole_venue_is_over_for_a_market_that_was_lost_again(tmp_path):
    """What is carried of it does not come back with a later gap of that market."""
    store, now = new_lake(tmp_path), instant("10:45")
    quotes = [quote(0.40, 0.42, at) for at in ("08:00", "09:05", "09:50:30")]
    holes = [gap("08:20", None, market=None, seq=10**6), gap("09:30", "09:35", seq=10**6 + 1)]
    publish_rows(store, Session(quotes, [], holes))
    refresh_bars(store, until=now)
    expected = computed_board(store, WINDOWS, now)
    assert_frame_equal(summed_board(store, ["kalshi"], WINDOWS, now), expected, check_exact=True)
    assert not expected.filter(pl.col("window") == "1h")["is_across_gap"].any()


def test_figures_of_a_venue_that_was_never_quoted(tmp_path):
    """What a venue said of its volumes before its first quote is on the board, though it came in long before it."""
    store, now = new_lake(tmp_path), instant("10:21")
    publish_rows(store, Session([], [], []), [venue_stat("09:50", volume_24h_usd=5_000.0)])
    publish_rows(store, Session([quote(at="09:55", market=9)], [], []), venue="polymarket")
    refresh_bars(store, until=instant("10:01"))
    publish_rows(store, Session([quote(at="10:05"), quote(at="10:20")], [], []))
    refresh(store, now)
    found = store.scan(MOVERS).select(*MOVERS.columns, "venue").collect().sort("window", "market_key")
    assert_frame_equal(found, computed_board(store, WINDOWS, now), check_exact=True)
    assert set(found.filter(pl.col("market_key") == 1)["volume_24h_usd"]) == {5_000.0}


@pytest.mark.parametrize("at", ["09:00", "10:50", "10:50:01", "12:00", "23:59:59.999999"])
def test_a_quiet_day_is_watched_and_added_up(tmp_path, at):
    """Hours in which nothing happened count by what held; with a gap between, they do not."""
    store = new_lake(tmp_path)
    quotes = [quote(0.40, 0.42, f"2026-02-2{day} 07:00", market) for day in (7, 8) for market in (1, 2, 3, 4)]
    quotes += [quote(0.50, 0.52, "06:33", 1), quote(None, 0.52, "2026-03-01 15:03", 3), quote(0.1, 0.9, "03:10", 4)]
    fills = [trade(0.4, 100.0, f"{hour:02}:07", market) for hour in (2, 5, 8) for market in (1, 2, 4)]
    holes = [gap("2026-03-01 13:00", "2026-03-01 18:00", 2), gap("04:00", "04:10", 1), gap("01:00", None, 3)]
    publish_rows(store, Session(quotes, fills, holes), [venue_stat("01:00", 3, volume_24h_usd=7.0)])
    refresh(store, instant(at))
    found = store.scan(MOVERS).select(*MOVERS.columns, "venue").collect()
    assert_frame_equal(found, computed_board(store, WINDOWS, instant(at)), check_exact=True)
    day = found.filter(pl.col("window") == "24h").sort("market_key")
    if at == "09:00":
        assert day["volume_basis"].to_list() == ["observed", None, "venue_reported", "observed"]
        assert day["is_across_gap"].to_list() == [True, True, False, False]
        assert [round(share, 3) for share in day["coverage_window"]] == [0.894, 0.167, 0.252, 0.778]
