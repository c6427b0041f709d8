"""The control route of a simulated venue: `/simulator/faults` begins, lists and ends faults. Only on loopback."""

from typing import Any, Final

import msgspec
from aiohttp import web

from flows.simulator.fault_kinds import KINDS, about
from flows.simulator.fault_rest import PAGE
from flows.simulator.faults import BadFault, Faults, FaultSpec
from flows.simulator.wire import encode

PATH: Final = "/simulator/faults"
_SPEC: Final = msgspec.json.Decoder(FaultSpec)


def add_to(app: web.Application, faults: Faults) -> None:
    """POST begins one, GET lists them, DELETE ends one or all; `/simulator/elsewhere` is where redirects lead."""

    async def begin(request: web.Request) -> web.Response:
        try:
            return _answer(faults.start(_SPEC.decode(await request.read())).report(), 201)
        except (BadFault, msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            return _answer({"error": " ".join(str(exc).split())[:500]}, 400)

    async def show(request: web.Request) -> web.Response:
        shown = faults.all() if request.query.get("all") else faults.lasting()
        kinds = {name: about(name) for name in KINDS}
        return _answer({"faults": [fault.report() for fault in shown], "kinds": kinds})

    async def end(request: web.Request) -> web.Response:
        text = request.match_info.get("number", "")
        if text and not (text.isdecimal() and len(text) < 10):
            return _answer({"error": f"{text[:20]!r} is no number of a fault"}, 400)
        try:
            return _answer({"ended": [fault.report() for fault in faults.end(int(text) if text else None)]})
        except BadFault as exc:
            return _answer({"error": str(exc)}, 404)

    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app.router.add_post(PATH, begin)
    app.router.add_get(PATH, show)
    app.router.add_delete(PATH, end)
    app.router.add_delete(PATH + "/{number}", end)
    app.router.add_get("/simulator/elsewhere", elsewhere)


def _answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=encode(body), status=status, content_type="application/json")
