"""The simulated Kalshi over REST: exchange, series, events, markets, books, trades, candlesticks."""

import pytest

from flows.venues.base import Outcome, Wire
from flows.venues.kalshi import Kalshi
from lake.clock import MINUTE_US, SECOND_US
from lake.vocab import Venue
from tests.flows.simulator.reading import Reader, books_of
from tests.flows.simulator.signing import signed
from tests.flows.simulator.tiny import EACH, SHORT, START

pytestmark = pytest.mark.asyncio

SECOND = START // SECOND_US


async def pages(venues, path: str, name: str, **query) -> list[list[dict]]:
    """All pages of a list, until its cursor is empty."""
    found, cursor = [], ""
    while True:
        page = await venues.get(path, **query, cursor=cursor)
        found.append(page[name])
        if not (cursor := page["cursor"]):
            return found


def market(venues, place: int):
    return venues.world.all[EACH + place]


async def test_pages_hold_each_market_once(venues):
    """Pages of markets and of events with nested markets cover the open markets, each once."""
    living = [each.native_id for each in venues.world.markets(Venue.KALSHI, START)]
    rows = await pages(venues, "/markets", "markets", limit=2, status="open", mve_filter="exclude")
    assert [item["ticker"] for page in rows for item in page] == living
    rows = await pages(venues, "/events", "events", limit=1, status="open", with_nested_markets="true")
    assert [item["ticker"] for page in rows for event in page for item in event["markets"]] == living
    assert "markets" not in (await venues.get("/events"))["events"][0]


async def test_states_and_filter_words_differ(venues):
    """`open` finds active markets, `closed` closed and determined ones, `settled` finalized ones."""
    short = market(venues, SHORT).native_id
    for seconds, word, state, result in (
        (30, "open", "active", ""),
        (40, "closed", "closed", ""),
        (30, "closed", "determined", "yes"),
        (30, "settled", "finalized", "yes"),
    ):
        venues.run(seconds)
        found = (await venues.get("/markets", status=word))["markets"]
        (item,) = [item for item in found if item["ticker"] == short]
        assert (item["status"], item["result"]) == (state, result)
    assert (await venues.get(f"/markets/{short}"))["market"]["status"] == "finalized"
    assert item["settlement_value_dollars"] == "1.0000"
    await venues.get("/markets", 400, status="active")
    assert (await venues.get("/markets", status="paused"))["markets"] == []


async def test_filters_find_what_they_name(venues):
    """By tickers, event, series and time; strangers are dropped without a word."""
    one, two = market(venues, 0).native_id, market(venues, 3).native_id
    found = await venues.get("/markets", tickers=f"{one},{two},KXNONE")
    assert [item["ticker"] for item in found["markets"]] == [one, two]
    found = await venues.get("/markets", event_ticker="KXTINY-1")
    assert {item["event_ticker"] for item in found["markets"]} == {"KXTINY-1"}
    assert len((await venues.get("/markets", series_ticker="KXTINY"))["markets"]) == EACH - 1
    assert (await venues.get("/markets", series_ticker="KXNONE"))["markets"] == []
    assert (await venues.get("/markets", max_close_ts=SECOND + 61))["markets"][0]["ticker"] == market(
        venues, SHORT
    ).native_id
    assert len((await venues.get("/events", tickers="KXTINY-2,KXTINY-0"))["events"]) == 2
    assert (await venues.get("/events/KXTINY-0"))["markets"][0]["ticker"] == one
    assert (await venues.get("/events/KXTINY-0", with_nested_markets="true"))["event"]["markets"][0]["ticker"] == one
    for path in ("/markets/KXNONE", "/events/KXNONE", "/series/KXNONE"):
        await venues.get(path, 404)
    await venues.get("/markets", 400, cursor="nonsense")


async def test_numbers_are_strings_of_fixed_decimals(venues):
    """Dollars have four decimals, counts two; a category is the series', which has the fields that clients need."""
    item = (await venues.get(f"/markets/{market(venues, 0).native_id}"))["market"]
    for name, value in item.items():
        if name.endswith("_dollars"):
            assert len(value.partition(".")[2]) == 4, name
        if name.endswith("_fp"):
            assert len(value.partition(".")[2]) == 2, name
    assert "category" not in item and item["settlement_bounds_type"] == "default"
    assert item["price_ranges"] == [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}]
    assert float(item["no_ask_dollars"]) == round(1 - float(item["yes_bid_dollars"]), 4)
    (series,) = (await venues.get("/series"))["series"]
    assert (series["category"], series["categories"], series["tags"]) == ("Economics", ["Economics"], ["Rates"])
    assert (await venues.get("/series/KXTINY"))["series"] == series
    assert (await venues.get("/search/tags_by_categories"))["tags_by_categories"] == {"Economics": ["Rates"]}
    status = await venues.get("/exchange/status")
    assert status["trading_active"] and status["exchange_index_statuses"][0]["description"]
    assert "thursday" in (await venues.get("/exchange/schedule"))["schedule"]["standard_hours"][0]
    assert set(await venues.get("/historical/cutoff")) == {
        "market_settled_ts",
        "trades_created_ts",
        "orders_updated_ts",
    }


async def test_books_over_rest_are_the_worlds(venues):
    """Single and batched books, read by the adapter, are the world's; `depth` keeps the best levels."""
    venues.run(20)
    now = books_of(venues.world, Venue.KALSHI, venues.simulation.at)
    names = [each.native_id for each in venues.world.markets(Venue.KALSHI, START)]
    answer = await venues.http.get(venues.address("/markets/orderbooks"), params={"tickers": [*names, "KXNONE"]})
    reader = Reader(Kalshi(), Wire.KALSHI_REST).read([answer.content])
    assert reader.books == now and reader.outcomes == {Outcome.APPLIED: 5}
    book = (await venues.get(f"/markets/{names[0]}/orderbook"))["orderbook_fp"]
    best = (await venues.get(f"/markets/{names[0]}/orderbook", depth=1))["orderbook_fp"]
    assert best == {side: levels[-1:] for side, levels in book.items()} and len(book["yes_dollars"]) > 1
    await venues.get("/markets/orderbooks", 400)


async def test_the_projects_adapter_reads_the_catalogue(venues):
    """Series, events with nested markets, markets and trades parse, none dead."""
    venues.run(20)
    reader = Reader(Kalshi(), Wire.KALSHI_REST)
    for path in ("/series", "/events?with_nested_markets=true&status=open", "/markets?limit=1000", "/markets/trades"):
        reader.read([(await venues.http.get(venues.address(path))).content])
    assert set(reader.outcomes) == {Outcome.APPLIED}
    assert len(reader.trades) == len(told(venues))


def told(venues) -> list:
    """The trades of all markets up to now."""
    return [
        trade for each in venues.world.all[EACH:] for trade in venues.world.trades(each, START, venues.simulation.at)
    ]


async def test_trades_are_the_tape_newest_first(venues):
    """Pages hold each trade once, newest first; ticker and times narrow them."""
    venues.run(60)
    rows = [item for page in await pages(venues, "/markets/trades", "trades", limit=7) for item in page]
    assert sorted(item["trade_id"] for item in rows) == sorted(trade.trade_id for trade in told(venues))
    times = [item["created_time"] for item in rows]
    assert times == sorted(times, reverse=True)
    one = market(venues, 1)
    alone = (await venues.get("/markets/trades", ticker=one.native_id, min_ts=SECOND + 10, max_ts=SECOND + 40))[
        "trades"
    ]
    trades = venues.world.trades(one, START + 10 * SECOND_US - 1, START + 40 * SECOND_US)
    assert [item["trade_id"] for item in alone] == [trade.trade_id for trade in reversed(trades)]
    assert (await venues.get("/markets/trades", ticker="KXNONE"))["trades"] == []


async def test_candlesticks_are_the_minutes(venues):
    """Each minute's candle ends when the minute does and says its trades; an hour gathers them; limits are kept."""
    venues.run(170)
    one = market(venues, 0)
    span = {"start_ts": SECOND, "end_ts": SECOND + 170, "period_interval": 1}
    found = (await venues.get(f"/series/KXTINY/markets/{one.native_id}/candlesticks", **span))["candlesticks"]
    assert [candle["end_period_ts"] for candle in found] == [SECOND, SECOND + 60, SECOND + 120]
    for candle in found[1:]:
        end = candle["end_period_ts"] * SECOND_US
        trades = venues.world.trades(one, end - MINUTE_US, end)
        assert float(candle["volume_fp"]) == sum(trade.size for trade in trades) / 1e6
        assert float(candle["price"]["close_dollars"]) == trades[-1].price / 1e6
    assert found[0]["price"] == {
        **dict.fromkeys(("open_dollars", "high_dollars", "low_dollars", "close_dollars")),
        **dict.fromkeys(("mean_dollars", "min_dollars", "max_dollars", "previous_dollars")),
    }
    both = await venues.get("/markets/candlesticks", market_tickers=f"{one.native_id},KXNONE", **span)
    assert both["markets"] == [{"market_ticker": one.native_id, "candlesticks": found}]
    hours = await venues.get(
        "/markets/candlesticks", market_tickers=one.native_id, start_ts=SECOND - 7200, end_ts=SECOND, period_interval=60
    )
    assert [candle["end_period_ts"] % 3600 for candle in hours["markets"][0]["candlesticks"]] == [0, 0]
    names = ",".join(each.native_id for each in venues.world.markets(Venue.KALSHI, START))
    wide = {"start_ts": SECOND - 2_001 * 60, "end_ts": SECOND, "period_interval": 1}
    await venues.get("/markets/candlesticks", 400, market_tickers=names, **wide)
    await venues.get("/markets/candlesticks", 400, market_tickers=names, start_ts=1, end_ts=2, period_interval=5)
    many = ",".join(f"KX{number}" for number in range(101))
    await venues.get("/markets/candlesticks", 400, market_tickers=many, **span)


async def test_signed_requests_are_checked(venues):
    """A good signature is accepted, with a query too; a bad one is 401; none is accepted."""
    path = "/trade-api/v2/markets"
    address = venues.address("/markets?limit=1")
    good = signed(venues.key, "GET", path)
    assert (await venues.http.get(address, headers=good)).status_code == 200
    bad = await venues.http.get(address, headers=signed(venues.key, "GET", path + "?limit=1"))
    assert bad.status_code == 401 and bad.json()["error"]["details"] == "signature does not match"
    assert (await venues.http.get(address)).status_code == 200
