"""The simulated Polymarket over REST: catalogue pages, single ones, books, prices, histories, trades."""

import json

import pytest

from flows.venues.base import Frame, Outcome, Stats, Top, Wire
from flows.venues.polymarket import Polymarket
from lake.clock import SECOND_US
from lake.vocab import Venue
from tests.flows.simulator.reading import Reader, books_of
from tests.flows.simulator.tiny import HOSTILE, LATE, SHORT, START

pytestmark = pytest.mark.asyncio


async def pages(venues, path: str, name: str, **query) -> list[list[dict]]:
    """All pages of a keyset list, by the cursor that it names."""
    found, after = [], {}
    while True:
        page = await venues.get(path, **query, **after)
        found.append(page[name])
        if "next_cursor" not in page:
            return found
        after = {"after_cursor": page["next_cursor"]}


# --- catalogue -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [{}, {"order": "volume24hr", "ascending": "false"}])
async def test_pages_hold_each_market_once(venues, order):
    """Keyset pages of markets and of events cover the living markets, each once, also sorted by volume."""
    living = {market.native_id for market in venues.world.markets(Venue.POLYMARKET, START)}
    rows = await pages(venues, "/gamma/markets/keyset", "markets", limit=2, closed="false", **order)
    assert sorted(item["conditionId"] for page in rows for item in page) == sorted(living)
    assert [len(page) for page in rows] == [2, 2, 1]
    if order:
        volumes = [item["volume24hr"] for page in rows for item in page]
        assert volumes == sorted(volumes, reverse=True)
    rows = await pages(venues, "/gamma/events/keyset", "events", limit=1, closed="false", **order)
    assert sorted(item["conditionId"] for page in rows for event in page for item in event["markets"]) == sorted(living)


async def test_a_cursor_under_another_name_is_ignored(venues):
    """`cursor=` brings page one again and again, as at the venue; an offset is refused; a page has 100 at most."""
    page = await venues.get("/gamma/markets/keyset", limit=2)
    again = await venues.get("/gamma/markets/keyset", limit=2, cursor=page["next_cursor"])
    assert [item["id"] for item in again["markets"]] == [item["id"] for item in page["markets"]]
    await venues.get("/gamma/markets/keyset", 422, offset=2)
    await venues.get("/gamma/markets/keyset", 400, after_cursor="nonsense")
    await venues.get("/gamma/markets", 422, order="shoe_size")


async def test_a_market_has_the_documented_shape(venues):
    """Lists are strings of JSON, volumes strings and numbers, the category only a tag of the event."""
    (event,) = await venues.get("/gamma/events", id="900")
    market = event["markets"][0]
    source = venues.world.all[0]
    assert json.loads(market["outcomes"]) == ["Yes", "No"]
    assert json.loads(market["clobTokenIds"]) == list(source.tokens)
    assert sum(map(float, json.loads(market["outcomePrices"]))) == 1
    assert isinstance(market["volume"], str) and isinstance(market["volumeNum"], float)
    assert market["question"] == HOSTILE and "category" not in market and "category" not in event
    assert [tag["label"] for tag in event["tags"]] == ["Economy", "Rates"]
    assert market["bestBid"] == source_book(venues, 0).bids[0][0] / 1e6
    (alone,) = await venues.get("/gamma/markets", condition_ids=source.native_id)
    assert alone["events"][0]["id"] == "900" and "markets" not in alone["events"][0]


def source_book(venues, place: int):
    return venues.world.book(venues.world.all[place], venues.simulation.at)


async def test_a_missing_bid_is_left_out(venues):
    """Whenever the first outcome has no bid, `bestBid` is no key of its market."""
    seen = set()
    for _ in range(40):
        venues.run(2)
        for item in await venues.get("/gamma/markets", limit=100):
            book = venues.world.book(venues.world.all[int(item["id"]) - 1], venues.simulation.at)
            assert ("bestBid" in item) is bool(book.bids)
            seen.add(bool(book.bids))
    assert seen == {True, False}


async def test_markets_are_found_by_every_name(venues):
    """By id, slug, condition and token, single or as a filter; a stranger is 404 or an empty list."""
    source = venues.world.all[1]
    for path, query in (
        (f"/gamma/markets/{source.number}", {}),
        (f"/gamma/markets/slug/{source.slug}", {}),
    ):
        assert (await venues.get(path, **query))["conditionId"] == source.native_id
    for name, value in (
        ("id", source.number),
        ("slug", source.slug),
        ("condition_ids", source.native_id),
        ("clob_token_ids", source.tokens[1]),
    ):
        (found,) = await venues.get("/gamma/markets", **{name: value})
        assert found["conditionId"] == source.native_id
    assert await venues.get("/gamma/markets", slug="stranger") == []
    await venues.get("/gamma/markets/99999", 404)
    await venues.get("/gamma/events/slug/stranger", 404)
    assert (await venues.get("/gamma/events/slug/tiny-event-1"))["id"] == "901"
    assert (await venues.get("/gamma/tags/100328"))["label"] == "Economy"
    assert [each["slug"] for each in await venues.get("/gamma/series")] == ["tiny-series"]
    found = await venues.get("/gamma/public-search", q="tiny event 2")
    assert [each["id"] for each in found["events"]] == ["902"] and found["pagination"]["totalResults"] == 1


async def test_a_market_comes_ends_and_is_decided(venues):
    """Listed, trading, past its close, decided: the marks of each stage, and the filter that finds it."""
    short, late = venues.world.all[SHORT], venues.world.all[LATE]
    assert await venues.get("/gamma/markets", condition_ids=late.native_id) == []
    venues.run(65)
    (item,) = await venues.get("/gamma/markets", condition_ids=short.native_id)
    assert (item["closed"], item["acceptingOrders"], item["umaResolutionStatus"]) == (False, False, "proposed")
    assert len(await venues.get("/gamma/markets", condition_ids=late.native_id)) == 1
    venues.run(30)
    assert await venues.get("/gamma/markets", condition_ids=short.native_id) == []
    (item,) = await venues.get("/gamma/markets", condition_ids=short.native_id, closed="true")
    assert (json.loads(item["outcomePrices"]), item["umaResolutionStatus"]) == (["1", "0"], "resolved")
    found = await venues.get(f"/clob/markets/{short.native_id}")
    assert [token["winner"] for token in found["tokens"]] == [True, False]
    await venues.get("/clob/book", 404, token_id=short.tokens[0])


async def test_the_projects_adapter_reads_the_catalogue(venues):
    """Every event parses: metadata, figures and best prices of each market, none dead."""
    reader = Reader(Polymarket(), Wire.GAMMA)
    answer = await venues.http.get(venues.address("/gamma/events/keyset?closed=false&limit=100"))
    reader.read([answer.content])
    assert reader.outcomes == {Outcome.APPLIED: 3}
    kinds = [type(action) for message in reader.messages for action in message.actions]
    assert kinds.count(Stats) == kinds.count(Top) == 5


# --- books and prices ----------------------------------------------------------------------------


async def test_books_over_rest_are_the_worlds(venues):
    """`POST /books` of all tokens, read by the adapter: each token's book is the world's; strangers are left out."""
    venues.run(20)
    now = books_of(venues.world, Venue.POLYMARKET, venues.simulation.at)
    for place in (0, 1):
        tokens = [market.tokens[place] for market in venues.world.markets(Venue.POLYMARKET, START)]
        adapter = Polymarket()
        reader = Reader(adapter, Wire.CLOB_BOOKS)
        catalogue = await venues.http.get(venues.address("/gamma/events/keyset?closed=false"))
        adapter.parse(Frame(0, "c", START, catalogue.content, Wire.GAMMA))
        books = await venues.post("/clob/books", [{"token_id": token} for token in [*tokens, "123"]])
        reader.read([json.dumps(books).encode()])
        assert len(books) == 5 and reader.books == {market: now[market] for market in reader.books}
        assert len(reader.books) == 5


async def test_prices_agree_with_the_book(venues):
    """Midpoint, spread, and price by side: BUY is the best bid, SELL the best ask; batches say the same."""
    source, book = venues.world.all[1], source_book(venues, 1)
    token, (bid, _), (ask, _) = source.tokens[0], book.bids[0], book.asks[0]
    asked = {"token_id": token}
    assert float((await venues.get("/clob/midpoint", **asked))["mid"]) == (bid + ask) / 2e6
    assert float((await venues.get("/clob/spread", **asked))["spread"]) == (ask - bid) / 1e6
    assert float((await venues.get("/clob/price", side="BUY", **asked))["price"]) == bid / 1e6
    assert float((await venues.get("/clob/price", side="SELL", **asked))["price"]) == ask / 1e6
    both = await venues.post("/clob/prices", [asked | {"side": "BUY"}, asked | {"side": "SELL"}])
    assert {side: float(price) for side, price in both[token].items()} == {"BUY": bid / 1e6, "SELL": ask / 1e6}
    assert list(await venues.post("/clob/midpoints", [asked])) == [token]
    assert list(await venues.post("/clob/spreads", [asked])) == [token]
    assert await venues.post("/clob/last-trades-prices", [asked]) == []
    assert await venues.get("/clob/last-trade-price", **asked) == {"price": "0", "side": ""}
    assert await venues.get("/clob/tick-size", **asked) == {"minimum_tick_size": 0.01}
    assert await venues.get("/clob/neg-risk", **asked) == {"neg_risk": True}
    assert await venues.get("/clob/time") == START // SECOND_US


async def test_errors_are_the_documented_ones(venues):
    """Unknown tokens, bad payloads and sides, and batches that are too large."""
    assert await venues.get("/clob/book", 404, token_id="123") == {
        "error": "No orderbook exists for the requested token id"
    }
    assert await venues.get("/clob/book", 400) == {"error": "Invalid token id"}
    assert await venues.get("/clob/price", 400, token_id=venues.world.all[0].tokens[0]) == {"error": "Invalid side"}
    assert await venues.post("/clob/books", {"token_id": "1"}, 400) == {"error": "Invalid payload"}
    many = [{"token_id": str(number)} for number in range(501)]
    assert await venues.post("/clob/books", many, 400) == {"error": "Payload exceeds the limit"}
    await venues.get("/clob/markets/0x0", 404)


async def test_order_book_markets_go_by_cursor(venues):
    """`next_cursor` begins at MA== and ends at LTE=; the sampled lists hold only what trades."""
    page = await venues.get("/clob/markets", next_cursor="MA==")
    assert page["next_cursor"] == "LTE=" and page["count"] == len(page["data"]) == 5
    assert set(page["data"][0]["tokens"][0]) == {"token_id", "outcome", "price", "winner"}
    short = await venues.get("/clob/sampling-simplified-markets")
    assert (
        set(short["data"][0]) >= {"condition_id", "tokens", "active", "closed"} and "question" not in short["data"][0]
    )
    await venues.get("/clob/markets", 400, next_cursor="LTE=")
    source = venues.world.all[2]
    compact = await venues.get(f"/clob/clob-markets/{source.native_id}")
    assert [each["t"] for each in compact["t"]] == list(source.tokens)
    assert (await venues.get(f"/clob/markets-by-token/{source.tokens[1]}"))["condition_id"] == source.native_id


# --- histories and trades ------------------------------------------------------------------------


async def test_histories_are_the_mids_at_their_times(venues):
    """A point's price is the mid of the book at its time; the second token's is the complement; buckets are sparse."""
    venues.run(150)
    source = venues.world.all[2]
    span = {"startTs": START // SECOND_US, "endTs": START // SECOND_US + 120, "fidelity": 1}
    first, second = [
        (await venues.get("/clob/prices-history", market=token, **span))["history"] for token in source.tokens
    ]
    assert [point["t"] for point in first] == [START // SECOND_US + 60 * minute for minute in range(3)]
    for point, other in zip(first, second, strict=True):
        book = venues.world.book(source, point["t"] * SECOND_US)
        assert (
            point["p"] == ((book.bids[0][0] if book.bids else -1) + (book.asks[0][0] if book.asks else -1)) // 2 / 1e6
        )
        assert round(point["p"] + other["p"], 6) == 1
    batch = {"markets": [*source.tokens, "123"], "start_ts": span["startTs"], "end_ts": span["endTs"], "fidelity": 1}
    answer = await venues.post("/clob/batch-prices-history", batch)
    assert answer == {"history": dict(zip(source.tokens, (first, second), strict=True))}
    coarse = await venues.get("/clob/prices-history", market=source.tokens[0], interval="1h", fidelity=10)
    assert 6 <= len(coarse["history"]) <= 7
    long = {"startTs": 0, "endTs": START // SECOND_US}
    await venues.get("/clob/prices-history", 400, market=source.tokens[0], **long)
    assert await venues.get("/clob/prices-history", market="123", interval="1h") == {"history": []}
    short = venues.world.all[SHORT]
    assert await venues.get("/clob/prices-history", market=short.tokens[0], **span) == {"history": []}


async def test_trades_are_the_tape_newest_first(venues):
    """The tape of both versions holds each trade once, on the token where the socket printed it."""
    venues.run(60)
    source = venues.world.all[1]
    told = list(venues.world.trades(source, START, venues.simulation.at))
    rows = await venues.get("/data/trades", market=source.native_id, limit=500)
    assert [row["timestamp"] for row in rows] == [trade.time // SECOND_US for trade in reversed(told)]
    assert len({row["transactionHash"] for row in rows}) == len(told) > 5
    for row, trade in zip(rows, reversed(told), strict=True):
        is_first = row["asset"] == source.tokens[0]
        assert round(row["price"] if is_first else 1 - row["price"], 6) == trade.price / 1e6
        assert (row["side"] == "BUY") is (trade.is_buy is is_first)
    found, cursor = [], {}
    while True:
        page = await venues.get("/data/v2/trades", limit=3, **cursor)
        found += page["data"]
        if not page["pagination"]["has_more"]:
            break
        cursor = {"cursor": page["pagination"]["next_cursor"]}
    every = [
        trade for market in venues.world.all[:6] for trade in venues.world.trades(market, START, venues.simulation.at)
    ]
    assert len(found) == len({row["transaction_hash"] for row in found}) == len(every)
    await venues.get("/data/v2/trades", 400, offset=3)
    assert {"token_id", "condition_id", "proxy_wallet"} <= set(found[0])


async def test_volumes_and_interest(venues):
    """Open interest by market and of all; an event's volume by market."""
    source = venues.world.all[0]
    (row,) = await venues.get("/data/oi", market=source.native_id)
    assert row["value"] == venues.world.figures(source, START).open_interest / 1e6
    assert (await venues.get("/data/oi"))[0]["market"] == "GLOBAL"
    (volume,) = await venues.get("/data/live-volume", id="900")
    assert len(volume["markets"]) == 2 and volume["total"] == sum(each["value"] for each in volume["markets"])
    wrapped = await venues.get("/data/v2/live-volume", event_id="900")
    assert wrapped["data"]["taker_volume_total"] == volume["total"]
