"""Answers over HTTP: a function from a request to a value, a refusal where it raises one, and a count of both."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from aiohttp import web

from flows.simulator.stream import Tally
from flows.simulator.wire import encode

Answer = Callable[[web.Request], Any]


class Refused(Exception):
    """A request that the venue answers with an error: its status and JSON body."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


def get(app: web.Application, path: str, answer: Answer, tally: Tally) -> None:
    """Answer GET requests of `path` by what `answer` returns, as JSON."""

    async def handle(request: web.Request) -> web.Response:
        return _respond(request, path, answer, tally)

    app.router.add_get(path, handle)


def post(app: web.Application, path: str, answer: Callable[[web.Request, Any], Any], tally: Tally) -> None:
    """Answer POST requests of `path` by what `answer` returns for the JSON of its body, None if it is none."""

    async def handle(request: web.Request) -> web.Response:
        try:
            body = msgspec.json.decode(await request.read())
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            body = None
        return _respond(request, path, lambda asked: answer(asked, body), tally)

    app.router.add_post(path, handle)


def whole(request: web.Request, name: str, default: int, least: int = 0, most: int | None = None) -> int:
    """A number of the query, brought into its bounds; `default` if it is missing or none."""
    text = request.query.get(name, "")
    value = int(text) if text.isdecimal() and len(text) < 16 else default
    return max(least, value if most is None else min(value, most))


def truth(request: web.Request, name: str) -> bool | None:
    """A yes or no of the query; None if it was not asked."""
    return {"true": True, "1": True, "false": False, "0": False}.get(request.query.get(name, "").lower())


def several(request: web.Request, *names: str) -> list[str]:
    """All values of a repeated or comma-separated parameter."""
    given = [value for name in names for value in request.query.getall(name, [])]
    return [part for value in given for part in value.split(",") if part]


def window(items: Sequence[Any], offset: int, limit: int) -> list[Any]:
    """`limit` of them from `offset`."""
    return list(items[offset : offset + limit])


def _respond(request: web.Request, path: str, answer: Answer, tally: Tally) -> web.Response:
    try:
        status, body = 200, answer(request)
    except Refused as refused:
        status, body = refused.status, refused.body
    tally.requests[f"{request.method} {path} {status}"] += 1
    return web.Response(body=encode(body), status=status, content_type="application/json")
