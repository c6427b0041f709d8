"""What is sent to clients: a bounded queue a connection, a count of everything, and the clock that drives both venues.

What a client is too slow to take waits up to a limit; beyond it the connection is closed with code 1013, "try again
later", as venues do. Everything is counted when the socket took it, so that what a reader stored can be compared.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import count
from typing import Any, Final, Protocol

from aiohttp import ClientError, WSCloseCode, WSMsgType, web

from flows.simulator.base import Happening, World
from flows.simulator.wire import iso
from lake.vocab import Venue

QUEUE_BYTES: Final = 64 * 1024 * 1024
REMEMBERED: Final = 1_000  # connections that the report names; older ones are in its totals only


class Socket(Protocol):
    """What a connection needs of its socket."""

    async def send_frame(self, message: bytes, opcode: WSMsgType) -> None:
        """Send a frame; waits while the client takes none."""


ABORTED: Final = 1006
"""Not a code that is sent: the connection breaks off without a word."""

Said = tuple[str, bytes]
"""Kind and bytes of a message."""


class Seam(Protocol):
    """Between what a venue would say and what is sent: where faults act."""

    is_calm: bool  # nothing is to be changed

    def told(self, connection: "Connection", kind: str, body: bytes) -> Sequence[Said]:
        """What is told instead of a message that has no number yet."""

    def sent(self, connection: "Connection", kind: str, frame: bytes) -> Sequence[Said]:
        """What is sent instead of a frame."""

    def asked(self, connection: "Connection", names: Iterable[str]) -> list[str]:
        """Which of the names that a client asks for it is served."""

    def accepted(self, connection: "Connection") -> None:
        """A handshake was accepted."""


class Watch(Protocol):
    """Who hears what clients ask for."""

    def asked(self, connection: int, channel: str, markets: Iterable[str]) -> None:
        """A connection wants these markets on a channel; "" = all of them."""

    def left(self, connection: int, channel: str, markets: Iterable[str] | None) -> None:
        """It wants them no longer; None = none of that channel."""

    def closed(self, connection: int) -> None:
        """It is gone, with all that it wanted."""


class Connection:
    """A client's socket, and what it is yet to be sent, in order."""

    def __init__(self, number: int, socket: Socket, opened: int, limit: int, seam: Seam | None = None) -> None:
        self.number = number
        self.opened = opened
        self.is_open = True
        self.is_slow = False
        self.frames = self.sent_bytes = self.waiting_bytes = 0
        self.by_kind: Counter[str] = Counter()
        self.code: int = WSCloseCode.OK  # with which it is closed
        self._ended = asyncio.Event()
        self._socket = socket
        self._limit = limit
        self._waiting: deque[tuple[bytes, str, int]] = deque()
        self._more = asyncio.Event()
        self._seam = seam

    def send(self, payload: bytes, kind: str, messages: int = 1) -> None:
        """A text frame that holds so many messages of a kind, and carries no number."""
        if self._seam is None or self._seam.is_calm:
            self._queue(payload, kind, messages)
            return
        for told, body in self._seam.told(self, kind, payload):
            self.put(body, told, messages if told == kind else 1)

    def told(self, kind: str, body: bytes) -> Sequence[Said]:
        """What is to be numbered and `put`, instead of this message."""
        return ((kind, body),) if self._seam is None or self._seam.is_calm else self._seam.told(self, kind, body)

    def put(self, payload: bytes, kind: str, messages: int = 1) -> None:
        """A text frame that is numbered already, or needs no number."""
        if self._seam is None or self._seam.is_calm:
            self._queue(payload, kind, messages)
            return
        for sent, frame in self._seam.sent(self, kind, payload):
            self._queue(frame, sent, messages if sent == kind else 1)

    def served(self, names: Iterable[str]) -> list[str]:
        """Which of the names that it asks for it is to get."""
        return list(names) if self._seam is None or self._seam.is_calm else self._seam.asked(self, names)

    def _queue(self, payload: bytes, kind: str, messages: int) -> None:
        if self._ended.is_set():
            return
        self._waiting.append((payload, kind, messages))
        self.waiting_bytes += len(payload)
        self._more.set()
        if self.waiting_bytes > self._limit:
            self.is_slow = True
            self.end(WSCloseCode.TRY_AGAIN_LATER)

    def end(self, code: int) -> None:
        """Close it with this code; what waits is dropped."""
        self.code = code
        self._waiting.clear()
        self._ended.set()

    async def ended(self) -> None:
        """Waits until it is to be closed."""
        await self._ended.wait()

    async def write(self) -> None:
        """Send what is queued, for ever."""
        while True:
            while self._waiting:
                payload, kind, messages = self._waiting.popleft()
                await self._socket.send_frame(payload, WSMsgType.TEXT)
                self.waiting_bytes -= len(payload)
                self.frames += 1
                self.sent_bytes += len(payload)
                self.by_kind[kind] += messages
            self._more.clear()
            await self._more.wait()

    def report(self) -> dict[str, Any]:
        """What it was sent so far."""
        return {
            "id": self.number,
            "opened": iso(self.opened),
            "open": self.is_open,
            "messages": self.by_kind.total(),
            "frames": self.frames,
            "bytes": self.sent_bytes,
            "waiting_bytes": self.waiting_bytes,
            "by_kind": dict(sorted(self.by_kind.items())),
        }


class Tally:
    """A venue's connections, and the sums of what was sent."""

    def __init__(self, limit: int = QUEUE_BYTES, watch: Watch | None = None) -> None:
        self.limit = limit
        self.seam: Seam | None = None
        self.watch = watch
        self.trades_told = 0  # trades, each once, that at least one connection was subscribed to
        self.slow = 0  # connections closed because they were too slow
        self.requests: Counter[str] = Counter()
        self._numbers = count(1)
        self._connections: OrderedDict[int, Connection] = OrderedDict()
        self._forgotten = Counter[str]()
        self._forgotten_frames = self._forgotten_bytes = 0

    def open(self, socket: Socket, at: int) -> Connection:
        """A new connection."""
        connection = Connection(next(self._numbers), socket, at, self.limit, self.seam)
        self._connections[connection.number] = connection
        if self.seam is not None and not self.seam.is_calm:
            self.seam.accepted(connection)
        if len(self._connections) > REMEMBERED:
            self._forget()
        return connection

    def count(self, connection: Connection) -> None:
        """It was closed."""
        self.slow += connection.is_slow
        if self.watch is not None:
            self.watch.closed(connection.number)

    def alive(self) -> list[Connection]:
        """The open connections."""
        return [connection for connection in self._connections.values() if connection.is_open]

    def asked(self, connection: Connection, channel: str, markets: Iterable[str]) -> None:
        """It wants these markets on a channel."""
        if self.watch is not None:
            self.watch.asked(connection.number, channel, markets)

    def left(self, connection: Connection, channel: str, markets: Iterable[str] | None) -> None:
        """It wants them no longer; None = none of that channel."""
        if self.watch is not None:
            self.watch.left(connection.number, channel, markets)

    async def close(self, _: web.Application) -> None:
        """Close every connection, as a server that goes away."""
        for connection in self._connections.values():
            if connection.is_open:
                connection.end(WSCloseCode.GOING_AWAY)

    def report(self, venue: Venue, at: int) -> dict[str, Any]:
        """Everything that was sent, in all and by connection."""
        connections = self._connections.values()
        kinds = sum((each.by_kind for each in connections), Counter(self._forgotten))
        return {
            "venue": venue.value,
            "simulated_time": iso(at),
            "trades_told": self.trades_told,
            "slow_closed": self.slow,
            "totals": {
                "messages": kinds.total(),
                "frames": self._forgotten_frames + sum(each.frames for each in connections),
                "bytes": self._forgotten_bytes + sum(each.sent_bytes for each in connections),
                "by_kind": dict(sorted(kinds.items())),
            },
            "connections": [each.report() for each in connections],
            "requests": dict(sorted(self.requests.items())),
        }

    def _forget(self) -> None:
        old = next((each for each in self._connections.values() if not each.is_open), None)
        if old is None:
            return
        del self._connections[old.number]
        self._forgotten += old.by_kind
        self._forgotten_frames += old.frames
        self._forgotten_bytes += old.sent_bytes


async def attend(
    connection: Connection,
    socket: web.WebSocketResponse,
    *work: Coroutine[Any, Any, None],
    abort: Callable[[], None] | None = None,
) -> None:
    """Write to the socket and do `work` until one of them ends, or the connection is to be closed; then close it."""
    tasks = [asyncio.create_task(each) for each in (connection.ended(), connection.write(), *work)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            error = task.exception()
            if error is not None and not isinstance(error, ConnectionError | ClientError):
                raise error
    finally:
        connection.is_open = False
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if connection.code == ABORTED and abort is not None:
        abort()
    else:
        await socket.close(code=connection.code, drain=False)


class Exchange(Protocol):
    """A venue's server, as the clock drives it."""

    def happen(self, happening: Happening) -> None:
        """Tell it to whom it concerns."""

    def tick(self, at: int) -> None:
        """A tenth of a simulated second begins at `at`."""

    def move(self, at: int) -> None:
        """Everything up to `at` was told."""


TICK_US: Final = 100_000


class Driver:
    """The one clock of both venues: what happens is told in order, whatever the steps are."""

    def __init__(self, world: World, start: int, venues: dict[Venue, Exchange]) -> None:
        self.at = start
        self._world = world
        self._venues = venues
        self._ticked = start

    def advance(self, now: int) -> None:
        """Tell everything in (`at`, `now`]."""
        for happening in self._world.happenings(self.at, now):
            self._tick(happening.time)
            self._venues[happening.market.venue].happen(happening)
        self._tick(now)
        self.at = now
        for venue in self._venues.values():
            venue.move(now)

    def _tick(self, until: int) -> None:
        edge = self._ticked - self._ticked % TICK_US + TICK_US
        while edge <= until:
            for venue in self._venues.values():
                venue.tick(edge)
            edge += TICK_US
        self._ticked = until
