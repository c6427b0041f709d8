"""Both simulated venues over the tiny world, on free ports, and clients that read what they send."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import msgspec
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from flows.simulator.keys import Key, make
from flows.simulator.service import Simulation
from lake.clock import SECOND_US
from tests.flows.simulator.signing import signed
from tests.flows.simulator.tiny import START, TinyWorld, tiny_world

KALSHI_PATH = "/trade-api/ws/v2"


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return make(tmp_path_factory.mktemp("simulator"))


@dataclass
class Venues:
    """Both servers, the world behind them, and how to reach them."""

    world: TinyWorld
    simulation: Simulation
    key: Key
    ports: tuple[int, int]
    http: httpx.AsyncClient

    def polymarket(self, **said) -> connect:
        """The market channel."""
        return connect(f"ws://127.0.0.1:{self.ports[0]}/ws/market", ping_interval=None, compression=None, **said)

    def kalshi(self, **said) -> connect:
        """The signed socket."""
        headers = signed(self.key, "GET", KALSHI_PATH)
        return connect(
            f"ws://127.0.0.1:{self.ports[1]}{KALSHI_PATH}", additional_headers=headers, compression=None, **said
        )

    async def get(self, path: str, expected: int = 200, /, **query):
        """The JSON of a Polymarket path (/gamma, /clob, /data) or a Kalshi path (the rest)."""
        answer = await self.http.get(self.address(path), params=query)
        assert answer.status_code == expected, answer.text[:500]
        return answer.json()

    async def post(self, path: str, body, expected: int = 200):
        answer = await self.http.post(self.address(path), content=msgspec.json.encode(body))
        assert answer.status_code == expected, answer.text[:500]
        return answer.json()

    def address(self, path: str) -> str:
        is_poly = path.startswith(("/gamma", "/clob", "/data", "/simulator"))
        return f"http://127.0.0.1:{self.ports[0 if is_poly else 1]}{path if is_poly else '/trade-api/v2' + path}"

    def run(self, seconds: float) -> None:
        """Let so much simulated time pass, in steps of 50 ms."""
        until = self.simulation.at + round(seconds * SECOND_US)
        while self.simulation.at < until:
            self.simulation.advance(min(until, self.simulation.at + 50_000))


async def until_pong(socket: ClientConnection) -> list[bytes]:
    """Everything that was sent up to now, without the PONG that ends it."""
    await socket.send("PING")
    found = []
    while (frame := await socket.recv(decode=False)) != b"PONG":
        found.append(frame)
    return found


async def until_ok(socket: ClientConnection) -> list[bytes]:
    """Everything that was sent up to now, without the answer that ends it."""
    await socket.send('{"id":999,"cmd":"list_subscriptions"}')
    found = []
    while not (frame := await socket.recv(decode=False)).startswith(b'{"id":999,'):
        found.append(frame)
    return found


@pytest_asyncio.fixture
async def venues(key: Key) -> AsyncIterator[Venues]:
    world = tiny_world()
    simulation = Simulation(world, START, key)
    async with simulation.serving() as ports, httpx.AsyncClient(verify=False) as http:
        yield Venues(world, simulation, key, ports, http)
