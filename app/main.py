"""The pages' server: `python -m app.main`. The only module of the app that acts when it is run.

It answers on loopback alone, to browsers that come from its own address, and asks no other host for anything.
"""

# mypy: allow-untyped-calls

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

os.environ.setdefault("BOKEH_RESOURCES", "server")

import panel as pn
from tornado.websocket import WebSocketClosedError

from app.feed import Feed
from app.pages import home, market, movers
from lake import settings
from lake.errors import MoversError, SettingError
from lake.settings import Settings

HOST: Final = "127.0.0.1"
LIMITS: Final[dict[str, Any]] = {
    "websocket_max_message_size": 2**20,
    "unused_session_lifetime_milliseconds": 30_000,
    "check_unused_sessions_milliseconds": 5_000,
    "session_token_expiration": 300,
}
PAGES: Final = {"/": home.page, "/movers": movers.page, "/market": market.page}
TITLES: Final = {"/": "Movers", "/movers": "Top movers", "/market": "Market · Movers"}

log = logging.getLogger("movers.app")


def serve(config: Settings, feed: Feed) -> Any:
    """The server, listening but not yet running. Raises `SettingError` if the port is taken."""
    origins = [f"{name}:{config.app_port}" for name in (HOST, "localhost")]
    try:
        with socket.socket() as probe:  # the server's own attempt would leave its socket open
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, config.app_port))
        return pn.io.server.get_server(
            {path: _bound(page, feed) for path, page in PAGES.items()},
            port=config.app_port, address=HOST, websocket_origin=origins, title=TITLES, show=False, start=False,
            verbose=False, location=False, admin=False, sign_sessions=True, secret_key=secrets.token_bytes(32),
            **LIMITS,
        )  # fmt: skip
    except OSError as exc:
        raise SettingError(
            f"port {config.app_port} (APP_PORT): {(exc.strerror or str(exc)).lower()}; "
            "stop what listens there or set APP_PORT to another"
        ) from exc


def _bound(page: Callable[[Feed], Any], feed: Feed) -> Callable[[], Any]:
    """The page of that feed, as a function: Panel takes no other callable for one."""
    return lambda: page(feed)


def main() -> int:
    """Serve the pages until SIGTERM or Ctrl-C; the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("bokeh").setLevel(logging.ERROR)
    try:
        config = settings.load()
        log.setLevel(config.log_level)
        feed = Feed(config.lake_root, config.collector_mode)
        server = serve(config, feed)
    except MoversError as exc:
        print(f"movers: {exc}", file=sys.stderr)
        return 2
    run(server, feed, config.app_port)
    return 0


def run(server: Any, feed: Feed, port: int) -> None:
    """Answer until a signal ends it."""
    feed.start()
    loop = server.io_loop
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: loop.add_callback_from_signal(loop.stop))
    server.start()
    loop.asyncio_loop.set_exception_handler(_unheard)
    log.info("pages on http://%s:%d", HOST, port)
    try:
        loop.start()
    finally:
        feed.stop()
        server.stop()


def _unheard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What no one awaited; a browser that left while it was written to is nothing to tell of."""
    if not isinstance(context.get("exception"), WebSocketClosedError):
        loop.default_exception_handler(context)


if __name__ == "__main__":
    sys.exit(main())
