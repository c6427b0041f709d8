"""The simulated Kalshi's socket: its signed handshake, its commands, and what its subscriptions are told."""

import json
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from flows.simulator.base import Kind
from flows.simulator.keys import Key, Verifier
from flows.simulator.service import Simulation
from flows.venues.base import Outcome, Wire
from flows.venues.kalshi import Kalshi
from lake.vocab import Venue
from tests.flows.simulator.conftest import KALSHI_PATH, Venues, until_ok
from tests.flows.simulator.reading import Reader, books_of
from tests.flows.simulator.signing import signed
from tests.flows.simulator.tiny import SHORT, START, TinyWorld, tiny_world

pytestmark = pytest.mark.asyncio

ALL = ["orderbook_delta", "ticker", "trade", "market_lifecycle_v2"]


def tickers(world: TinyWorld) -> list[str]:
    return [market.native_id for market in world.markets(Venue.KALSHI, START)]


def command(cmd: str, number: int = 1, **params) -> str:
    return json.dumps({"id": number, "cmd": cmd, "params": params})


async def answers(socket, *commands: str) -> list[dict]:
    """What is sent in answer to these commands."""
    for each in commands:
        await socket.send(each)
    return [json.loads(frame) for frame in await until_ok(socket)]


async def refusal(venues: Venues, headers: dict[str, str]) -> tuple[int, dict]:
    with pytest.raises(InvalidStatus) as found:
        async with connect(f"ws://127.0.0.1:{venues.ports[1]}{KALSHI_PATH}", additional_headers=headers):
            pass
    return found.value.response.status_code, json.loads(found.value.response.body)


# --- handshake -----------------------------------------------------------------------------------


async def test_a_good_signature_opens_the_socket(venues):
    async with venues.kalshi() as socket:
        assert await answers(socket) == []


async def test_bad_handshakes_are_refused_with_a_reason(venues):
    """No headers, another key, another path or method, a stale time, seconds, another salt: 401 and JSON."""
    good, now = signed(venues.key, "GET", KALSHI_PATH), time.time()
    bad = {
        "missing authentication headers": {},
        "unknown key id": good | {"KALSHI-ACCESS-KEY": "someone"},
        "signature does not match": good | {"KALSHI-ACCESS-SIGNATURE": "AAAA"},
    }
    for details, headers in bad.items():
        assert await refusal(venues, headers) == (
            401,
            {"error": {"code": "authentication_error", "message": "authentication_error", "details": details}},
        )
    for headers in (
        signed(venues.key, "GET", "/trade-api/ws/v1"),
        signed(venues.key, "POST", KALSHI_PATH),
        signed(venues.key, "GET", KALSHI_PATH, salt=20),
        signed(venues.key, "GET", KALSHI_PATH, at=now - 61),
        signed(venues.key, "GET", KALSHI_PATH, at=now + 62),
        signed(venues.key, "GET", KALSHI_PATH, at=now / 1_000),
    ):
        assert (await refusal(venues, headers))[0] == 401


async def test_an_ed25519_key_serves_as_well(key):
    """A PEM of the newer kind signs handshakes too."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    newer = Key("newer", pem)
    verifier = Verifier(newer, time.time)
    headers = signed(newer, "GET", KALSHI_PATH)
    assert verifier.fault(headers, "GET", KALSHI_PATH) is None
    assert verifier.fault(headers, "GET", "/other") == "signature does not match"
    assert Verifier(key, time.time).fault(headers, "GET", KALSHI_PATH) == "unknown key id"


# --- the feed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_yes_scale", [False, True])
async def test_every_frame_is_read_and_the_books_agree(venues, is_yes_scale):
    """All channels over two minutes parse with none dead and no hole; the books are the world's, level by level."""
    reader = Reader(Kalshi(use_yes_price=is_yes_scale), Wire.KALSHI_SOCKET)
    names = tickers(venues.world)
    wanted = {"market_tickers": names, "use_yes_price": is_yes_scale}
    async with venues.kalshi() as socket:
        await socket.send(command("subscribe", channels=["orderbook_delta"], **wanted))
        await socket.send(command("subscribe", 2, channels=["ticker", "trade", "market_lifecycle_v2"]))
        reader.read(await until_ok(socket))
        for _ in range(5):
            venues.run(25)
            reader.read(await until_ok(socket), venues.simulation.at)
            now = books_of(venues.world, Venue.KALSHI, venues.simulation.at)
            kept = {market: book for market, book in reader.books.items() if market in now}
            assert len(kept) >= 4 and kept == {market: now[market] for market in kept}
    assert reader.outcomes[Outcome.DEAD] == reader.outcomes[Outcome.DUPLICATE] == 0
    assert not [message for message in reader.messages if message.reason]
    told = [each for each in venues.world.happenings(START, venues.simulation.at) if each.kind is Kind.TRADE]
    assert [(trade.trade_id, trade.price, trade.size) for trade in reader.trades] == [
        (trade.trade_id, trade.price, trade.size) for trade in told if trade.market.venue is Venue.KALSHI
    ]


async def test_seqs_count_every_message_of_a_sid(venues):
    """Books, trades and life count from 1 without a hole, replies included; tickers carry no number."""
    async with venues.kalshi() as socket:
        await socket.send(command("subscribe", channels=ALL, market_tickers=tickers(venues.world)))
        await until_ok(socket)
    async with venues.kalshi() as socket:
        said = await answers(socket, command("subscribe", channels=ALL, market_tickers=tickers(venues.world)[:2]))
        venues.run(20)
        said += await answers(
            socket,
            command("update_subscription", 3, sids=[1], action="add_markets", market_tickers=tickers(venues.world)[2:]),
        )
        venues.run(20)
        said += await answers(socket)
    seqs: dict[int, list[int]] = {}
    for each in said:
        if "seq" in each:
            seqs.setdefault(each["sid"], []).append(each["seq"])
    assert set(seqs) == {1, 3, 4} and all(found == list(range(1, len(found) + 1)) for found in seqs.values())
    assert {each["type"] for each in said if each.get("sid") == 2} == {"ticker"}


async def test_tickers_come_about_once_a_second(venues):
    """No market's ticker is told twice within a second, and what it says is the book's top then."""
    async with venues.kalshi() as socket:
        await socket.send(command("subscribe", channels=["ticker"], market_tickers=tickers(venues.world)[:1]))
        await until_ok(socket)
        venues.run(30)
        told = [each["msg"] for each in await answers(socket)]
    times = [each["ts_ms"] for each in told]
    assert 10 < len(told) <= 30 and all(
        after - before >= 1_000 for before, after in zip(times, times[1:], strict=False)
    )
    market = venues.world.all[6]
    for each in told:
        book = venues.world.book(market, each["ts_ms"] * 1_000 - 1)
        assert each["yes_bid_dollars"] == (f"{book.bids[0][0] / 1e6:.4f}" if book.bids else "0.0000")
        assert each["yes_ask_size_fp"] == (f"{book.asks[0][1] / 1e6:.2f}" if book.asks else "0.00")


async def test_lifecycle_is_told(venues):
    """Listings, results and ends come on the lifecycle channel; opening and closing do not."""
    async with venues.kalshi() as socket:
        await socket.send(command("subscribe", channels=["market_lifecycle_v2"]))
        await until_ok(socket)
        venues.run(130)
        told = [each["msg"] for each in await answers(socket)]
    late, short = venues.world.all[6 + 5], venues.world.all[6 + SHORT]
    assert [(each["event_type"], each["market_ticker"]) for each in told] == [
        ("created", late.native_id),
        ("determined", short.native_id),
        ("settled", short.native_id),
    ]
    assert told[1]["result"] == "yes" and told[1]["settlement_value"] == "1.0000"


async def test_an_empty_side_has_no_key(venues):
    """A snapshot leaves out the key of a side without levels."""
    world, short = venues.world, venues.world.all[6 + SHORT]
    venues.simulation.advance(short.determined)
    async with venues.kalshi() as socket:
        said = await answers(
            socket, command("subscribe", channels=["orderbook_delta"], market_tickers=[short.native_id, "KXNONE"])
        )
    assert world.book(short, short.determined).bids == ()
    assert [set(each["msg"]) for each in said[1:]] == [{"market_ticker", "market_id"}]


# --- commands ------------------------------------------------------------------------------------


async def test_commands_are_answered_as_documented(venues):
    """Adding, deleting, snapshots, lists and the end of a subscription, each with its reply and its number."""
    one, two, *_ = tickers(venues.world)
    async with venues.kalshi() as socket:
        book, *rest = await answers(socket, command("subscribe", 1, channels=["orderbook_delta"], market_ticker=one))
        assert book == {"id": 1, "type": "subscribed", "msg": {"channel": "orderbook_delta", "sid": 1}}
        assert [(each["type"], each["seq"]) for each in rest] == [("orderbook_snapshot", 1)]
        again = await answers(socket, command("subscribe", 2, channels=["orderbook_delta"], market_tickers=[one, two]))
        assert [(each["type"], each["seq"]) for each in again] == [("ok", 2), ("orderbook_snapshot", 3)]
        assert again[0]["msg"] == {"market_tickers": [one, two]} and again[1]["msg"]["market_ticker"] == two
        (asked,) = await answers(
            socket, command("update_subscription", 3, sid=1, action="get_snapshot", market_ticker=one)
        )
        assert (asked["id"], asked["type"], asked["seq"]) == (3, "orderbook_snapshot", 4)
        (left,) = await answers(
            socket, command("update_subscription", 4, sids=[1], action="delete_markets", market_tickers=[one])
        )
        assert left == {"id": 4, "type": "ok", "sid": 1, "seq": 5, "msg": {"market_tickers": [two]}}
        (short,) = await answers(
            socket,
            command("update_subscription", 5, sids=[1], action="add_markets", market_ticker=two, skip_ticker_ack=True),
        )
        assert short == {"id": 5, "type": "ok", "sid": 1, "seq": 6}
        (end,) = await answers(socket, command("unsubscribe", 6, sids=[1]))
        assert end == {"id": 6, "type": "unsubscribed", "sid": 1, "seq": 7}
        venues.run(5)
        new = await answers(socket, command("subscribe", 7, channels=["orderbook_delta"], market_ticker=one))
        assert new[0]["msg"]["sid"] == 2 and new[1]["seq"] == 1


async def test_wrong_commands_get_their_codes(venues):
    """Each fault is answered by its code; on a subscription that it concerns it takes a number."""
    async with venues.kalshi() as socket:
        await answers(socket, command("subscribe", channels=["trade"]))
        for text, code in (
            ("no json", 1),
            ('{"id":7,"cmd":"subscribe"}', 2),
            (command("subscribe", 7), 3),
            (command("unsubscribe", 7), 4),
            (command("dance", 7), 5),
            (command("unsubscribe", 7, sids=[9]), 7),
            (command("subscribe", 7, channels=["ticker_v2"]), 8),
            (command("subscribe", 7, channels=["trade"], market_tickers="one"), 11),
            (command("update_subscription", 7, sids=[1, 2], action="add_markets"), 12),
            (command("subscribe", 7, channels=["orderbook_delta"]), 14),
            (command("update_subscription", 7, sids=[1]), 15),
        ):
            (answer,) = await answers(socket, text)
            assert (answer["type"], answer["msg"]["code"]) == ("error", code), text
            assert answer.get("id") == (None if code == 1 else 7)
        (answer,) = await answers(socket, command("update_subscription", 8, sids=[1], action="get_snapshot"))
        assert (answer["msg"]["code"], answer["sid"], answer["seq"]) == (13, 1, 1)
        both = await answers(socket, command("subscribe", 9, channels=["nonsense", "ticker"]))
        assert [each["type"] for each in both] == ["error", "subscribed"]


async def test_tickers_at_the_start_if_wanted(venues):
    """`send_initial_snapshot` tells every market's ticker at once."""
    async with venues.kalshi() as socket:
        said = await answers(socket, command("subscribe", channels=["ticker"], send_initial_snapshot=True))
    assert [each["msg"]["market_ticker"] for each in said[1:]] == tickers(venues.world)


async def test_steps_of_the_clock_change_nothing(venues):
    """The same seed and start give the same frames, byte for byte, whatever the steps are."""
    wanted = command("subscribe", channels=ALL, market_tickers=tickers(venues.world))
    async with venues.kalshi() as socket:
        await socket.send(wanted)
        await until_ok(socket)
        venues.run(100)
        one = await until_ok(socket)
    simulation = Simulation(tiny_world(), START, venues.key)
    async with simulation.serving() as ports, replace(venues, simulation=simulation, ports=ports).kalshi() as socket:
        await socket.send(wanted)
        await until_ok(socket)
        simulation.advance(START + 33_333_333)
        simulation.advance(venues.simulation.at)
        assert one == await until_ok(socket) and len(one) > 300
