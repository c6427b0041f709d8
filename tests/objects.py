"""An object store on loopback: moto's server, and a proxy before it that fails as a plan says.

    with faulty(service.url, plan) as url: ...

The proxy really speaks HTTP: a fault is an answer that the client reads, or a connection that breaks off. PUTs pass it
one at a time, as an object store takes them.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest

from lake.place import Bucket

BUCKET = "movers"
SECRET = "hush-hush-secret"
HOPS = ("connection", "transfer-encoding", "content-length", "date", "server")

Plan = Callable[[str, str], str | None]
"""Method and path to a status as text, `lost` (applied, and no answer), `blind` (conditions are cut out), or None."""


class Service(NamedTuple):
    """A running object store with one bucket."""

    url: str
    names: Iterator[int]

    def place(self, local: Path) -> Bucket:
        """A prefix that is empty, with its local folder."""
        return Bucket(BUCKET, f"lakes/{next(self.names)}", local)


@contextmanager
def serving() -> Iterator[Service]:
    """Moto's server with an empty bucket."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").disabled = True  # its stream may be one that a test has closed
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        httpx.put(f"{url}/{BUCKET}").raise_for_status()
        yield Service(url, count())
    finally:
        server.stop()


def use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Keys and address of that object store in the environment."""
    given = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)


def at_random(rng: Random, rate: float, *faults: str, methods: tuple[str, ...] = ("PUT", "GET", "HEAD")) -> Plan:
    """One of these faults for that share of the requests. `rng` is drawn from under a lock."""
    lock = threading.Lock()

    def plan(method: str, path: str) -> str | None:
        with lock:
            return rng.choice(faults) if method in methods and rng.random() < rate else None

    return plan


@contextmanager
def faulty(url: str, plan: Plan) -> Iterator[str]:
    """A proxy before `url`; its own address."""
    puts = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            fault = plan(self.command, self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if fault is not None and fault.isdigit():
                self._answer(int(fault), {}, b"")
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOPS}
            if fault == "blind":
                headers = {name: value for name, value in headers.items() if not name.lower().startswith("if-")}
            with puts if self.command == "PUT" else nullcontext():
                status, found, data = _ask(url, self.command, self.path, headers, body)
            if fault == "lost":
                self.close_connection = True
                return
            self._answer(status, found, data)

        def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in HOPS:
                    self.send_header(name, value)
            self.send_header("Content-Length", headers.get("Content-Length", str(len(data))))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass

        def log_message(self, *args: object) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that left is no fault of the proxy."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
        assert not thread.is_alive(), "the proxy did not end in 10 s"


def _ask(url: str, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()
