"""The service around both venues: its clock, its key, its labels, its ports, and clients that are too slow."""

import asyncio
import json
import stat
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from aiohttp import WSMsgType
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from flows.simulator import service
from flows.simulator.keys import ID_FILE, PEM_FILE, Key, load, make
from flows.simulator.labels_file import LabelsFile
from flows.simulator.service import Simulation, simulate
from flows.simulator.stream import Connection, attend
from flows.simulator.world import SimulatedWorld
from flows.venues.base import Outcome, Wire
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.clock import DAY_US, SECOND_US, from_us
from lake.errors import SettingError
from lake.settings import Settings
from lake.settings import load as settings_of
from lake.vocab import Venue
from tests.flows.simulator.conftest import KALSHI_PATH, Venues, until_ok, until_pong
from tests.flows.simulator.reading import Reader, books_of
from tests.flows.simulator.signing import signed
from tests.flows.simulator.tiny import START, tiny_world


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_ports: list[int]) -> Settings:
    """Settings over the tiny world, on free ports."""
    monkeypatch.setattr(service, "SimulatedWorld", lambda seed, markets, rate: tiny_world(seed))
    return settings_of(
        simulator_dir=tmp_path, simulator_polymarket_port=free_ports[0], simulator_kalshi_port=free_ports[1]
    )


@pytest.fixture
def free_ports() -> list[int]:
    import socket

    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


# --- the key -------------------------------------------------------------------------------------


def test_the_key_is_made_once_and_kept_private(tmp_path):
    """A second start finds the same key; its files are the owner's alone; nothing else is left behind."""
    assert load(tmp_path / "new") is None
    key = make(tmp_path / "new")
    assert make(tmp_path / "new") == load(tmp_path / "new") == key
    assert key.pem.startswith("-----BEGIN PRIVATE KEY-----")
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == [ID_FILE, PEM_FILE]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert key.pem[30:60] not in repr(key)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"^SIMULATOR_DIR=.*cannot be written"):
        make(tmp_path / "file" / "below")


# --- labels --------------------------------------------------------------------------------------


def test_labels_are_written_once(tmp_path):
    """At the start those of the last day, then as they happen; a restart adds no line twice."""
    world, file = tiny_world(), tmp_path / "labels-1.jsonl"
    first, said = LabelsFile(tmp_path, 1), []
    first.begin(world, START)
    assert len(file.read_text().splitlines()) == DAY_US // (10 * SECOND_US)
    first.append(world, START + 25 * SECOND_US, said.append)
    first.append(world, START + 25 * SECOND_US, said.append)
    lines = file.read_text().splitlines()
    assert len(lines) == DAY_US // (10 * SECOND_US) + 2
    again = LabelsFile(tmp_path, 1)
    again.begin(world, START + 45 * SECOND_US)
    lines = file.read_text().splitlines()
    assert len(lines) == len(set(lines)) == DAY_US // (10 * SECOND_US) + 4
    file.unlink()
    file.mkdir()
    for second in (60, 90):
        first.append(world, START + second * SECOND_US, said.append)
    assert len(said) == 1 and "the venues go on without labels" in said[0]
    assert set(json.loads(lines[0])) == {"kind", "venue", "native_id", "start", "end", "size"}


# --- slow clients --------------------------------------------------------------------------------


class Stuck:
    """A socket whose client takes nothing."""

    def __init__(self) -> None:
        self.closed_with: int | None = None

    async def send_frame(self, message: bytes, opcode: WSMsgType) -> None:
        await asyncio.Event().wait()

    async def close(self, *, code: int, drain: bool) -> None:
        self.closed_with = code


@pytest.mark.asyncio
async def test_a_slow_client_is_closed_and_its_queue_dropped():
    """Beyond the limit nothing more is kept, and the connection ends with code 1013."""
    socket = Stuck()
    connection = Connection(1, socket, START, limit=1_000)
    task = asyncio.create_task(attend(connection, socket, asyncio.Event().wait()))
    await asyncio.sleep(0)
    for _ in range(100):
        connection.send(b"x" * 100, "book")
    async with asyncio.timeout(5):
        await task
    assert socket.closed_with == 1013 and not connection.is_open and connection.report()["messages"] == 0
    assert len(connection._waiting) == 0


@pytest.mark.asyncio
async def test_a_client_that_stops_reading_is_closed(key):
    """On a real socket: others go on, the report counts one that was too slow, and it finds code 1013 in the end."""
    simulation = Simulation(tiny_world(), START, key, queue_bytes=50_000)
    tally = simulation.polymarket.tally
    wanted = json.dumps({"type": "market", "assets_ids": [tiny_world().all[0].tokens[0]]})
    async with simulation.serving() as (port, _):
        address = f"ws://127.0.0.1:{port}/ws/market"
        slow = await connect(address, compression=None, ping_interval=None, max_queue=1)
        async with connect(address, compression=None) as quick:
            await slow.send("PING")
            await quick.send(wanted)
            first, *_ = tally._connections.values()
            async with asyncio.timeout(10):
                while not tally.slow:
                    first.send(b'"' + b"x" * 20_000 + b'"', "book")
                    simulation.advance(simulation.at + SECOND_US // 10)
                    await asyncio.sleep(0)
                assert len(await until_pong(quick)) > 1 and not first.is_open
                with pytest.raises(ConnectionClosedError, match="1013"):
                    assert [frame async for frame in slow] == []


# --- the service ---------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_service_runs_drains_and_stops(settings):
    """It says where it is, streams as its clock goes on, pings with `heartbeat`, and stops when told to."""
    stop, said, now = asyncio.Event(), [], 0.0
    task = asyncio.create_task(simulate(settings, stop, start=from_us(START), say=said.append, monotonic=lambda: now))
    while len(said) < 2:
        await asyncio.sleep(0.01)
        assert not task.done(), task.result()
    address = f"ws://127.0.0.1:{settings.simulator_polymarket_port}/ws/market"
    async with connect(address) as socket:
        token = tiny_world(settings.simulator_seed).all[0].tokens[0]
        await socket.send(json.dumps({"type": "market", "assets_ids": [token]}))
        assert len(await until_pong(socket)) == 1
        now = 30.0
        assert "price_change" in await asyncio.wait_for(socket.recv(), 5)
        stop.set()
        async with asyncio.timeout(5):
            assert [frame async for frame in socket][-1:] != [] and socket.close_code == 1001
            await task
    assert said[0].startswith(
        f"simulated polymarket: 5 markets on http://127.0.0.1:{settings.simulator_polymarket_port}"
    )
    assert (settings.simulator_dir / f"labels-{settings.simulator_seed}.jsonl").exists()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["simulator_polymarket_port", "simulator_kalshi_port"])
async def test_a_busy_port_is_one_line(settings, name):
    """The port, its setting and the next step; the other port is free again afterwards."""
    port = getattr(settings, name)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)
    async with server:
        with pytest.raises(SettingError, match=rf"^{name.upper()}={port}: the port is in use; end what") as found:
            await simulate(settings, asyncio.Event(), start=from_us(START), say=print)
    assert "\n" not in str(found.value)
    stop = asyncio.Event()
    stop.set()
    await simulate(settings, stop, start=from_us(START) + timedelta(seconds=1), say=print)


@pytest.mark.asyncio
async def test_the_server_pings_with_heartbeat(key: Key):
    """The bytes of a ping frame with the body `heartbeat` come on a signed connection."""
    simulation = Simulation(tiny_world(), START, key, ping_every=0.02)
    async with simulation.serving() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        headers = signed(key, "GET", KALSHI_PATH) | {
            "Host": "127.0.0.1",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        lines = [f"GET {KALSHI_PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert await asyncio.wait_for(reader.readexactly(11), 5) == b"\x89\x09heartbeat"
        writer.close()


# --- the whole of it -----------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_simulated_world_is_told_without_loss(key: Key):
    """Over the real model, half a minute: every frame is read, and all books that are kept are the world's."""
    world, start = SimulatedWorld(7, 120, 60.0), START
    simulation = Simulation(world, start, key)
    polymarket = Reader(Polymarket(), Wire.POLYMARKET_SOCKET)
    kalshi = Reader(Kalshi(use_yes_price=True), Wire.KALSHI_SOCKET)
    tokens = [token for market in world.markets(Venue.POLYMARKET, start) for token in market.tokens]
    tickers = [market.native_id for market in world.markets(Venue.KALSHI, start)]
    books = {"channels": ["orderbook_delta", "trade", "ticker"], "market_tickers": tickers, "use_yes_price": True}
    async with simulation.serving() as ports, httpx.AsyncClient(verify=False) as http:
        venues = Venues(world, simulation, key, ports, http)
        async with venues.polymarket(max_size=None) as one, venues.kalshi(max_size=None) as two:
            await one.send(json.dumps({"type": "market", "assets_ids": tokens, "custom_feature_enabled": True}))
            await two.send(json.dumps({"id": 1, "cmd": "subscribe", "params": books}))
            for _ in range(4):
                polymarket.read(await until_pong(one), simulation.at)
                kalshi.read(await until_ok(two), simulation.at)
                venues.run(10)
            polymarket.read(await until_pong(one), simulation.at)
            kalshi.read(await until_ok(two), simulation.at)
    for reader, venue in ((polymarket, Venue.POLYMARKET), (kalshi, Venue.KALSHI)):
        now = books_of(world, venue, simulation.at)
        kept = {market: book for market, book in reader.books.items() if market in now}
        assert len(kept) > 30 and kept == {market: now[market] for market in kept}
        assert set(reader.outcomes) == {Outcome.APPLIED} and reader.trades
