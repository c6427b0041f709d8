"""What Prefect is told before it starts, and how the rest knows whether it is there. No server runs here."""

import http.server
import logging
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from flows import orchestrator
from lake.errors import SettingError
from tests.flows.server import settings_in


@pytest.fixture(autouse=True)
def no_prefect_of_the_developer(monkeypatch):
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_password_is_made_once_and_for_its_owner(tmp_path):
    """The first caller makes it, the others find it, and nobody else on the machine may read it."""
    settings = settings_in(tmp_path)
    first = orchestrator.password(settings)
    assert orchestrator.password(settings) == first
    assert len(first.partition(":")[2]) >= 32
    file = settings.prefect_dir / orchestrator.PASSWORD_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_password_is_in_no_command_and_no_word(tmp_path):
    """It is neither on a command line, which every user of the machine sees, nor in what is printed."""
    settings = settings_in(tmp_path)
    secret = orchestrator.password(settings).partition(":")[2]
    told = [*orchestrator.server_command(settings), orchestrator.login(settings), orchestrator.ui_address(settings)]
    assert secret not in " ".join(told)
    assert str(settings.prefect_dir) in orchestrator.login(settings)


def test_folder_that_cannot_be_written(tmp_path):
    """One line that names the place and the setting."""
    (tmp_path / "prefect").write_text("a file")
    with pytest.raises(SettingError, match=r"prefect/password: .*PREFECT_DIR"):
        orchestrator.password(settings_in(tmp_path))


def test_server_keeps_to_itself(tmp_path):
    """Loopback, password, CSRF, no foreign origin, no telemetry, own folder."""
    settings = settings_in(tmp_path)
    env = orchestrator.server_env(settings)
    assert env["PREFECT_SERVER_API_HOST"] == "127.0.0.1"
    assert env["PREFECT_SERVER_API_AUTH_STRING"] == orchestrator.password(settings)
    assert env["PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED"] == "true"
    assert "*" not in env["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"]
    assert (env["DO_NOT_TRACK"], env["PREFECT_SERVER_ANALYTICS_ENABLED"]) == ("1", "false")
    assert env["PREFECT_HOME"] == str(settings.prefect_dir.absolute())


def test_server_of_the_user_wins(tmp_path, monkeypatch):
    """Where PREFECT_API_URL is set it stays, and that server never gets our password."""
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    settings = settings_in(tmp_path)
    env = orchestrator.client_env(settings)
    assert not orchestrator.is_own(settings)
    assert orchestrator.api_address(settings) == "http://prefect.example/api"
    assert not {"PREFECT_API_URL", "PREFECT_API_AUTH_STRING"} & set(env)
    assert not settings.prefect_dir.exists()


def test_clients_never_start_a_server(tmp_path):
    """Without an address Prefect would start a server of its own within the collector."""
    env = orchestrator.client_env(settings_in(tmp_path))
    assert env["PREFECT_API_URL"].startswith("http://127.0.0.1:")
    assert env["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] == "false"


def test_prefect_takes_these_settings(tmp_path):
    """Every variable that we set is one that Prefect knows, and of a value that it accepts."""
    settings = settings_in(tmp_path, prefect_retention_hours=0.5)
    env = orchestrator.server_env(settings) | orchestrator.client_env(settings)
    names = sorted(name for name in env if name.startswith("PREFECT_") and not name.startswith("PREFECT__"))
    code = (
        "import sys; from prefect.settings import Settings; s = Settings();"
        "known = {alias.upper() for alias in s.to_environment_variables(exclude_unset=True, include_aliases=True)};"
        "print(*[name for name in sys.argv[1:] if name not in known])"
    )
    ran = subprocess.run([sys.executable, "-c", code, *names], env=env, capture_output=True, text=True, check=False)
    assert (ran.stdout.split(), ran.returncode) == (["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"], 0), ran.stderr


@contextmanager
def answering(body: bytes):
    """A stranger's server that answers everything with `body`, and what it was asked."""
    asked = []

    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


def test_stranger_at_the_port_is_no_server(tmp_path):
    """Another program there is not taken for Prefect, and is not told the password."""
    with answering(b"<html>hello") as (port, asked):
        assert not orchestrator.is_up(settings_in(tmp_path, prefect_port=port))
    assert asked == [("/api/health", None)]


def test_nothing_at_the_port(tmp_path):
    """A server that is not there is known at once to be absent."""
    assert not orchestrator.is_up(settings_in(tmp_path))


def test_absent_server_is_seldom_asked(tmp_path, monkeypatch):
    """It is left alone for 5 s, then 10, 20 and 40 s, then a minute; once it works, failures are forgotten."""
    now, asked = [0.0], []
    monkeypatch.setattr(orchestrator, "is_up", lambda settings: asked.append(now[0]) or False)
    server = orchestrator.Server(settings_in(tmp_path), monotonic=lambda: now[0])
    for second in range(200):
        now[0] = float(second)
        assert not server.answers()
    assert asked == [0, 5, 15, 35, 75, 135, 195]
    server.worked()
    now[0] = 300.0
    server.answers()
    now[0] = 305.0
    server.answers()
    assert asked[-2:] == [300, 305]


def test_outage_is_told_in_lines(caplog, monkeypatch):
    """Prefect's warnings reach our log without their tracebacks, and its chatter does not."""
    parent, logger = logging.getLogger("prefect"), logging.getLogger("prefect.test")
    for name in ("handlers", "propagate"):
        monkeypatch.setattr(parent, name, getattr(parent, name))
    orchestrator.quieten()
    logger.info("Beginning flow run")
    try:
        raise OSError("gone")
    except OSError:
        logger.warning("Websocket failed", exc_info=True)
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [("Websocket failed", None)]
