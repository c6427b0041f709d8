"""One socket that is kept: connected, subscribed, watched, and connected again for ever.

What is said on it is the venue's (`Speaker`); what becomes of a frame is the pipeline's. Received frames are only
stamped and put into the intake. A connection counts as good from its first data on, so one that accepts and then
closes is not asked again in a hurry; and data's age, never a heartbeat's, says whether it is alive.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, PayloadTooBig, WebSocketException

from flows.collector.http import USER_AGENT, is_loopback, retry_after
from flows.collector.intake import Intake
from flows.collector.timing import Clock, Limiter, Timing
from flows.collector.universe import Listed
from flows.venues.base import Wire
from lake.errors import SettingError
from lake.text import safe_text
from lake.vocab import Gap

MOST_FRAME: Final = 32 << 20
REFUSALS: Final = (401, 403)
_POLICY: Final = 1008
_SEND_WITHIN: Final = 5.0

_FULL: Final = {
    Gap.OVERLOAD: "more comes in than can be written",
    Gap.DISK_RESERVE: "the disk is down to its reserve",
}

Send = Callable[[str], Awaitable[None]]


class Speaker(Protocol):
    """A venue's part of the conversation."""

    url: str
    ping: str | None  # a text heartbeat of ours; None = the protocol's own
    is_signed: bool  # whether a handshake needs a key
    wanted: dict[int, Listed]  # the markets that it asks for

    @property
    def markets(self) -> int:
        """How many markets it asks for."""

    def headers(self) -> dict[str, str]:
        """Headers of a handshake now. Raises `SettingError` where there is no usable key, `NotYet`."""

    async def hello(self, send: Send) -> None:
        """Say what is wanted on a connection that was just opened."""

    def is_data(self, payload: bytes) -> bool:
        """Whether a frame tells of a market: no heartbeat, no acknowledgement, no refusal."""

    def heard(self, payload: bytes) -> list[str]:
        """Note what a frame without data says; what is to be sent upon it."""


class NotYet(Exception):
    """Something that is needed to connect is not there yet."""


class _Full(Exception):
    """Nothing more can be taken in."""


class Loss(NamedTuple):
    """Why a connection ended; `wait` seconds, None = the usual back-off."""

    reason: str
    wait: float | None = None
    is_refused: bool = False


async def _at_once(seq: int) -> None:
    """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Link:
    """What all connections share."""

    intake: Intake
    clock: Clock
    timing: Timing
    rng: Random
    connects: Limiter
    say: Callable[[str], None]
    tell: Callable[[str, str], None]  # a connection's name and its words
    kept: Callable[[int], Awaitable[None]] = _at_once  # waits until what is known at the end of that `seq` is on disk
    sealed: Callable[[int], Awaitable[None]] = _at_once  # waits until all up to that `seq` is in the lake


class Connection:
    """A connection by the name that rows give it."""

    def __init__(self, name: str, wire: Wire, speaker: Speaker, link: Link) -> None:
        self.name = name
        self.speaker = speaker
        self.is_good = False  # data came since it was opened
        self.is_refused = False
        self.was_good = asyncio.Event()
        self.failures = 0  # in a row
        self.opens = 0
        self._wire = wire
        self._link = link
        self._socket: ClientConnection | None = None
        self._ended: str | None = None  # why we ended it ourselves
        self._why = Gap.DISCONNECTED  # what it is called in `gaps`
        self._opened = self._heard = self._data = 0.0
        self._is_retired = False
        self._silences = 0  # in a row: a quiet market's connection is not connected again and again

    @property
    def is_down(self) -> bool:
        """Whether it has failed so often that its markets are polled meanwhile."""
        return self.is_refused or self.failures >= self._link.timing.failures_before_polling

    @property
    def opened(self) -> float:
        """When it was opened last, seconds of a clock that nobody sets."""
        return self._opened

    @property
    def is_open(self) -> bool:
        """Whether there is a socket now."""
        return self._socket is not None

    async def run(self) -> None:
        """Keep it connected until cancelled, or retired."""
        while True:
            await self._link.intake.room()  # where nothing more is taken in, a new connection would only fill it
            await self._link.connects.turn()
            loss = await self._life()
            if self._is_retired:
                return
            self.failures = 1 if self.is_good else self.failures + 1
            self.is_good, self.is_refused = False, loss.is_refused
            wait = self._link.timing.delay(self.failures, self._link.rng) if loss.wait is None else loss.wait
            if is_worth_a_word(self.failures):
                self._link.tell(self.name, f"{loss.reason}; again {_soon(wait)}")
            await asyncio.sleep(wait)

    async def send(self, text: str) -> None:
        """Send on the open connection; nothing happens on one that is not."""
        if self._socket is not None:
            with suppress(ConnectionClosed, TimeoutError):
                await asyncio.wait_for(self._socket.send(text), _SEND_WITHIN)

    def restart(self, reason: str) -> None:
        """End this life of the connection; the next begins after the back-off."""
        if self._socket is not None:
            self._ended = self._ended or reason
            self._socket.transport.abort()

    def retire(self) -> None:
        """End it for good: another one has taken its place."""
        self._is_retired = True
        self.restart("replaced")

    # --- one life --------------------------------------------------------------------------------

    async def _life(self) -> Loss:
        self._ended, self._why = None, Gap.DISCONNECTED
        try:
            async with self._connect() as socket:
                await self._talk(socket)
        except NotYet as exc:
            return Loss(str(exc))
        except _Full:
            return Loss(_FULL[self._why], 0.0)  # it waits for room before it connects again
        except SettingError as exc:
            return Loss(str(exc), self._link.timing.refused(self._link.rng), is_refused=True)
        except (WebSocketException, OSError, TimeoutError, EOFError) as exc:
            return self._loss(exc)
        return Loss("closed")

    def _connect(self) -> connect:
        timing, url, is_own_ping = self._link.timing, self.speaker.url, self.speaker.ping is not None
        return connect(
            url,
            additional_headers=self.speaker.headers(),
            user_agent_header=USER_AGENT,
            compression=None,  # costs both sides more time than it saves
            proxy=None if is_loopback(url) else True,
            max_size=MOST_FRAME,
            open_timeout=timing.open_timeout,
            close_timeout=timing.close_timeout,
            ping_interval=None if is_own_ping else timing.ping_every,
            ping_timeout=None if is_own_ping else timing.pong_within,
        )

    async def _talk(self, socket: ClientConnection) -> None:
        """Say what is wanted and receive, side by side: a venue may answer before we have said all."""
        self._opened = self._heard = self._data = self._link.clock.monotonic()
        self._socket = socket
        self.opens += 1
        self._link.intake.opened(self.name, self._wire)
        others = [asyncio.create_task(self._hello(socket)), asyncio.create_task(self._watch(socket))]
        try:
            await self._receive(socket)
        except Exception:  # cancelled is another thing: the feed as a whole ends
            self._link.intake.closed(self.name, self._why)
            raise
        finally:
            self._socket = None
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def _hello(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            await self.speaker.hello(socket.send)

    async def _receive(self, socket: ClientConnection) -> None:
        intake, now, is_data = self._link.intake, self._link.clock.monotonic, self.speaker.is_data
        while True:
            payload = await socket.recv(decode=False)
            intake.frame(self.name, self._wire, payload)
            self._heard = now()
            if is_data(payload):
                self._data = self._heard
                if not self.is_good:
                    self._turn_good()
            else:
                for text in self.speaker.heard(payload):
                    await self.send(text)
            if intake.is_full:
                await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        """Let the venue's frames wait in the network; a connection that waits too long is given up before they rot."""
        intake = self._link.intake
        try:
            await asyncio.wait_for(intake.room(), self._link.timing.full_within)
        except TimeoutError:
            self._why = intake.halt or Gap.OVERLOAD
            raise _Full from None

    def _turn_good(self) -> None:
        self.is_good = True
        self.is_refused = False
        if self.failures:
            self._link.tell(self.name, "connected again")
        self.failures = 0
        self.was_good.set()

    async def _watch(self, socket: ClientConnection) -> None:
        """Send our heartbeat, and end the connection once it is silent for too long."""
        timing, now = self._link.timing, self._link.clock.monotonic
        step = min(1.0, timing.ping_every / 2, timing.silent_busy / 4, timing.silent_any / 4)
        pinged = now()
        while True:
            await asyncio.sleep(step)
            if self.speaker.ping is not None and now() - pinged >= timing.ping_every:
                pinged = now()
                with suppress(ConnectionClosed, TimeoutError):
                    await asyncio.wait_for(socket.send(self.speaker.ping), _SEND_WITHIN)
            silence = self._silence(now())
            if silence is not None:
                self._why = Gap.SILENCE
                self.restart(silence)
                return

    def _silence(self, now: float) -> str | None:
        """Why the connection counts as dead; None while it does not.

        A connection that is silent again after it was connected anew is given twice the time, so that markets in
        which nothing happens do not cost a connection every few seconds.
        """
        timing, age = self._link.timing, now - self._data
        if self.speaker.ping is not None and now - self._heard > timing.pong_within:
            return f"no heartbeat for {now - self._heard:.0f} s"
        is_busy = self.speaker.markets >= timing.busy_markets
        limit = min(timing.silent_any, timing.silent_busy * 2**self._silences if is_busy else timing.silent_any)
        if age <= limit:
            if self._silences and self._data - self._opened > limit:
                self._silences = 0
            return None
        self._silences += 1
        return f"no data for {age:.0f} s"

    def _loss(self, exc: Exception) -> Loss:
        """What an error means: try again soon, when the venue says, or slowly."""
        timing, rng = self._link.timing, self._link.rng
        if isinstance(exc, InvalidStatus):
            code = exc.response.status_code
            if code in REFUSALS:
                advice = "check the key" if self.speaker.is_signed else "it may not serve this place"
                reason = f"the venue refuses us (status {code}): {advice}"
                return Loss(reason, timing.refused(rng), is_refused=True)
            wait = retry_after(exc.response.headers.get("Retry-After"), self._link.clock)
            return Loss(f"status {code}", None if wait is None else wait + rng.uniform(0, 1))
        if self._ended is not None:
            return Loss(self._ended)
        if isinstance(exc, ConnectionClosed):
            return self._closed(exc)
        if isinstance(exc, InvalidURI):
            return Loss("is no address of a socket: check the setting", timing.refused(rng), is_refused=True)
        if isinstance(exc, TimeoutError):
            return Loss("no answer in time")
        if isinstance(exc, ConnectionRefusedError):
            return Loss("the venue refuses the connection")
        if isinstance(exc, OSError):
            return Loss((exc.strerror or type(exc).__name__).lower())
        return Loss(f"no handshake ({type(exc).__name__})")

    def _closed(self, exc: ConnectionClosed) -> Loss:
        if exc.rcvd is None:
            too_big = isinstance(exc.__cause__, PayloadTooBig) or (exc.sent is not None and exc.sent.code == 1009)
            return Loss(f"a message over {MOST_FRAME >> 20} MiB" if too_big else "the connection broke off")
        code, said = exc.rcvd.code, safe_text(exc.rcvd.reason, 80)
        reason = f"closed by the venue ({code}{': ' + said if said else ''})"
        if code == _POLICY:
            return Loss(reason, self._link.timing.refused(self._link.rng), is_refused=True)
        return Loss(reason)


def is_worth_a_word(failures: int) -> bool:
    """Whether a failure in a row is said: the first, fourth, eighth, sixteenth ... is."""
    return failures == 1 or (failures >= 4 and failures & (failures - 1) == 0)


def _soon(wait: float) -> str:
    """In words that many connections share, although their delays differ."""
    return "at once" if wait < 1 else "within a minute" if wait < 60 else f"in {wait / 60:.0f} min"
