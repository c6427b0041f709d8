"""Polymarket's catalogue and REST books."""

import json

import pytest

from flows.venues.base import EventUpdate, MarketUpdate, Outcome, Reset, Stats, Top, Wire
from flows.venues.gamma import category
from lake.schema import EVENTS, MARKETS, QUOTES, VENUE_STATS
from tests.flows.feed import MARKET, NO, OTHER, OVER, UNDER, YES, Feed, frame, parse_polymarket, poly, value


def parsed(body: object) -> list:
    return parse_polymarket(json.dumps(body).encode(), wire=Wire.GAMMA)


def actions(name: str, of: type) -> list:
    found = parse_polymarket(frame(f"polymarket/{name}"), wire=Wire.GAMMA)
    return [action for message in found for action in message.actions if isinstance(action, of)]


def fields(**more: object) -> dict:
    """What is said of the market of `gamma_market` with these fields changed."""
    return next(
        a.fields for a in parsed(value("polymarket/gamma_market") | more)[0].actions if isinstance(a, MarketUpdate)
    )


def test_market():
    """Lists inside strings, times, topic, event and grid of a market become its metadata."""
    found = actions("gamma_market", MarketUpdate)[0]
    assert found.market == poly()
    assert found.fields == {
        "market_id": f"polymarket:{MARKET}",
        "title": "Will the Halcyon Bridge reopen before June?",
        "outcomes": ["Yes", "No"],
        "outcome_token_ids": [YES, NO],
        "status": "active",
        "close_time": 1_798_718_400_000_000,
        "listed_time": 1_785_578_400_123_456,
        "tick_size": 0.01,
        "slug": "will-the-halcyon-bridge-reopen-before-june",
        "rules_hash": found.fields["rules_hash"],
        "event_id": "polymarket:77001",
        "series_id": "polymarket:31",
        "category": "Politics",
        "tags": ["Hide From New", "Politics"],
    }


def test_lists_may_be_real_ones():
    """Outcomes and tokens are read from strings that hold JSON and from real arrays alike."""
    assert fields(outcomes=["Yes", "No"], clobTokenIds=[YES, NO]) == fields()


def test_quote_and_figures():
    """Best prices are the first outcome's; volumes and liquidity are those in dollars."""
    top = actions("gamma_market", Top)[0]
    assert (top.bid, top.ask, top.bid_size) == (400_000, 410_000, None)
    stats = actions("gamma_market", Stats)[0]
    assert (stats.volume_24h_usd, stats.volume_total_usd, stats.liquidity_usd) == (432.1, 12345.678, 900.5)


def test_no_bid():
    """A bid that is left out is an empty side: null, not 0 and not a half."""
    run = Feed(Wire.GAMMA).named("polymarket/gamma_market_no_bid")
    assert run.tops(QUOTES) == [(None, 0.001, None, None)]


def test_closed_market():
    """A closed market has its winner and no quote, though its prices are 0 and 1."""
    found = actions("gamma_market_closed", MarketUpdate)[0].fields
    assert (found["status"], found["result"]) == ("resolved", "No")
    assert actions("gamma_market_closed", Top) == []


@pytest.mark.parametrize(
    ("more", "status", "result"),
    [
        ({}, "active", None),
        ({"active": False}, "inactive", None),
        ({"acceptingOrders": False}, "inactive", None),
        ({"umaResolutionStatus": "proposed"}, "proposed", None),
        ({"umaResolutionStatus": "disputed"}, "disputed", None),
        ({"closed": True}, "closed", None),
        ({"closed": True, "outcomePrices": '["1", "0"]'}, "closed", "Yes"),
        ({"closed": True, "outcomePrices": '["1", "0"]', "acceptingOrders": False}, "resolved", "Yes"),
        ({"closed": True, "outcomePrices": '["0", "0"]'}, "closed", None),
        ({"closed": True, "outcomePrices": '["0", "0"]', "acceptingOrders": False}, "closed", None),
        ({"closed": True, "outcomePrices": '["0.97", "0.03"]'}, "closed", None),
        ({"closed": True, "outcomePrices": '["0.5", "0.5"]', "umaResolutionStatus": "resolved"}, "resolved", "50-50"),
        ({"closed": True, "outcomePrices": None, "umaResolutionStatus": "resolved"}, "resolved", None),
    ],
)
def test_status_and_result(more, status, result):
    """`active` is no promise of trading; a winner is named only where the prices of a closed market are 1 and 0."""
    found = fields(**more)
    assert (found["status"], found.get("result")) == (status, result)


def test_event_brings_its_markets():
    """An event is one row of events and its markets with its topic, each in the direction of its first outcome."""
    run = Feed(Wire.GAMMA).named("polymarket/gamma_event")
    event = run.rows(EVENTS)[0]
    assert (event["event_id"], event["title"], event["mutually_exclusive"]) == (
        "polymarket:77001",
        "Harbour questions",
        True,
    )
    markets = {row["market_key"]: row for row in run.rows(MARKETS)}
    assert markets[poly(OTHER)]["outcomes"] == ["Over", "Under"]
    assert markets[poly(OTHER)]["outcome_token_ids"] == [OVER, UNDER]
    assert {row["category"] for row in markets.values()} == {"Politics"}


def test_bad_market_of_a_page_loses_no_other():
    """Each member of a keyset page is a message: a broken one is dead and the two beside it are taken."""
    found = parse_polymarket(frame("polymarket/gamma_keyset"), wire=Wire.GAMMA)
    assert [message.outcome.value for message in found] == ["applied", "dead", "applied"]
    assert json.loads(found[1].raw)["id"] == "990003"


def test_page_of_events():
    """A keyset page of events holds the events and their markets."""
    assert len(actions("gamma_keyset_events", EventUpdate)) == 1
    assert len(actions("gamma_keyset_events", MarketUpdate)) == 2


def test_array_of_markets():
    """The answer of a list route is an array of markets; a page without members holds no message."""
    market = value("polymarket/gamma_market")
    assert [message.outcome.value for message in parsed([market, 5, market])] == ["applied", "dead", "applied"]
    assert parsed({"markets": [], "next_cursor": None}) == []


@pytest.mark.parametrize(
    "body",
    [
        {"error": "validation error"},
        {"conditionId": 5},
        {"id": 1, "conditionId": "0x1", "bestBid": "1.5"},
        17,
        "text",
        {},
    ],
)
def test_answer_of_another_form_is_dead(body):
    """An error, or a market with fields of other types or outside their domain, is dead and not ignored."""
    found = parsed(body)
    assert [message.outcome for message in found] == [Outcome.DEAD]
    assert json.loads(found[0].raw) == body


def test_market_of_three_outcomes_is_no_binary():
    """A market with three outcomes makes no row."""
    body = value("polymarket/gamma_market") | {"outcomes": '["A","B","C"]', "clobTokenIds": '["1","2","3"]'}
    assert Feed(Wire.GAMMA).send(body).rows(MARKETS) == []


def test_categories_by_priority():
    """The topic is the first of the known ones, whatever the order of the tags; other tags are none."""
    assert category(["Hide From New", "Crypto", "Politics"]) == "Politics"
    assert category(["Recurring", "15M"]) is None


def test_same_catalogue_again_writes_nothing():
    """A second poll that says the same makes no row in any table."""
    once = Feed(Wire.GAMMA).named("polymarket/gamma_event")
    twice = Feed(Wire.GAMMA).named(*["polymarket/gamma_event"] * 2)
    for table in (MARKETS, EVENTS, QUOTES, VENUE_STATS):
        assert len(once.rows(table)) == len(twice.rows(table))


def test_rest_books_fold():
    """Both tokens' books of `POST /books` are one book: the second is the first's mirror and writes no row."""
    known = Feed(Wire.POLYMARKET_SOCKET).named("polymarket/new_market")
    run = known.named("polymarket/clob_books", wire=Wire.CLOB_BOOKS)
    assert run.tops(QUOTES) == [(0.50, 0.52, 100.0, 120.0)]
    first, second = (
        message.actions[-1] for message in parse_polymarket(frame("polymarket/clob_books"), wire=Wire.CLOB_BOOKS)
    )
    assert isinstance(first, Reset)
    assert isinstance(second, Reset)
    assert (sorted(first.bids), sorted(first.asks)) == (sorted(second.bids), sorted(second.asks))


def test_rest_book_of_another_form_is_dead():
    """An error in the place of a book is dead, and the book beside it is taken."""
    books = [{"error": "Invalid token id"}, value("polymarket/clob_books")[0]]
    found = parse_polymarket(json.dumps(books).encode(), wire=Wire.CLOB_BOOKS)
    assert [message.outcome.value for message in found] == ["dead", "applied"]
