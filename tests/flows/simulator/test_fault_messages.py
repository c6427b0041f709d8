"""Faults of messages and of REST, and news: what each does, and what a reader makes of it."""

import gzip
import json

import httpx
import pytest

from flows.simulator.service import Simulation
from flows.venues.base import Frame, Hole, Outcome, Wire
from lake.clock import parse_time, to_us
from lake.vocab import Venue
from tests.flows.simulator.conftest import Venues, until_pong
from tests.flows.simulator.faulty import KALSHI, POLY, heard, opened, read, stream, subscribe
from tests.flows.simulator.reading import books_of
from tests.flows.simulator.tiny import START, tiny_world

# --- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["malformed", "bad-utf8", "missing-field", "wrong-type"])
@pytest.mark.asyncio
async def test_bad_copies_leave_polymarkets_books_alone(venues, kind):
    """Every bad copy is a dead letter, and the books and trades are those of a clean run."""
    async with venues.polymarket() as socket:
        await socket.send(subscribe(venues, POLY, 6))
        frames = await until_pong(socket)
        fault = venues.simulation.fault(POLY, kind)
        venues.run(100)
        frames += await until_pong(socket)
    reader = read(POLY, frames)
    assert reader.outcomes[Outcome.DEAD] == fault.hits > 100
    now = books_of(venues.world, POLY, venues.simulation.at)
    kept = {market: book for market, book in reader.books.items() if market in now}
    assert len(kept) >= 4 and kept == {market: now[market] for market in kept}
    assert len(reader.trades) == venues.simulation.polymarket.tally.trades_told


@pytest.mark.parametrize("kind", ["malformed", "bad-utf8", "missing-field", "wrong-type"])
@pytest.mark.asyncio
async def test_bad_copies_on_kalshi_are_dead(venues, kind):
    """Every bad copy is a dead letter; numbered ones have numbers of their own, so they make no hole."""
    frames = await stream(venues, KALSHI, 60, kind)
    fault, *_ = venues.simulation.kalshi.faults.all()
    reader = read(KALSHI, [])
    for place, frame in enumerate(frames):
        reader.messages += reader._adapter.parse(Frame(place, "c", venues.simulation.at, frame, Wire.KALSHI_SOCKET))
    assert reader.outcomes[Outcome.DEAD] == fault.hits > 50
    assert not any(isinstance(action, Hole) for each in reader.messages[1:] for action in each.actions)


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.asyncio
async def test_strange_kinds_and_fields_change_nothing(venues, venue):
    """Unknown kinds are ignored by name, unknown fields stand in messages that are read as before."""
    async with opened(venues, venue) as socket:
        await socket.send(subscribe(venues, venue))
        frames = await heard(socket, venue)
        strange = venues.simulation.fault(venue, "unknown-kind", share=0.3)
        novel = venues.simulation.fault(venue, "unknown-field")
        venues.run(40)
        frames += await heard(socket, venue)
    reader = read(venue, frames)
    assert reader.outcomes[Outcome.DEAD] == 0
    assert {message.kind for message in reader.messages if message.outcome is Outcome.IGNORED} == {"unknown:novelty"}
    assert 5 < strange.hits < novel.hits and sum(b"novel_field" in frame for frame in frames) == novel.hits
    now = books_of(venues.world, venue, venues.simulation.at)
    assert {market: now[market] for market in reader.books} == reader.books


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.asyncio
async def test_huge_frames(venues, venue):
    """One frame of so many MiB on each connection."""
    async with opened(venues, venue) as socket:
        await heard(socket, venue)
        venues.simulation.fault(venue, "huge", value=9)
        frames = await heard(socket, venue)
    assert [len(frame) > 9 * 1024**2 for frame in frames] == [True]
    assert read(venue, frames).messages[0].kind == "unknown:huge"


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.asyncio
async def test_duplicates_are_byte_for_byte(venues, venue):
    frames = await stream(venues, venue, 30, "duplicate")
    assert len(frames) > 40 and frames[::2] == frames[1::2]


@pytest.mark.asyncio
async def test_holes_are_numbered_and_not_sent(venues):
    """The numbers that come skip some: as many as the fault took."""
    frames = [json.loads(frame) for frame in await stream(venues, KALSHI, 60, "hole", share=0.2)]
    fault, *_ = venues.simulation.kalshi.faults.all()
    books = [frame["seq"] for frame in frames if frame["sid"] == 1]
    trades = [frame["seq"] for frame in frames if frame["sid"] == 2]
    missing = sum(found[-1] - found[0] + 1 - len(found) for found in (books, trades))
    assert 5 < missing <= fault.hits <= missing + 8  # the first and the last may be taken too


@pytest.mark.asyncio
async def test_reordered_frames_are_of_two_markets(venues):
    """The same frames in another order, each market's own in theirs."""
    plain = await stream(venues, POLY, 30)
    simulation = Simulation(tiny_world(), START, venues.key)
    async with simulation.serving() as ports:
        other = Venues(tiny_world(), simulation, venues.key, ports, venues.http)
        async with other.polymarket() as socket:
            await socket.send(subscribe(other, POLY))
            await until_pong(socket)
            simulation.fault(POLY, "reorder", share=0.5)
            other.run(30)
            simulation.mend(POLY)
            mixed = await until_pong(socket)
    assert mixed != plain and sorted(mixed) == sorted(plain)
    for market in {json.loads(frame)["market"] for frame in plain}:
        assert [f for f in mixed if market.encode() in f] == [f for f in plain if market.encode() in f]


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.asyncio
async def test_a_clock_that_is_off(venues, venue):
    """Times of messages and of the tape of trades are later by so much."""
    frames = [json.loads(frame) for frame in await stream(venues, venue, 30, "clock", value=4.5)]
    now = venues.simulation.at // 1_000
    told = [frame if venue is POLY else frame["msg"] for frame in frames]
    times = [int(each.get("timestamp") or each.get("ts_ms") or 0) for each in told if "open_ts" not in each]
    times = [time for time in times if time]
    assert min(times) > START // 1_000 + 4_500 and now + 2_000 < max(times) <= now + 4_500
    if venue is POLY:
        tape = await venues.get("/data/trades", limit=1)
        assert tape[0]["timestamp"] > now // 1_000
        assert await venues.get("/clob/time") == now // 1_000 + 4
    else:
        trade = next(each["msg"] for each in reversed(frames) if each["type"] == "trade")
        known = await venues.get("/markets/trades", limit=100, ticker=trade["market_ticker"])
        row = next(each for each in known["trades"] if each["trade_id"] == trade["trade_id"])
        assert to_us(parse_time(row["created_time"])) // 1_000 == trade["ts_ms"]


# --- REST ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/gamma/events", "/markets"])
@pytest.mark.asyncio
async def test_answers_over_rest(venues, path):
    """Refusals, bodies that are none, redirects; and the right answer again when they are over."""
    venue = POLY if path.startswith("/gamma") else KALSHI
    right = await venues.get(path, limit=5)

    async def under(kind: str, **said) -> httpx.Response:
        venues.simulation.fault(venue, kind, path=path if venue is POLY else "", **said)
        try:
            async with venues.http.stream("GET", venues.address(path), params={"limit": 5}) as answer:
                body = b"".join([part async for part in answer.aiter_raw()])
                return answer, body
        finally:
            venues.simulation.mend()

    answer, body = await under("status", value=429, retry_after=3)
    assert answer.status_code == 429 and answer.headers["Retry-After"] == "3" and json.loads(body)["error"]
    answer, _ = await under("status", value=429)
    assert answer.status_code == 429 and "Retry-After" not in answer.headers
    answer, _ = await under("status")
    assert answer.status_code == 503
    answer, body = await under("html")
    assert answer.status_code == 200 and body.startswith(b"<!doctype html>")
    answer, body = await under("empty")
    assert answer.status_code == 200 and body == b""
    answer, body = await under("truncated")
    assert answer.headers["Content-Encoding"] == "gzip"
    with pytest.raises(EOFError):
        gzip.decompress(body)
    answer, body = await under("bomb", value=2)
    assert len(body) < 10_000 and len(gzip.decompress(body)) > 2 * 1024**2
    answer, body = await under("cut-json")
    assert 2 * len(body) <= len(json.dumps(right)) and body[:1] == b"[{"[: 1 + (venue is KALSHI)][-1:]
    answer, _ = await under("redirect")
    assert answer.status_code == 302 and answer.headers["Location"] == "/simulator/elsewhere"
    answer, body = await under("slow", value=0.01)
    assert json.loads(body) == right == await venues.get(path, limit=5)


@pytest.mark.asyncio
async def test_faults_of_one_path_leave_others_alone(venues):
    venues.simulation.fault(POLY, "status", path="/clob/books")
    await venues.post("/clob/books", [], 503)
    await venues.get("/gamma/events")


# --- news ----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_kalshi_tells_news_and_takes_it_back(venues):
    """On the lifecycle channel and over REST; each message is read, and when it is over all is as before."""
    market = venues.world.all[6]
    path = f"/markets/{market.native_id}"
    async with venues.kalshi() as socket:
        await socket.send('{"id":1,"cmd":"subscribe","params":{"channels":["market_lifecycle_v2"]}}')
        await heard(socket, KALSHI)
        before = (await venues.get(path))["market"]
        for kind in ("pause", "close-date", "fee-update", "metadata"):
            venues.simulation.fault(KALSHI, kind, market=market.native_id, seconds=2)
        frames = await heard(socket, KALSHI)
        during = (await venues.get(path))["market"]
        assert [row["ticker"] for row in (await venues.get("/markets", status="paused"))["markets"]] == [
            market.native_id
        ]
        venues.run(3)
        over = await heard(socket, KALSHI)
        after = (await venues.get(path))["market"]
    told = [json.loads(frame)["msg"] for frame in [*frames, *over]]
    kinds = [each.get("event_type", "event_fee_update") for each in told]
    assert kinds == [
        *("deactivated", "close_date_updated", "event_fee_update", "metadata_updated"),
        *("activated", "close_date_updated", "event_fee_update", "metadata_updated"),
    ]
    assert told[1]["close_ts"] == told[5]["close_ts"] + 3_600 and told[6]["fee_multiplier_override"] is None
    assert (during["status"], during["yes_sub_title"]) == ("inactive", f"{market.label} (renamed)")
    names = ("status", "yes_sub_title", "close_time")
    assert [after[name] for name in names] == [before[name] for name in names] != [during[name] for name in names]
    assert read(KALSHI, [*frames, *over]).outcomes[Outcome.DEAD] == 0


@pytest.mark.asyncio
async def test_polymarket_changes_a_tick_size(venues):
    """Both tokens are told, each followed by its book; the catalogue and the books over REST say the same."""
    market = venues.world.all[0]
    async with venues.polymarket() as socket:
        await socket.send(subscribe(venues, POLY))
        await heard(socket, POLY)
        venues.simulation.fault(POLY, "tick-size", market=market.native_id, value=0.001)
        frames = await heard(socket, POLY)
        found = [each for frame in frames for each in (json.loads(frame), json.loads(frame))[:1]]
        kinds = [each[0]["event_type"] if isinstance(each, list) else each["event_type"] for each in found]
        assert kinds == ["tick_size_change", "book"] * 2
        assert (found[0]["old_tick_size"], found[0]["new_tick_size"]) == ("0.01", "0.001")
        assert found[1][0]["tick_size"] == "0.001"
        assert (await venues.get("/clob/book", token_id=market.tokens[0]))["tick_size"] == "0.001"
        listed = await venues.get("/gamma/markets", condition_ids=market.native_id)
        assert listed[0]["orderPriceMinTickSize"] == 0.001
        venues.simulation.mend(POLY)
        assert json.loads((await heard(socket, POLY))[0])["new_tick_size"] == "0.01"
    assert read(POLY, frames).outcomes[Outcome.DEAD] == 0
