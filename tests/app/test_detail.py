"""One market: read once, then kept up by the feed; the chart that shows it."""

from datetime import timedelta

import polars as pl
import pytest

from app.charts import MarketChart, backfilled, candles, unseen
from app.detail import follow, load, tail
from app.feed import Feed
from lake.errors import QueryError
from lake.schema import HISTORY
from tests.app.world import ALDER, NOON, World, key
from tests.builders import gap
from tests.lake.lakes import row, rows


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path / "lake").usual()


def feed_of(world: World) -> Feed:
    feed = Feed(world.root, world.mode, lambda: world.now)
    feed.look()
    return feed


def detail_of(world: World, interval: str = "1m"):
    feed = feed_of(world)
    return load(feed.lake, feed.snapshot, ALDER, interval)


def test_market_as_the_lake_has_it(world):
    """Its row, quote, bars and trades."""
    found = detail_of(world)
    assert found.market["title"] == "Will the Aldergate dam vote pass?"
    assert [found.state[name] for name in ("bid", "ask", "price", "rule")] == [0.66, 0.68, 0.67, "mid"]
    assert found.bars["close"].to_list() == [0.60, 0.62, 0.67]
    assert found.trades["size"].to_list() == [40.0]


def test_unknown_market_is_refused(world):
    """With the line that says what to do."""
    feed = feed_of(world)
    with pytest.raises(QueryError, match="is not in the lake"):
        load(feed.lake, feed.snapshot, "kalshi:NONE", "1m")


def test_detail_follows_the_feed(world):
    """A new quote and a new trade are there with the next snapshot, without a read; the bar of their minute too."""
    feed = feed_of(world)
    found = load(feed.lake, feed.snapshot, ALDER, "1m")
    world.now += timedelta(minutes=2)
    world.quote(bid=0.74, ask=0.76)
    world.trade(price=0.75, size=7)
    feed.look()
    after = follow(found, feed.snapshot)
    assert (after.state["bid"], after.state["price"]) == (0.74, 0.75)
    assert after.trades["size"].to_list() == [7.0, 40.0]
    assert after.bars.row(-1, named=True)["bar_start"] == world.now
    assert after.bars["close"].to_list() == [0.60, 0.62, 0.67, 0.75]
    assert after.bars["trades"].to_list()[-1] == 1


def test_older_tick_does_not_win(world):
    """The state keeps the newest quote."""
    feed = feed_of(world)
    found = load(feed.lake, feed.snapshot, ALDER, "1m")
    world.quote(bid=0.1, ask=0.12, event_time=NOON - timedelta(minutes=5))
    feed.look()
    assert follow(found, feed.snapshot).state["bid"] == 0.66


def bars_of(*closes: float | None, start=NOON, step=1) -> pl.DataFrame:
    from lake.schema import BARS

    made = [
        row(BARS, market_key=1, bar_start=start + timedelta(minutes=step * number), open=close, high=close, low=close,
            close=close, bid_close=close, ask_close=close, volume_contracts=1.0, notional_usd=2.0,
            buy_notional_usd=1.0, trades=1, coverage=1.0, ticks=1, is_backfilled=False)
        for number, close in enumerate(closes)
    ]  # fmt: skip
    return rows(BARS, made)


def test_wide_bars_are_made_of_minutes():
    """The last wide bar and later ones are made anew; the ones before stay."""
    minutes = bars_of(0.1, 0.4, 0.2, 0.3, 0.5, 0.6)
    known = bars_of(0.9, 0.1, start=NOON - timedelta(minutes=5), step=5)
    found = tail(known, minutes, "5m")
    assert found["bar_start"].to_list() == [NOON + timedelta(minutes=step) for step in (-5, 0, 5)]
    middle = found.row(1, named=True)
    assert (middle["open"], middle["high"], middle["low"], middle["close"]) == (0.1, 0.5, 0.1, 0.5)
    assert (middle["trades"], middle["notional_usd"]) == (5, 10.0)


def test_no_minute_is_invented():
    """A missing minute has no candle, and a bar without a price has none either."""
    bars = pl.concat([bars_of(0.1), bars_of(None, 0.2, start=NOON + timedelta(minutes=5))])
    found = candles(bars, "1m")
    assert [x - found["x"][0] for x in found["x"]] == [0, 300_000, 360_000]
    assert found["close"][1] != found["close"][1]


def test_backfilled_bars_are_apart():
    """They have their own width and marks; a missing open is the close."""
    history = rows(HISTORY, [row(HISTORY, market_key=1, interval="5m", bar_start=NOON, close=0.4, seq=1)])
    found = backfilled(history)
    assert (found["open"], found["close"], found["width"]) == ([0.4], [0.4], [210_000.0])
    assert backfilled(None)["x"] == []


def test_gap_without_an_end_lasts_until_now():
    """So the reader sees that it goes on."""
    given = pl.DataFrame([gap("11:00", "11:05"), gap("11:30")], infer_schema_length=None)
    found = unseen(given.with_columns(pl.col("end_time").cast(pl.Datetime("us", "UTC"))), NOON)
    assert [right - left for left, right in zip(found["left"], found["right"], strict=True)] == [300_000, 1_800_000]


class Recorder:
    """A source that notes what is sent to the browser."""

    def __init__(self, source) -> None:
        self.data, self.sent = source.data, []

    def patch(self, changes):
        self.sent.append(("patch", sorted(changes)))

    def stream(self, rows, rollover):
        self.sent.append(("stream", rows["close"]))


def test_chart_patches_and_streams():
    """The last bar is patched where it changed, later bars are streamed, and nothing is sent anew."""
    chart, first = MarketChart(), bars_of(0.1, 0.2)
    time = pl.Datetime("us", "UTC")
    chart.draw(
        first, HISTORY.empty().collect(), pl.DataFrame(schema={"start_time": time, "end_time": time}), "1m", NOON
    )
    chart.bars = recorder = Recorder(chart.bars)
    chart.follow(first, "1m")
    assert recorder.sent == []
    chart.follow(bars_of(0.1, 0.3, 0.4), "1m")
    assert recorder.sent == [("patch", ["ask", "bid", "close", "high", "low", "open"]), ("stream", [0.4])]


def test_backfilled_prices_are_of_quotes_where_tight(world):
    """As in a board: the middle of a tight quote, else the last trade; a bar with neither is left out."""
    start = NOON - timedelta(minutes=60)
    tight = {"bid_open": 0.3, "ask_open": 0.4, "bid_close": 0.4, "ask_close": 0.42}
    wide = {"bid_close": 0.1, "ask_close": 0.9}
    given = [tight, tight | {"close": 0.9}, wide | {"close": 0.5}, wide]
    made = [
        row(HISTORY, market_key=key(ALDER), interval="5m", bar_start=start + timedelta(minutes=5 * number), seq=number)
        | each
        for number, each in enumerate(given)
    ]
    world.segment(history=made)
    found = detail_of(world).history
    assert found["close"].round(9).to_list() == [0.41, 0.41, 0.5]
    assert found["open"].round(9).to_list()[:2] == [0.35, 0.35]


def test_load_counts_a_gap_of_the_venue(world):
    """A gap of the whole venue is one of this market."""
    world.segment(gaps=[gap(NOON - timedelta(minutes=9), NOON - timedelta(minutes=8), market=None)])
    world.segment(gaps=[gap(NOON - timedelta(minutes=7), NOON - timedelta(minutes=6), market=key("kalshi:OTHER"))])
    assert detail_of(world).gaps["start_time"].to_list() == [NOON - timedelta(minutes=9)]
