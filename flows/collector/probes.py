"""What a capture asks over REST beside the sockets: books, markets, trades, status, time; answers are kept whole.

Some are asked once, to settle a question about the venue; others every minute, to compare with the streams. They go
into a file of their own, which replay leaves alone: the collector would not have asked for them.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import msgspec

from flows.collector.census import spread
from flows.collector.connection import is_worth_a_word
from flows.collector.http import Answered, Http, VenueError
from flows.collector.tape import Tape
from flows.collector.timing import MINUTE, Clock
from flows.collector.universe import Listed
from lake.clock import SECOND_US
from lake.text import safe_text
from lake.vocab import Venue

SOME: Final = 20
"""Markets that a probe names."""

HEADS: Final = ("date", "age", "cf-cache-status", "x-cache", "retry-after", "server", "content-type")
"""Headers that are kept; of others those that speak of a rate limit."""


class Probe(NamedTuple):
    """A question by its name; `once` = at the start only."""

    name: str
    path: str
    params: Mapping[str, Any] | None = None
    body: Any = None
    once: bool = False


def polymarket(markets: list[Listed]) -> dict[str, list[Probe]]:
    """What is asked of each of Polymarket's services: gamma, clob, data."""
    some = markets[:SOME]
    tokens, names = [one.tokens[0] for one in some], [one.native_id for one in some]
    page = {"closed": "false", "limit": 100}
    gamma = [
        Probe("offset_page", "/events", page | {"offset": 100}, once=True),
        Probe("keyset_500", "/events/keyset", page | {"limit": 500}, once=True),
        Probe("markets", "/markets", {"condition_ids": names, "limit": 100}),
    ]
    clob = [
        Probe("time", "/time"),
        Probe("books", "/books", body=[{"token_id": token} for token in tokens]),
        *(Probe("last_trade", "/last-trade-price", {"token_id": token}, once=True) for token in tokens[-1:]),
        *(
            Probe("history", "/prices-history", {"market": token, "interval": "1h", "fidelity": 1}, once=True)
            for token in tokens[:1]
        ),
    ]
    data = [
        Probe("trades", "/trades", {"market": ",".join(names), "limit": 100}),
        Probe("open_interest", "/oi", {"market": ",".join(names)}, once=True),
    ]
    return {"gamma": gamma, "clob": clob, "data": data}


def kalshi(markets: list[Listed], now: int) -> dict[str, list[Probe]]:
    """What is asked of Kalshi; `now` in microseconds."""
    some = [one.native_id for one in markets[:SOME]]
    later = now // SECOND_US + 86_400
    plain: dict[str, Any] = {"mve_filter": "exclude"}
    open_ = plain | {"status": "open"}
    return {
        "kalshi": [
            Probe("status", "/exchange/status"),
            Probe("schedule", "/exchange/schedule", once=True),
            Probe("endpoint_costs", "/account/endpoint_costs", once=True),
            Probe("cutoff", "/historical/cutoff", once=True),
            Probe("markets_1000", "/markets", open_ | {"limit": 1000}, once=True),
            Probe("time_filter", "/markets", plain | {"limit": 10, "min_updated_ts": later}, once=True),
            Probe("markets", "/markets", {"tickers": ",".join(some), "limit": 100}),
            Probe("books", "/markets/orderbooks", {"tickers": some}),
            Probe("trades", "/markets/trades", {"limit": 100}),
        ]
    }


class Seen(NamedTuple):
    """What came of one probe; `value` is the answer, None if there was none."""

    venue: Venue
    probe: Probe
    error: str
    value: Any
    size: int


class Prober:
    """Asks, keeps answers on a tape, and remembers the last of each."""

    def __init__(self, tape: Tape, clock: Clock, say: Callable[[str], None]) -> None:
        self.last: dict[tuple[Venue, str], Seen] = {}
        self._tape = tape
        self._clock = clock
        self._say = say
        self._failures: Counter[tuple[Venue, str]] = Counter()

    async def run(self, venue: Venue, http: Http, probes: list[Probe], every: float = MINUTE) -> None:
        """Ask all, then those that are asked every minute, until cancelled."""
        while True:
            for probe in probes:
                await self.ask(venue, http, probe)
            probes = [probe for probe in probes if not probe.once]
            await asyncio.sleep(every)

    async def ask(self, venue: Venue, http: Http, probe: Probe) -> bytes | None:
        """One answer; None if there was none, which is kept too."""
        answer, error = None, ""
        try:
            answer = await self._answer(http, probe)
        except VenueError as exc:
            error = safe_text(str(exc), 200)
            self._failures[venue, probe.name] += 1
            if is_worth_a_word(self._failures[venue, probe.name]):
                self._say(f"{venue.value}: probe {probe.name}: {error}")
        line = {
            "received_us": self._clock.wall(),
            "monotonic_us": int(self._clock.monotonic() * SECOND_US),
            "venue": venue.value,
            "probe": probe.name,
            "path": probe.path,
            "params": dict(probe.params or {}),
            "error": error or None,
            "answer": None if answer is None else answer.decode("utf-8", "replace"),
        }
        self._tape.line(line)
        self.last[venue, probe.name] = Seen(venue, probe, error, _value(answer), len(answer or b""))
        return answer

    @staticmethod
    def _answer(http: Http, probe: Probe) -> Awaitable[bytes]:
        if probe.body is not None:
            return http.post(probe.path, msgspec.json.encode(probe.body))
        return http.get(probe.path, probe.params)


def _value(answer: bytes | None) -> Any:
    try:
        return None if answer is None else msgspec.json.decode(answer)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


class Answers:
    """Statuses, latencies and clocks of all answers of one host."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._paths: dict[str, list[Answered]] = {}
        self._offsets: list[int] = []

    def note(self, answered: Answered) -> None:
        """An answer came."""
        if len(self._paths) < 200 or answered.path in self._paths:
            self._paths.setdefault(answered.path, []).append(answered)
        try:
            said = parsedate_to_datetime(answered.headers["date"]).timestamp() + 0.5  # whole seconds, cut
        except (KeyError, ValueError, TypeError, OverflowError):
            return
        self._offsets.append(round((said - self._clock.wall() / SECOND_US + answered.seconds / 2) * 1000))

    @property
    def offset_ms(self) -> float | None:
        """The median of the host's clock less ours, by its Date headers, good to half a second; None without any."""
        return spread(self._offsets)["p50"]

    def rows(self, host: str) -> Iterator[dict[str, Any]]:
        """A dict a path: requests, statuses, milliseconds, and headers that tell of caches and limits."""
        for path, found in sorted(self._paths.items()):
            yield {
                "host": host,
                "path": safe_text(path, 80),
                "requests": len(found),
                "statuses": {str(code): n for code, n in sorted(Counter(one.status for one in found).items())},
                "ms": spread([round(one.seconds * 1000) for one in found]),
                "headers": _heads(found[-1].headers),
            }


def _heads(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {name.lower(): value for name, value in headers.items()}
    return {
        safe_text(name, 40): safe_text(value, 80)
        for name, value in kept.items()
        if name in HEADS or "ratelimit" in name.replace("-", "")
    }
