"""Faults of REST: refusals, bodies that are none, slow answers, redirects."""

import asyncio
from abc import ABC, abstractmethod
from gzip import compress

from aiohttp import web

from flows.simulator.fault_sockets import is_handshake, retry_after
from flows.simulator.faults import Fault, Handler, body_of

PAGE = "<!doctype html><html><head><title>Just a moment...</title></head><body>Checking your browser</body></html>"


class Rest(Fault, ABC):
    """Takes a share of the requests."""

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse | None:
        """What `instead` says, of those that it takes."""
        is_meant = not is_handshake(request) and request.path.startswith(self.spec.path)
        return await self.instead(request, handler) if is_meant and self.strikes() else None

    @abstractmethod
    async def instead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer of a request that it takes."""


class Status(Rest):
    """Requests are answered with status `value`: 429, 500, 502, 503, 403 ... and `Retry-After` if asked for."""

    value = 503.0

    async def instead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """JSON with an error, as both venues have it."""
        status = round(self.given)
        error = "too many requests" if status == 429 else "simulated fault"
        return web.json_response({"error": error}, status=status, headers=retry_after(self))


class Html(Rest):
    """Requests are answered with 200 and a page of HTML."""

    async def instead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """As from a front that guards the venue."""
        return web.Response(text=PAGE, content_type="text/html")


class Empty(Rest):
    """Requests are answered with 200 and no body."""

    async def instead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Said to be JSON."""
        return web.Response(body=b"", content_type="application/json")


class Truncated(Rest):
    """Answers are the first half of a gzip."""

    async def instead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Of the right answer."""
        packed = compress(body_of(await handler(request)))
        half = packed[: len(packed) // 2]
        return web.Response(body=half, headers={"Content-Encoding": "gzip"}, content_type="application/json")


class Bomb(Rest):
    """Answers are a small gzip of `value` MiB of JSON."""

    value = 64.0

    async def instead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """An array of nothing but blanks."""
        packed = compress(b"[" + b" " * round(self.given * 1024 * 1024) + b"]")
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"}, content_type="application/json")


class CutJson(Rest):
    """Answers are the first half of their JSON."""

    async def instead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Of the right answer."""
        right = body_of(await handler(request))
        return web.Response(body=right[: len(right) // 2], content_type="application/json")


class Slow(Rest):
    """Answers come `value` seconds late, of real time."""

    value = 5.0

    async def instead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The right answer, in the end."""
        await asyncio.sleep(self.given)
        return await handler(request)


class Redirect(Rest):
    """Requests are sent elsewhere, where there is a page of HTML."""

    async def instead(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """On the same port."""
        return web.Response(status=302, headers={"Location": "/simulator/elsewhere"})
