"""The server's start, without a browser."""

import socket

import pytest

from app.feed import Feed
from app.main import LIMITS, PAGES, main, serve
from lake import settings
from lake.vocab import Mode


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_busy_port_is_one_line(monkeypatch, capsys):
    """The port and its setting are named, and the exit code is 2."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("APP_PORT", str(port))
        assert main() == 2
    line = f"movers: port {port} (APP_PORT): address already in use; stop what listens there or set APP_PORT to another"
    assert capsys.readouterr().err == line + "\n"


def test_bad_setting_is_one_line(monkeypatch, capsys):
    """As on the command line."""
    monkeypatch.setenv("APP_PORT", "none")
    assert main() == 2
    assert capsys.readouterr().err.startswith("movers: APP_PORT='none': ")


def test_server_is_closed_to_others(port, tmp_path):
    """Loopback alone, its own origins alone, signed sessions, small messages, no page of administration."""
    server = serve(settings.load(app_port=port), Feed(tmp_path, Mode.SIMULATED))
    try:
        tornado = server._tornado
        assert server.address == "127.0.0.1"
        assert tornado.websocket_origins == {f"127.0.0.1:{port}", f"localhost:{port}"}
        assert tornado.sign_sessions and len(tornado.secret_key) >= 32
        assert tornado.settings["websocket_max_message_size"] == 2**20
        assert set(tornado.applications) == set(PAGES)
        assert 15_000 <= LIMITS["unused_session_lifetime_milliseconds"] <= 60_000
    finally:
        server.stop()
