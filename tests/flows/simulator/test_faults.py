"""Faults of connections, switched while clients are connected: what each does, and that it ends."""

import asyncio
import json
import socket
from email.utils import parsedate_to_datetime

import pytest
from websockets.exceptions import InvalidStatus

from flows import cli
from flows.simulator.fault_kinds import KINDS, about
from flows.simulator.faults import BadFault, FaultSpec
from flows.simulator.service import Simulation
from lake.clock import SECOND_US
from lake.vocab import Venue
from tests.flows.simulator.conftest import Venues, until_ok, until_pong
from tests.flows.simulator.faulty import KALSHI, POLY, heard, opened, stream, subscribe
from tests.flows.simulator.tiny import END, START, tiny_world

# --- silence -------------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.asyncio
async def test_a_silent_connection_still_answers(venues, venue):
    """Heartbeats and commands are answered, data is not; when it is over, messages come without a hole."""
    async with opened(venues, venue) as socket:
        await socket.send(subscribe(venues, venue))
        before = await heard(socket, venue)
        fault = venues.simulation.fault(venue, "silence", seconds=10, connection=1)
        venues.run(10)
        assert await heard(socket, venue) == [] and fault.hits > 5
        assert START < fault.first < fault.last <= fault.until == fault.end == START + 10 * SECOND_US
        venues.run(10)
        after = await heard(socket, venue)
    assert len(after) > 5
    if venue is KALSHI:
        numbers: dict[int, list[int]] = {}
        for frame in map(json.loads, [*before, *after]):
            numbers.setdefault(frame["sid"], []).append(frame["seq"])
        assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())


@pytest.mark.asyncio
async def test_silence_of_one_connection_is_no_other_ones(venues):
    """Only the connection that is named falls silent."""
    async with venues.polymarket() as one, venues.polymarket() as two:
        for socket in (one, two):
            await socket.send(subscribe(venues, POLY))
            await until_pong(socket)
        venues.simulation.fault(POLY, "silence", connection=2)
        venues.run(10)
        assert len(await until_pong(one)) > 10 and await until_pong(two) == []


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.asyncio
async def test_a_frozen_market_moves_on_over_rest(venues, venue):
    """Its messages alone are withheld, REST goes on, and a subscription anew heals it, if the share says so."""
    market = next(each for each in venues.world.all if each.venue is venue)
    async with opened(venues, venue) as socket:
        await socket.send(subscribe(venues, venue))
        await heard(socket, venue)
        fault = venues.simulation.fault(venue, "freeze", market=market.native_id)
        venues.run(20)
        frames = await heard(socket, venue)
        assert len(frames) > 10 and not any(market.native_id.encode() in frame for frame in frames)
        if venue is POLY:
            book = await venues.get("/clob/book", token_id=market.tokens[0])
            assert int(book["timestamp"]) * 1_000 > START
            await socket.send(json.dumps({"operation": "unsubscribe", "assets_ids": market.tokens}))
            await socket.send(json.dumps({"operation": "subscribe", "assets_ids": market.tokens}))
        else:
            before = (await venues.get(f"/markets/{market.native_id}/orderbook"))["orderbook_fp"]
            assert (
                before
                == (await venues.get("/markets/orderbooks", tickers=market.native_id))["orderbooks"][0]["orderbook_fp"]
            )
            update = {"sids": [1], "market_tickers": [market.native_id]}
            for number, action in ((2, "delete_markets"), (3, "add_markets")):
                said = {"id": number, "cmd": "update_subscription", "params": update | {"action": action}}
                await socket.send(json.dumps(said))
        await heard(socket, venue)
        hits = fault.hits
        venues.run(20)
        assert any(market.native_id.encode() in frame for frame in await heard(socket, venue))
        assert fault.hits == hits > 3


# --- connections ---------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1013])
@pytest.mark.asyncio
async def test_connections_are_closed_with_a_code(venues, venue, code):
    async with opened(venues, venue) as socket:
        await socket.send(subscribe(venues, venue))
        await heard(socket, venue)
        venues.simulation.fault(venue, "close", value=code)
        async with asyncio.timeout(10):
            await socket.wait_closed()
        assert socket.close_code == code
    assert venues.simulation.polymarket.tally.slow == venues.simulation.kalshi.tally.slow == 0


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.asyncio
async def test_connections_break_off(venues, venue):
    """Without a close frame: the client sees code 1006."""
    async with opened(venues, venue) as socket:
        await socket.send(subscribe(venues, venue))
        await heard(socket, venue)
        venues.simulation.fault(venue, "abort", seconds=1)
        async with asyncio.timeout(10):
            await socket.wait_closed()
        assert socket.close_code == 1006
    async with opened(venues, venue) as socket:  # the venue lives
        await socket.send(subscribe(venues, venue))
        assert await heard(socket, venue)


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.asyncio
async def test_handshakes_are_accepted_and_closed(venues, venue):
    """Each new connection ends at once, until the fault is over; the ones that were there live on."""
    async with opened(venues, venue) as old:
        await heard(old, venue)
        venues.simulation.fault(venue, "accept-then-close", seconds=5)
        async with opened(venues, venue) as socket, asyncio.timeout(10):
            await socket.wait_closed()
            assert socket.close_code == 1013
        await heard(old, venue)
    venues.run(5)
    async with opened(venues, venue) as socket:
        await socket.send(subscribe(venues, venue))
        assert await heard(socket, venue)


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (403, {}, None),
        (429, {"retry_after": 7}, "7"),
        (429, {"retry_after": 90, "is_dated": True}, "date"),
        (503, {}, None),
    ],
)
@pytest.mark.asyncio
async def test_handshakes_are_refused(key, venue, status, said, expected):
    """With a status, a page of HTML, and `Retry-After` as seconds or as a date."""
    simulation = Simulation(tiny_world(), START, key, wall=lambda: 1_790_000_000.0)
    async with simulation.serving() as ports:
        venues = Venues(tiny_world(), simulation, key, ports, None)
        simulation.fault(venue, "refuse", value=status, **said)
        with pytest.raises(InvalidStatus) as refused:
            await opened(venues, venue)
    answer = refused.value.response
    assert answer.status_code == status and b"<html>" in answer.body
    header = answer.headers.get("Retry-After")
    assert header == expected or parsedate_to_datetime(header).timestamp() == 1_790_000_090


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.asyncio
async def test_a_part_of_the_asked_is_lost(venues, venue):
    """The same part each time on a connection, another one on another; nothing of it is told."""
    venues.simulation.fault(venue, "lost-subscribe", share=0.5)
    names = [each.native_id for each in venues.world.all if each.venue is venue]
    served = []
    for _ in range(4):
        async with opened(venues, venue) as socket:
            await socket.send(subscribe(venues, venue))
            frames = await heard(socket, venue)
            served.append({name for name in names[:4] if any(name.encode() in frame for frame in frames)})
    assert len({frozenset(each) for each in served}) > 1 and any(each < set(names[:4]) for each in served)


@pytest.mark.asyncio
async def test_a_lost_command_is_not_acknowledged(venues):
    """On Kalshi a command whose every ticker is lost gets no answer at all."""
    venues.simulation.fault(KALSHI, "lost-subscribe")
    async with venues.kalshi() as socket:
        params = {"channels": ["trade"], "market_tickers": [venues.world.all[6].native_id]}
        await socket.send(json.dumps({"id": 1, "cmd": "subscribe", "params": params}))
        assert await until_ok(socket) == []


@pytest.mark.asyncio
async def test_too_many_tokens_get_no_books(key):
    """Above the ceiling the first books never come, changes still do."""
    simulation = Simulation(tiny_world(), START, key, ceiling=4)
    async with simulation.serving() as ports:
        venues = Venues(tiny_world(), simulation, key, ports, None)
        async with venues.polymarket() as socket:
            await socket.send(subscribe(venues, POLY, 3))
            assert await until_pong(socket) == []
            venues.run(10)
            assert any(b"price_change" in frame for frame in await until_pong(socket))


@pytest.mark.parametrize("venue", Venue)
@pytest.mark.asyncio
async def test_results_are_never_told(venues, venue):
    frames = await stream(venues, venue, 130, "no-result")
    assert frames and not any(word in frame for frame in frames for word in (b"market_resolved", b'"determined"'))


@pytest.mark.parametrize("code", [10, 25])
@pytest.mark.asyncio
async def test_kalshi_ends_subscriptions_with_an_error(venues, code):
    """Books and trades end, each with a numbered error; a new subscription gets a new sid."""
    async with venues.kalshi() as socket:
        await socket.send(subscribe(venues, KALSHI))
        before = [json.loads(frame) for frame in await heard(socket, KALSHI)]
        venues.simulation.fault(KALSHI, "terminate", value=code)
        venues.run(25)
        after = [json.loads(frame) for frame in await heard(socket, KALSHI)]
        errors = [each for each in after if each["type"] == "error"]
        assert [(each["sid"], each["msg"]["code"]) for each in errors] == [(1, code), (2, code)]
        assert errors[0]["seq"] == sum(each["sid"] == 1 for each in before) + 1
        assert {each["type"] for each in after} == {"error"}
        await socket.send(subscribe(venues, KALSHI))
        assert {json.loads(frame).get("sid") for frame in await heard(socket, KALSHI)} >= {4}


# --- switching -----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_control_route(venues):
    """POST begins, GET lists with what each kind does, DELETE ends; what cannot be is told in one line."""
    address = f"http://127.0.0.1:{venues.ports[0]}/simulator/faults"
    begun = await venues.http.post(address, json={"kind": "silence", "seconds": 30, "share": 0.5})
    assert begun.status_code == 201 and begun.json()["number"] == 1 and begun.json()["end"] is None
    listed = (await venues.http.get(address)).json()
    assert [fault["kind"] for fault in listed["faults"]] == ["silence"] and set(listed["kinds"]) == set(KINDS)
    for body, words in (
        (b"{", "truncated"),
        (b'{"kind":"nonsense"}', "no such fault; take one of silence, freeze"),
        (b'{"kind":"silence","sahre":1}', "unknown field `sahre`"),
        (b'{"kind":"silence","share":0}', r"share 0.0: is not in (0, 1]"),
        (b'{"kind":"silence","seconds":-1}', "seconds -1.0: is not in"),
        (b'{"kind":"freeze"}', "needs a market"),
        (b'{"kind":"hole"}', "polymarket has no such fault; ask kalshi"),
        (b'{"kind":"\xff"}', "utf-8"),
    ):
        refused = await venues.http.post(address, content=body)
        assert refused.status_code == 400 and words in refused.json()["error"].replace("UTF", "utf"), refused.text
    assert (await venues.http.delete(f"{address}/7")).status_code == 404
    assert (await venues.http.delete(f"{address}/x")).status_code == 400
    ended = (await venues.http.delete(f"{address}/1")).json()["ended"]
    assert [(fault["number"], fault["end"] is None) for fault in ended] == [(1, False)]
    assert (await venues.http.get(address)).json()["faults"] == []
    assert len((await venues.http.get(address, params={"all": 1})).json()["faults"]) == 1


@pytest.mark.asyncio
async def test_a_fault_ends_at_its_second_whatever_the_steps_are(venues):
    """In one step of a minute the fault takes what happens in its ten seconds and no more."""
    async with venues.polymarket() as socket:
        await socket.send(subscribe(venues, POLY))
        await until_pong(socket)
        fault = venues.simulation.fault(POLY, "silence", seconds=10)
        venues.simulation.advance(START + 60 * SECOND_US)
        frames = [json.loads(frame) for frame in await until_pong(socket)]
    assert frames and min(int(frame["timestamp"]) for frame in frames) * 1_000 + 1_000 > fault.until
    assert fault.last < fault.until == fault.end and not venues.simulation.polymarket.faults.lasting()


@pytest.mark.asyncio
async def test_chance_is_of_the_seed(key):
    """The same seed takes the same frames, another seed others."""

    async def taken(seed: int) -> list[bytes]:
        simulation = Simulation(tiny_world(), START, key, seed=seed)
        async with simulation.serving() as ports:
            return await stream(Venues(tiny_world(), simulation, key, ports, None), POLY, 20, "silence", share=0.5)

    one, same, other = await taken(1), await taken(1), await taken(2)
    assert one == same != other


@pytest.mark.asyncio
async def test_a_calm_venue_is_as_before(venues):
    """After a fault has ended nothing is changed any more, byte for byte."""
    venues.simulation.fault(POLY, "wrong-type", seconds=1)
    venues.run(1)
    assert venues.simulation.polymarket.faults.is_calm
    one = await stream(venues, POLY, 20)
    simulation = Simulation(tiny_world(), START, venues.key)
    simulation.advance(START + SECOND_US)
    async with simulation.serving() as ports:
        two = await stream(Venues(tiny_world(), simulation, venues.key, ports, None), POLY, 20)
    assert one == two and venues.simulation.at < END


@pytest.mark.asyncio
async def test_every_kind_says_what_it_does(venues):
    """A line each, and a name that can be typed."""
    for name in KINDS:
        assert name == name.lower() and about(name).endswith((".", ".")) and len(about(name)) > 20
    with pytest.raises(BadFault, match="take one of"):
        venues.simulation.fault(POLY, "")


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_command_switches_faults(venues, monkeypatch):
    """`movers fault` begins, lists and ends them; what cannot be is one line with the next step."""
    monkeypatch.setenv("SIMULATOR_POLYMARKET_PORT", str(venues.ports[0]))
    monkeypatch.setenv("SIMULATOR_KALSHI_PORT", str(venues.ports[1]))

    async def movers(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["movers", "fault", *arguments])
        said: list[str] = []
        monkeypatch.setattr(cli.err, "print", lambda text, **_: said.append(str(text)))

        def run() -> int:
            try:
                cli.main()
            except SystemExit as exc:
                return int(exc.code or 0)
            return 0

        return await asyncio.to_thread(run), "\n".join(said)

    code, said = await movers("kalshi", "silence", "--seconds", "30", "--share", "0.5", "--connection", "2")
    assert code == 0 and "begun: fault 1, silence, 0 hits" in said
    fault, *_ = venues.simulation.kalshi.faults.lasting()
    assert fault.spec == FaultSpec(kind="silence", seconds=30, share=0.5, connection=2)
    code, said = await movers("kalshi", "list")
    assert code == 0 and "lasts: fault 1" in said and all(about(name) in said for name in KINDS)
    code, said = await movers("kalshi", "end", "--number", "1")
    assert code == 0 and "ended: fault 1" in said and not venues.simulation.kalshi.faults.lasting()
    for arguments, words in (
        (("kalshi", "nonsense"), "there is no such fault; take one of silence"),
        (("nowhere", "silence"), "'nowhere': is neither polymarket nor kalshi"),
        (("kalshi", "end", "--number", "9"), "fault 9: none of that number lasts"),
    ):
        code, said = await movers(*arguments)
        assert code == 2 and words in said and "\n" not in said.strip(), said
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("SIMULATOR_KALSHI_PORT", str(free.getsockname()[1]))
        code, said = await movers("kalshi", "list")
        assert code == 2 and "does not answer" in said and "SIMULATOR_KALSHI_PORT" in said


def test_the_help_names_every_kind():
    """And no other."""
    told = " ".join(line for line in (cli.fault.__doc__ or "").splitlines() if ": " in line.strip()[:13])
    words = {word for word in told.replace(":", " ").split() if word == word.lower()}
    assert set(KINDS) <= words
