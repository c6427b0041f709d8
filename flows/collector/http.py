"""One venue's REST client: limits, retries, sizes, typed errors. No answer is parsed here.

Errors tell what to do: `Refused` will not change by asking again, `Unreachable` was tried several times and may be
later. Neither shows a query, a header, or more of a venue's words than a line.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from random import Random
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx

from flows.collector.timing import Clock, Limiter, Timing
from lake.clock import SECOND_US
from lake.errors import MoversError
from lake.text import safe_text

MOST_BYTES: Final = 16 << 20
"""Of an answer, inflated."""

ATTEMPTS: Final = 4
AT_ONCE: Final = 4
LONGEST_WAIT: Final = 120.0
"""No `Retry-After` is honoured for longer."""

USER_AGENT: Final = "prediction-market-movers/0.1"


class Answered(NamedTuple):
    """The head of an answer; `seconds` passed between the request and it."""

    path: str
    status: int
    seconds: float
    headers: Mapping[str, str]


Note = Callable[[Answered], None]


class VenueError(MoversError):
    """A venue did not give a usable answer."""


class Unreachable(VenueError):
    """It did not answer, or not yet: asking later may help."""


class Refused(VenueError):
    """It answered that this will not do; asking again will not help."""


class TooLarge(VenueError):
    """It answered with more than we take: ask for less at once."""


class Http:
    """Requests to one venue, at most `rate` a second; `close` it."""

    def __init__(
        self,
        base: str,
        *,
        rate: float,
        rng: Random,
        timing: Timing,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base = base.rstrip("/")
        self.failures = 0  # answers that were not used, of any cause
        self._limiter = Limiter(rate, burst=2, clock=clock)
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._rng = rng
        self._timing = timing
        self._clock = clock or Clock()
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(15, connect=5),
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            trust_env=not is_loopback(base),
            transport=transport,
        )

    def tell(self, note: Note) -> None:
        """Have `note` told of every answer, those that are refused and tried again included."""
        now = self._clock.monotonic

        async def sent(request: httpx.Request) -> None:
            request.extensions["sent"] = now()

        async def answered(answer: httpx.Response) -> None:
            sent_at = answer.request.extensions["sent"]
            note(Answered(answer.request.url.path, answer.status_code, now() - sent_at, dict(answer.headers)))

        self._client.event_hooks = {"request": [sent], "response": [answered]}

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.aclose()

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> bytes:
        """The answer's bytes: JSON by its content type, at most 16 MiB. Raises `Unreachable`, `Refused`, `TooLarge`."""
        return await self._ask("GET", path, params=params)

    async def post(self, path: str, body: bytes) -> bytes:
        """The same, with a JSON body; only for questions."""
        return await self._ask("POST", path, content=body, headers={"Content-Type": "application/json"})

    async def _ask(self, method: str, path: str, **given: Any) -> bytes:
        """Ask, and again with jitter after what may pass."""
        for attempt in range(1, ATTEMPTS + 1):
            await self._limiter.turn()
            try:
                async with self._at_once:
                    return await self._once(method, path, given)
            except _Again as again:
                self.failures += 1
                if attempt == ATTEMPTS:
                    raise Unreachable(f"{self._place(path)}: {again}") from None
                wait = again.wait if again.wait is not None else self._timing.delay(attempt, self._rng)
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _once(self, method: str, path: str, given: dict[str, Any]) -> bytes:
        try:
            async with self._client.stream(method, self.base + path, **given) as answer:
                self._require_good(answer, path)
                return await self._body(answer, path)
        except httpx.InvalidURL:
            raise Refused(f"{self._place(path)}: is no address; check the setting of that venue") from None
        except httpx.TimeoutException:
            raise _Again("no answer in time") from None
        except httpx.DecodingError:
            raise _Again("an answer that cannot be inflated") from None
        except httpx.HTTPError as exc:
            raise _Again(_cause(exc)) from None

    def _require_good(self, answer: httpx.Response, path: str) -> None:
        code = answer.status_code
        if code == 429 or code >= 500 or code == 408 or code == 425:
            raise _Again(f"status {code}", self._retry_after(answer.headers.get("Retry-After")))
        if code != 200:
            self.failures += 1
            raise Refused(f"{self._place(path)}: status {code}")
        kind = answer.headers.get("Content-Type", "")
        if "json" not in kind.lower():
            raise _Again(f"{safe_text(kind, 40) or 'an unnamed type'} instead of JSON")

    async def _body(self, answer: httpx.Response, path: str) -> bytes:
        found = bytearray()
        async for chunk in answer.aiter_bytes():
            found += chunk
            if len(found) > MOST_BYTES:
                self.failures += 1
                raise TooLarge(f"{self._place(path)}: more than {MOST_BYTES >> 20} MiB")
        if not found:
            raise _Again("an empty answer")
        return bytes(found)

    def _retry_after(self, text: str | None) -> float | None:
        wait = retry_after(text, self._clock)
        return None if wait is None else wait + self._rng.uniform(0, 1)

    def _place(self, path: str) -> str:
        return f"{urlsplit(self.base).netloc.rpartition('@')[2]}{path}"


class _Again(Exception):
    """What may pass; `wait` in seconds, if the venue said."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def retry_after(text: str | None, clock: Clock) -> float | None:
    """Seconds to wait, of either form of the header, at most `LONGEST_WAIT`; None if it says nothing."""
    if not text:
        return None
    if text.strip().isdecimal():
        return min(float(text), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(text)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        wait = (until - datetime.fromtimestamp(clock.wall() / SECOND_US, UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), LONGEST_WAIT)


def is_loopback(url: str) -> bool:
    """Whether that host is this machine: no proxy is asked for the way."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _cause(exc: Exception) -> str:
    return "refused the connection" if isinstance(exc, httpx.ConnectError) else f"broke off ({type(exc).__name__})"
