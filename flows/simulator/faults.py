"""Faults of a simulated venue, switchable while it runs: what is asked for, what lasts, and the seam where it acts.

All faults act between "what the venue would say" and "what is sent": on messages before they are numbered, on frames
after that, on what a client asks for, on handshakes and on answers over REST. The venues' own modules know none of
them. Times are simulated microseconds; chance is a hash of the seed, the fault and a count, so a run can be repeated.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar, Final, Protocol

import msgspec
from aiohttp import web

from flows.simulator.chance import share
from flows.simulator.stream import Connection, Said, Tally
from flows.simulator.wire import iso
from lake.clock import SECOND_US
from lake.vocab import Venue

CONTROL: Final = frozenset(("pong", "subscribed", "unsubscribed", "ok", "error"))
"""Kinds that tell nothing of a market: no fault of messages touches them."""

REMEMBERED: Final = 1_000  # faults that are over

Handler = Callable[[web.Request], Awaitable[web.Response]]


def body_of(answer: web.Response) -> bytes:
    """The bytes of an answer of ours, which is never a stream."""
    assert isinstance(answer.body, bytes)
    return answer.body


class BadFault(ValueError):
    """A fault that cannot be: one line that names what was asked, what was found and the next step."""


class FaultSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What is asked for."""

    kind: str
    seconds: float | None = None  # of simulated time; None = until it is ended
    share: float = 1.0  # of the frames, names, handshakes or requests, 0 to 1
    market: str = ""  # native id; "" = every one
    connection: int = 0  # its number in the venue's report; 0 = every one
    value: float | None = None  # what each kind says; None = the kind's own
    retry_after: float | None = None  # seconds, with a refusal; None = the header is left out
    is_dated: bool = False  # that header as an HTTP date
    path: str = ""  # REST: only paths that begin so


class Desk(Protocol):
    """What a fault may ask of its venue, and do to it."""

    wall: Callable[[], float]

    def tokens(self, market: str) -> Sequence[str]:
        """What clients call the market, beside its id."""

    def alive(self) -> list[Connection]:
        """The open connections."""

    def terminate(self, connection: Connection, code: int, market: str) -> None:
        """End the numbered subscriptions of a connection with that error."""

    def tell(self, kind: str, market: str, value: float, *, is_over: bool) -> None:
        """Say a piece of news, or take it back."""


class Fault:
    """A fault while it lasts; each hook changes nothing unless its kind overrides it."""

    value: ClassVar[float | None] = None
    venues: ClassVar[tuple[Venue, ...]] = tuple(Venue)
    needs_market: ClassVar[bool] = False

    def __init__(
        self, spec: FaultSpec, number: int, venue: Venue, start: int, chance: tuple[object, ...], desk: Desk
    ) -> None:
        self.spec, self.number, self.venue, self.start, self.desk = spec, number, venue, start, desk
        self.end: int | None = None  # when it was over
        self.until = None if spec.seconds is None else start + round(spec.seconds * SECOND_US)
        self.at = start
        self.first: int | None = None
        self.last: int | None = None
        self.hits = 0
        self.given: float = spec.value if spec.value is not None else self.value or 0.0
        self._chance = chance
        self._draws = 0

    # --- what the kinds override -----------------------------------------------------------------

    def begin(self) -> None:
        """Once, as it begins."""

    def finish(self) -> None:
        """Once, when it is over."""

    def told(self, connection: Connection, kind: str, body: bytes) -> Sequence[Said]:
        """What is told instead of a message that has no number yet."""
        return ((kind, body),)

    def sent(self, connection: Connection, kind: str, frame: bytes) -> Sequence[Said]:
        """What is sent instead of a frame."""
        return ((kind, frame),)

    def asked(self, connection: Connection, names: list[str]) -> list[str]:
        """Which of the names that a client asks for it is served."""
        return names

    def accepted(self, connection: Connection) -> None:
        """A handshake was accepted."""

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse | None:
        """What is answered instead of what the handler would; None = nothing else."""
        return None

    # --- what they use ---------------------------------------------------------------------------

    def takes(self, connection: Connection) -> bool:
        """Whether the connection is meant."""
        return self.spec.connection in (0, connection.number)

    def is_about(self, body: bytes) -> bool:
        """Whether the message speaks of the market that is meant."""
        return not self.spec.market or self.spec.market.encode() in body

    def strikes(self) -> bool:
        """Whether it takes this one; noted if so."""
        if self.spec.share < 1.0:
            self._draws += 1
            if share(*self._chance, self._draws) >= self.spec.share:
                return False
        self.hit()
        return True

    def hit(self) -> None:
        """It took something now."""
        self.hits += 1
        self.first = self.at if self.first is None else self.first
        self.last = self.at

    def chosen(self, *parts: object) -> bool:
        """Whether the thing of that name is in the share: always the same."""
        return self.spec.share >= 1.0 or share(*self._chance, *parts) < self.spec.share

    def window(self) -> dict[str, Any]:
        """Its span so far; `first` and `last` are when it took something."""
        return {
            "number": self.number,
            "venue": self.venue.value,
            **msgspec.to_builtins(self.spec),
            "value": self.given,
            "start": self.start,
            "end": self.end,
            "first": self.first,
            "last": self.last,
            "hits": self.hits,
        }

    def report(self) -> dict[str, Any]:
        """`window`, its times to be read."""
        found = self.window()
        return found | {name: None if found[name] is None else iso(found[name]) for name in _TIMES}


_TIMES: Final = ("start", "end", "first", "last")


class Faults:
    """The faults of one venue: `flows.simulator.stream.Seam`."""

    def __init__(
        self,
        venue: Venue,
        kinds: dict[str, type[Fault]],
        seed: int,
        at: int,
        tally: Tally,
        *,
        wall: Callable[[], float],
        tokens: Callable[[str], Sequence[str]] = lambda market: (),
        terminate: Callable[[Connection, int, str], None] = lambda connection, code, market: None,
        tell: Callable[[str, str, float, bool], None],
    ) -> None:
        self.is_calm = True
        self.wall = wall
        self.at = at
        self.noted: Callable[[Fault], None] = lambda _: None  # told of each as it begins and ends
        self._venue, self._kinds, self._seed = venue, kinds, seed
        self._tally, self._tokens, self._terminate, self._news = tally, tokens, terminate, tell
        self._active: list[Fault] = []
        self._over: list[Fault] = []
        self._count = 0
        self._next_end: int | None = None

    # --- switching -------------------------------------------------------------------------------

    def start(self, spec: FaultSpec) -> Fault:
        """Begin one now. Raises `BadFault`."""
        kind = self._checked(spec)
        self._count += 1
        chance = (self._seed, "fault", self._venue.value, self._count)
        fault = kind(spec, self._count, self._venue, self.at, chance, self)
        self._active.append(fault)
        self._changed()
        self.noted(fault)
        fault.begin()
        return fault

    def end(self, number: int | None = None) -> list[Fault]:
        """End that one, or all. Raises `BadFault` where there is none of that number."""
        ended = [fault for fault in self._active if number in (None, fault.number)]
        if number is not None and not ended:
            raise BadFault(f"fault {number}: none of that number lasts; GET lists those that do")
        for fault in ended:
            self._finish(fault, self.at)
        return ended

    def lasting(self) -> list[Fault]:
        """Those that last, the oldest first."""
        return list(self._active)

    def all(self) -> list[Fault]:
        """Those that last and those that are over, by number."""
        return sorted([*self._over, *self._active], key=lambda fault: fault.number)

    def move(self, at: int) -> None:
        """The venue's clock is at `at`: what has run its time is over."""
        self.at = at
        while self._next_end is not None and self._next_end <= at:
            due = self._next_end
            for fault in [each for each in self._active if each.until == due]:
                self._finish(fault, due)
        for fault in self._active:
            fault.at = at

    def _finish(self, fault: Fault, at: int) -> None:
        self._active.remove(fault)
        self._over = [*self._over[-REMEMBERED + 1 :], fault]
        fault.end = at
        self._changed()
        fault.finish()
        self.noted(fault)

    def _changed(self) -> None:
        self.is_calm = not self._active
        self._next_end = min((fault.until for fault in self._active if fault.until is not None), default=None)

    def _checked(self, spec: FaultSpec) -> type[Fault]:
        kind = self._kinds.get(spec.kind)
        if kind is None:
            raise BadFault(f"kind {spec.kind[:40]!r}: there is no such fault; take one of {', '.join(self._kinds)}")
        if self._venue not in kind.venues:
            raise BadFault(f"kind {spec.kind}: {self._venue.value} has no such fault; ask {kind.venues[0].value}")
        if not 0 < spec.share <= 1:
            raise BadFault(f"share {spec.share}: is not in (0, 1]")
        if spec.seconds is not None and not 0 < spec.seconds <= 7 * 86_400:
            raise BadFault(f"seconds {spec.seconds}: is not in (0, a week]; leave it out to last until it is ended")
        if kind.needs_market and not spec.market:
            raise BadFault(f"kind {spec.kind}: needs a market: a condition id or a ticker")
        return kind

    # --- `Desk` ----------------------------------------------------------------------------------

    def alive(self) -> list[Connection]:
        """The open connections."""
        return self._tally.alive()

    def tokens(self, market: str) -> Sequence[str]:
        """What clients call the market, beside its id."""
        return self._tokens(market)

    def terminate(self, connection: Connection, code: int, market: str) -> None:
        """End the numbered subscriptions of a connection with that error."""
        self._terminate(connection, code, market)

    def tell(self, kind: str, market: str, value: float, *, is_over: bool) -> None:
        """Say a piece of news, or take it back."""
        self._news(kind, market, value, is_over)

    # --- the seam --------------------------------------------------------------------------------

    def told(self, connection: Connection, kind: str, body: bytes) -> Sequence[Said]:
        """What is told instead of a message that has no number yet."""
        return self._through(connection, kind, body, lambda fault: fault.told)

    def sent(self, connection: Connection, kind: str, frame: bytes) -> Sequence[Said]:
        """What is sent instead of a frame."""
        return self._through(connection, kind, frame, lambda fault: fault.sent)

    def asked(self, connection: Connection, names: Iterable[str]) -> list[str]:
        """Which of the names that a client asks for it is served."""
        found = list(names)
        for fault in self._active:
            if fault.takes(connection):
                found = fault.asked(connection, found)
        return found

    def accepted(self, connection: Connection) -> None:
        """A handshake was accepted."""
        for fault in self._active:
            fault.accepted(connection)

    def _through(
        self,
        connection: Connection,
        kind: str,
        body: bytes,
        hook: Callable[[Fault], Callable[[Connection, str, bytes], Sequence[Said]]],
    ) -> Sequence[Said]:
        found: Sequence[Said] = ((kind, body),)
        if kind in CONTROL:
            return found
        for fault in self._active:
            if fault.takes(connection):
                found = [each for one in found for each in hook(fault)(connection, *one)]
        return found

    @property
    def middleware(self) -> Any:
        """Where answers over REST and handshakes go through."""

        @web.middleware
        async def misbehave(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self.is_calm and not request.path.startswith("/simulator/"):
                for fault in self.lasting():
                    found = await fault.answer(request, handler)
                    if found is not None:
                        status = getattr(found, "status", 0)
                        self._tally.requests[f"{request.method} {fault.spec.kind} {status}"] += 1
                        return found
            return await handler(request)

        return misbehave
