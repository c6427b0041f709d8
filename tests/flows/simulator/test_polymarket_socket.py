"""The simulated Polymarket's market channel, read by real clients and the project's own adapter."""

import json
from hashlib import sha1

import pytest

from flows.simulator.base import Kind
from flows.simulator.service import Simulation
from flows.venues.base import Outcome, Wire
from flows.venues.polymarket import Polymarket
from lake.vocab import Venue
from tests.flows.simulator.conftest import Venues, until_pong
from tests.flows.simulator.reading import Reader, books_of
from tests.flows.simulator.tiny import END, SHORT, START, TinyWorld, tiny_world

pytestmark = pytest.mark.asyncio


def everything(world: TinyWorld, **said) -> str:
    tokens = [token for market in world.all for token in market.tokens if token]
    return json.dumps({"type": "market", "assets_ids": tokens, "custom_feature_enabled": True} | said)


async def frames_of(venues: Venues, first: str, seconds: float = 20) -> list[bytes]:
    """Frames of a fresh connection that says `first`, over so much simulated time."""
    async with venues.polymarket() as socket:
        await socket.send(first)
        found = await until_pong(socket)
        venues.run(seconds)
        return found + await until_pong(socket)


def objects(frames: list[bytes]) -> list[dict]:
    values = [json.loads(frame) for frame in frames]
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


async def test_every_frame_is_read_and_the_books_agree(venues):
    """All three minutes parse with none dead; the books that they make are the world's, level by level."""
    reader = Reader(Polymarket(), Wire.POLYMARKET_SOCKET)
    async with venues.polymarket() as socket:
        await socket.send(everything(venues.world))
        reader.read(await until_pong(socket))
        for _ in range(6):
            venues.run(25)
            reader.read(await until_pong(socket), venues.simulation.at)
            now = books_of(venues.world, Venue.POLYMARKET, venues.simulation.at)
            assert {market: book for market, book in reader.books.items() if market in now} | now == now
            late = len(now) - len([market for market in now if market in reader.books])
            assert late <= 1  # the one that was listed after the subscription
    assert reader.outcomes[Outcome.DEAD] == 0 and reader.outcomes[Outcome.APPLIED] > 300
    told = [each for each in venues.world.happenings(START, venues.simulation.at) if each.kind is Kind.TRADE]
    heard = [each for each in told if each.market in venues.world.all[: 6 - 1]]
    assert sorted((trade.price, trade.size, trade.event) for trade in reader.trades) == sorted(
        (trade.price, trade.size, trade.time // 1_000 * 1_000) for trade in heard
    )
    assert {trade.taker_side == "buy" for trade in reader.trades} == {True, False}


async def test_the_dump_is_one_array_of_books(venues):
    """The first frame holds a book of each token, worst level first, with tick size and last price."""
    frames = await frames_of(venues, everything(venues.world), 0)
    books = json.loads(frames[0])
    assert len(frames) == 1 and len(books) == 2 * len(venues.world.markets(Venue.POLYMARKET, START))
    for book in books:
        bids, asks = ([float(level["price"]) for level in book[side]] for side in ("bids", "asks"))
        assert bids == sorted(bids) and asks == sorted(asks, reverse=True) and bids[-1] < asks[-1]
        assert book["tick_size"] == "0.01" and "last_trade_price" in book and "min_order_size" not in book


async def test_both_tokens_mirror_each_other(venues):
    """The elements of a price_change come in pairs, the second the exact complement of the first."""
    changes = [each for each in objects(await frames_of(venues, everything(venues.world))) if "price_changes" in each]
    assert len(changes) > 50
    for change in changes:
        pairs = change["price_changes"]
        for first, second in zip(pairs[::2], pairs[1::2], strict=True):
            assert round(float(first["price"]) + float(second["price"]), 6) == 1
            assert first["size"] == second["size"] and {first["side"], second["side"]} == {"BUY", "SELL"}
            assert round(float(first["best_bid"]) + float(second["best_ask"]), 6) == 1
            assert round(float(first["best_ask"]) + float(second["best_bid"]), 6) == 1


async def test_best_prices_come_before_the_change(venues):
    """Each price_change that moved the top is preceded by a best_bid_ask of both tokens, the second token's first."""
    found = objects(await frames_of(venues, everything(venues.world)))
    best = [place for place, each in enumerate(found) if each["event_type"] == "best_bid_ask"]
    assert best
    for place in best[::2]:
        second, first, change = found[place : place + 3]
        assert second["asset_id"] == change["price_changes"][1]["asset_id"]
        assert first["asset_id"] == change["price_changes"][0]["asset_id"]
        assert first["timestamp"] == second["timestamp"] == change["timestamp"]
        assert first["best_bid"] == change["price_changes"][0]["best_bid"]


async def test_a_trade_is_closed_by_both_books(venues):
    """A print is followed by its level changes and a book of each token with the same hash, without tick size."""
    found = objects(await frames_of(venues, everything(venues.world)))
    places = [place for place, each in enumerate(found) if each["event_type"] == "last_trade_price"]
    second_prints = 0
    for place in places:
        rest = [each for each in found[place + 1 :] if each["event_type"] != "best_bid_ask"]
        change, first, second = rest[:3]
        assert [each["event_type"] for each in rest[:3]] == ["price_change", "book", "book"]
        assert [first["hash"], second["hash"]] == [each["hash"] for each in change["price_changes"]]
        assert "tick_size" not in first and len(found[place]["transaction_hash"]) == 66
        second_prints += found[place]["asset_id"] == second["asset_id"]
    assert 0 < second_prints < len(places)


async def test_books_of_rest_and_socket_have_the_documented_hash(venues):
    """The hash is the SHA-1 of the book's compact JSON with an empty hash."""
    venues.run(10)
    for market in venues.world.markets(Venue.POLYMARKET, venues.simulation.at):
        book = await venues.get("/clob/book", token_id=market.tokens[1])
        text = json.dumps(book | {"hash": ""}, separators=(",", ":"))
        assert sha1(text.encode()).hexdigest() == book["hash"]


async def test_without_extras_there_are_only_books_changes_and_trades(venues):
    """Best prices and announcements are for those who asked for them."""
    plain = objects(await frames_of(venues, everything(venues.world, custom_feature_enabled=False), 120))
    assert {each["event_type"] for each in plain} == {"book", "price_change", "last_trade_price"}


async def test_announcements_reach_every_connection(venues):
    """A listing and a result are told to whoever asked for extras, whatever its tokens are."""
    told = objects(await frames_of(venues, everything(venues.world, assets_ids=[]), 120))
    late, short = venues.world.all[5], venues.world.all[SHORT]
    assert [each["event_type"] for each in told] == ["new_market", "market_resolved"]
    assert (told[0]["market"], told[0]["outcomes"]) == (late.native_id, ["Yes", "No"])
    assert (told[1]["market"], told[1]["winning_asset_id"]) == (short.native_id, short.tokens[short.winner])


async def test_the_book_empties_with_the_result(venues):
    """Whoever follows a market that is decided sees all its levels go."""
    reader = Reader(Polymarket(), Wire.POLYMARKET_SOCKET)
    short = venues.world.all[SHORT]
    reader.read(await frames_of(venues, everything(venues.world, assets_ids=list(short.tokens)), 95))
    assert list(reader.books.values()) == [({}, {})]


async def test_tokens_come_and_go(venues):
    """Subscribe adds with a dump of the new ones alone; unsubscribe ends them; what is unknown is met with silence."""
    first, second = venues.world.all[:2]
    async with venues.polymarket() as socket:
        await socket.send(json.dumps({"type": "market", "asset_ids": list(first.tokens)}))
        await socket.send("no json")
        await socket.send(json.dumps({"type": "market", "assets_ids": ["123", first.tokens[0]]}))
        assert [each["asset_id"] for each in objects(await until_pong(socket))] == [first.tokens[0]]
        both = [first.tokens[0], *second.tokens]
        await socket.send(json.dumps({"operation": "subscribe", "assets_ids": both}))
        assert [each["asset_id"] for each in objects(await until_pong(socket))] == list(second.tokens)
        await socket.send(json.dumps({"operation": "unsubscribe", "assets_ids": both}))
        assert await until_pong(socket) == []
        venues.run(20)
        assert await until_pong(socket) == []


async def test_no_dump_unless_wanted(venues):
    """`initial_dump` false subscribes without books."""
    assert await frames_of(venues, everything(venues.world, initial_dump=False), 0) == []


async def test_who_sends_no_ping_is_dropped(key):
    """A connection without a text PING for the time allowed is closed by the venue."""
    simulation = Simulation(tiny_world(), START, key, ping_within=0.05)
    async with simulation.serving() as ports:
        venues = Venues(simulation=simulation, world=tiny_world(), key=key, ports=ports, http=None)
        async with venues.polymarket() as socket:
            await socket.wait_closed()
            assert socket.close_code == 1000


async def test_the_report_counts_what_was_sent(venues):
    """Messages and trades of the report are those that the client got, kind by kind."""
    async with venues.polymarket() as socket:
        await socket.send(everything(venues.world))
        found = await until_pong(socket)
        venues.run(30)
        found += await until_pong(socket)
        report = await venues.get("/simulator/report")
    kinds = [each["event_type"] for each in objects(found)]
    connection = report["connections"][0]
    assert connection["open"] and connection["frames"] == len(found) + 2
    assert connection["by_kind"] == {kind: kinds.count(kind) for kind in set(kinds)} | {"pong": 2}
    assert report["trades_told"] == kinds.count("last_trade_price")
    assert report["totals"]["messages"] == len(kinds) + 2 == connection["messages"]


async def test_steps_of_the_clock_change_nothing(venues):
    """The same seed and start give the same frames, byte for byte, whatever the steps are."""
    one = await frames_of(venues, everything(venues.world), 150)
    simulation = Simulation(tiny_world(), START, venues.key)
    async with simulation.serving() as ports:
        other = Venues(tiny_world(), simulation, venues.key, ports, venues.http)
        async with other.polymarket() as socket:
            await socket.send(everything(other.world))
            two = await until_pong(socket)
            simulation.advance(START + 7_000_001)
            simulation.advance(venues.simulation.at)
            two += await until_pong(socket)
    assert one == two and len(one) > 300 and venues.simulation.at < END
