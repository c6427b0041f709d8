"""Kalshi's REST answers, today's dollars and the cents of before."""

import json
from typing import Any

import pytest

from flows.venues.base import Outcome, Wire
from flows.venues.kalshi_rest import title
from lake.schema import EVENTS, MARKETS, QUOTES, TRADES, VENUE_STATS
from tests.flows.feed import TICKER, TICKER_2, Feed, frame, kal, parse_kalshi, value

REST = Wire.KALSHI_REST


def feed(*names: str) -> Feed:
    return Feed(REST).named(*(f"kalshi/{name}" for name in names))


def parsed(body: Any) -> list:
    return parse_kalshi(json.dumps(body).encode(), wire=REST)


@pytest.mark.parametrize("name", ["rest_markets", "rest_markets_dual", "rest_markets_cents", "rest_event_single"])
def test_market_of_every_form(name):
    """Dollars, both, or whole cents alone are the same quote and the same figures, in contracts."""
    run = feed(name)
    assert run.tops(QUOTES)[0][:2] == (0.40, 0.42)
    stats = run.rows(VENUE_STATS)[0]
    assert (stats["volume_total_contracts"], stats["volume_24h_contracts"], stats["open_interest"]) == (1234, 56, 900)
    assert stats["volume_24h_usd"] is None
    row = run.rows(MARKETS)[0]
    assert (row["market_id"], row["status"], row["tick_size"]) == (f"kalshi:{TICKER}", "active", 0.01)
    assert (row["event_id"], row["outcomes"]) == ("kalshi:KXHALCYON-27JAN", ["Yes", "No"])


def test_settled_market():
    """Bid 0 and ask 1 of a settled market are no quote; its result is the outcome's name."""
    run = feed("rest_market")
    assert run.tops(QUOTES) == [(None, None, None, None)]
    assert (run.rows(MARKETS)[0]["status"], run.rows(MARKETS)[0]["result"]) == ("resolved", "No")


@pytest.mark.parametrize("missing", ["yes_bid_dollars", "yes_ask_dollars"])
def test_market_without_prices_is_dead(missing):
    """A market of an unknown form is dead and counted, never a price of 0."""
    market = {key: text for key, text in value("kalshi/rest_markets")["markets"][0].items() if key != missing}
    assert [message.outcome for message in parsed({"markets": [market]})] == [Outcome.DEAD]


def test_bad_market_of_a_page_loses_no_other():
    """Each item of a list is a message: nothing, or a broken market, is dead beside one that is taken."""
    found = parse_kalshi(frame("kalshi/rest_markets_bad_one"), wire=REST)
    assert [message.outcome.value for message in found] == ["dead", "applied", "dead"]


def test_event_brings_its_markets():
    """An event is a row of events, and its nested markets know its category and series."""
    run = feed("rest_events_nested")
    event, market = run.rows(EVENTS)[0], run.rows(MARKETS)[0]
    assert (event["event_id"], event["mutually_exclusive"], event["category"]) == (
        "kalshi:KXHALCYON-27JAN",
        True,
        "Politics",
    )
    assert (market["series_id"], market["category"]) == ("kalshi:KXHALCYON", "Politics")


@pytest.mark.parametrize(
    ("name", "category", "tags"),
    [
        ("rest_series_list", "Transportation", ["Bridges"]),
        ("rest_series_null_tags", "Transportation", []),
        ("rest_series_single", "Politics", []),
    ],
)
def test_category_is_the_series(name, category, tags):
    """The series' category stands over the event's copy; null tags are none; a series of another event says nothing."""
    row = feed(name, "rest_events_nested").rows(MARKETS)[0]
    assert (row["category"], row["tags"]) == (category, tags)


def test_trades():
    """Trades of both forms: the venue's id and time, price, size, taker, and whether it was a block."""
    row = feed("rest_trades").rows(TRADES)[0]
    assert (row["price"], row["size"], row["taker_side"], row["is_block_trade"]) == (0.42, 12.5, "sell", True)
    assert row["event_time"].timestamp() == 1_790_000_001.5
    old = feed("rest_trades_legacy").rows(TRADES)[0]
    assert (old["price"], old["size"], old["taker_side"]) == (0.42, 12.0, "buy")


def test_trade_of_socket_and_rest_is_one():
    """The same trade id from the socket and from REST is one trade."""
    run = Feed(Wire.KALSHI_SOCKET).named("kalshi/trade").named("kalshi/rest_trades", wire=REST)
    assert len(run.rows(TRADES)) == 1


@pytest.mark.parametrize(
    ("name", "top"),
    [
        ("rest_orderbook", (0.40, 0.42, 150.0, 75.5)),
        ("rest_orderbook_legacy", (0.40, 0.42, 150.0, 75.0)),
        ("rest_orderbook_null", (None, None, None, None)),
        ("rest_orderbook_one_leg", (0.40, None, 150.0, None)),
    ],
)
def test_book(name, top):
    """A REST book of either form, empty as null, one leg left out: the quote is that of the socket."""
    run = feed(name)
    assert run.tops(QUOTES) == [top]
    assert run.rows(QUOTES)[0]["source"] == "rest"


def test_books_of_a_batch():
    """A batch holds a book a ticker."""
    run = feed("rest_orderbooks")
    assert run.tops(QUOTES, kal(TICKER)) == [(0.40, 0.42, 150.0, 75.5)]
    assert run.tops(QUOTES, kal(TICKER_2)) == [(0.70, None, 10.0, None)]


def test_book_of_an_unknown_form_is_dead():
    """A book that names no leg in any known way is dead, not empty."""
    assert [m.outcome for m in parsed({"ticker": TICKER, "orderbook_fp": {"bids": []}})] == [Outcome.DEAD]


@pytest.mark.parametrize("name", ["rest_candlesticks", "rest_candlesticks_batch"])
def test_candlesticks_are_ignored(name):
    """Candlesticks are no markets: ignored by kind, not dead."""
    assert [(m.outcome.value, m.kind) for m in parse_kalshi(frame(f"kalshi/{name}"), wire=REST)] == [
        ("ignored", "rest:candlesticks")
    ]


@pytest.mark.parametrize("body", [{"error": "too many requests"}, {"orderbook": None}, {}, {"exchange_active": True}])
def test_other_answers_are_ignored(body):
    """Answers that hold no market data are ignored by kind."""
    assert [m.outcome for m in parsed(body)] == [Outcome.IGNORED]


@pytest.mark.parametrize("body", [17, None, "text", {"markets": 5}, {"trades": [7]}, {"orderbooks": [{}]}])
def test_answers_of_another_form_are_dead(body):
    """A known answer of another form is dead, and its bytes are kept."""
    found = parsed(body)
    assert [m.outcome for m in found] == [Outcome.DEAD]
    assert found[0].raw


@pytest.mark.parametrize("key", ["volume", "tick_size", "yes_bid", "open_interest"])
def test_number_beyond_all_bounds_is_dead(key):
    """A whole number too large for a table, or for cents, makes that market dead and raises nothing."""
    market = value("kalshi/rest_markets_cents")["markets"][0] | {key: 10**400}
    assert [m.outcome for m in parsed({"markets": [market]})] == [Outcome.DEAD]


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Who wins?", "Gulls", "Who wins? · Gulls"),
        ("Will Gulls win?", "gulls", "Will Gulls win?"),
        (None, "Gulls", "Gulls"),
        ("", "", None),
    ],
)
def test_title_names_its_leg(question, answer, expected):
    """The leg is added where the question does not name it."""
    assert title(question, answer) == expected


def test_polls_by_ticker():
    """An object of ticker to market, as recorders keep polls, is those markets."""
    market = value("kalshi/rest_markets")["markets"][0]
    run = Feed(REST).send({TICKER: market, TICKER_2: market | {"ticker": TICKER_2}})
    assert {row["market_key"] for row in run.rows(QUOTES)} == {kal(TICKER), kal(TICKER_2)}


def test_bad_market_inside_an_event_loses_neither_the_event_nor_the_others():
    """Markets inside an event are messages of their own."""
    answer = value("kalshi/rest_events_nested")
    whole = len(parsed(answer))
    answer["events"][0]["markets"].insert(0, {"ticker": "KXBAD", "yes_bid_dollars": "7"})
    found = parsed(answer)
    assert [message.outcome for message in found].count(Outcome.DEAD) == 1
    assert len(found) == whole + 1
