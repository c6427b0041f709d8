"""The Prefect server: its environment, its command, its password, and whether it answers.

Prefect reads its settings when it is imported, so `adopt` is called before anything imports it; nothing here does.
A server that the user names in PREFECT_API_URL wins: then none of ours is assumed, and no password of ours is sent.
Source: prefect.settings of Prefect 3.8.
"""

import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

import httpx

from lake.errors import SettingError
from lake.settings import Settings

HOST: Final = "127.0.0.1"
USER: Final = "movers"
PASSWORD_FILE: Final = "password"
API_URL: Final = "PREFECT_API_URL"
START_SECONDS: Final = 5.0
"""How long collector and jobs wait for the server before they go on without it."""

_LOADING: Final = threading.Lock()

_QUIET: Final = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_COLORS": "false",
}
"""Neither server nor client reports home."""


def ui_address(settings: Settings) -> str:
    """Where a person looks at the runs."""
    return f"http://{HOST}:{settings.prefect_port}"


def api_address(settings: Settings) -> str:
    """The server that clients talk to: the user's own, or ours."""
    return os.environ.get(API_URL) or f"{ui_address(settings)}/api"


def is_own(settings: Settings) -> bool:
    """Whether the server is ours, and not one that the user names."""
    return api_address(settings) == f"{ui_address(settings)}/api"


def login(settings: Settings) -> str:
    """Where the password is that the pages of Prefect ask for, in words that hold no secret."""
    return f"password: the line in {_password_file(settings)}"


def password(settings: Settings) -> str:
    """`user:password` of our server, made once, in a file that only its owner may read. Raises `SettingError`."""
    path = _password_file(settings)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write_once(path, f"{USER}:{secrets.token_urlsafe(24)}\n")
        return path.read_text().strip()
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise SettingError(f"{path}: {reason}; give a folder that can be written as PREFECT_DIR") from exc


def server_command(settings: Settings) -> list[str]:
    """Starts the server in the foreground, as one process that SIGTERM ends; its settings are those of `server_env`."""
    address = ("--host", HOST, "--port", str(settings.prefect_port))
    quiet = ("--log-level", "warning", "--no-access-log")
    return [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", *address, *quiet]


def server_env(settings: Settings) -> dict[str, str]:
    """What the server's environment adds: own folder and database, loopback, password, no telemetry, short memory."""
    home, address = settings.prefect_dir.absolute(), ui_address(settings)
    memory = str(int(max(settings.prefect_retention_hours * 3_600, 3_601)))  # Prefect refuses an hour or less
    origins = f"{address},{address.replace(HOST, 'localhost')}"
    return {
        **_QUIET,
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_UI_API_URL": f"{address}/api",
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(settings.prefect_port),
        "PREFECT_SERVER_API_AUTH_STRING": password(settings),
        "PREFECT_API_AUTH_STRING": password(settings),
        "PREFECT_SERVER_UI_V2_ENABLED": "false",  # the newer pages ask a host outside, whatever the settings say
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": origins,
        "PREFECT_SERVER_API_CORS_ALLOWED_METHODS": "GET,POST,PUT,PATCH,DELETE",
        "PREFECT_SERVER_API_CORS_ALLOWED_HEADERS": "authorization,content-type,prefect-csrf-client,prefect-csrf-token",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{memory}S",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "3600",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_MEMO_STORE_PATH": str(home / "memo_store.toml"),
    }


def client_env(settings: Settings) -> dict[str, str]:
    """What the environment of collector and jobs adds; what the user set there himself stays.

    Never a server that starts by itself within a client, and no password of ours to a server of the user's.
    """
    added = {
        **_QUIET,
        "PREFECT_HOME": str(settings.prefect_dir.absolute()),
        API_URL: api_address(settings),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_API_REQUEST_TIMEOUT": "5",  # a server that hangs holds a refresh up for 15 s at most
        "PREFECT_CLIENT_MAX_RETRIES": "2",
        "PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE": "1000",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    }
    if is_own(settings):
        added["PREFECT_API_AUTH_STRING"] = password(settings)
    return {name: value for name, value in added.items() if name not in os.environ}


def adopt(settings: Settings) -> None:
    """Put `client_env` into this process's environment, for Prefect to find when it is imported."""
    os.environ.update(client_env(settings))


class Server:
    """Whether the server answers, asked so seldom while it does not that its absence costs nothing."""

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._failures = 0
        self._due = float("-inf")

    def answers(self) -> bool:
        """Whether it does; False without asking for 5 s after a failure, for up to a minute after several."""
        if self._monotonic() < self._due:
            return False
        if is_up(self._settings):
            return True
        self.failed()
        return False

    def failed(self) -> None:
        """It did not do what it was asked: leave it alone for a while."""
        self._due = self._monotonic() + min(60.0, 5.0 * 2**self._failures)
        self._failures = min(self._failures + 1, 10)

    def worked(self) -> None:
        """It did: former failures are forgotten."""
        self._failures = 0


def wait_until_up(settings: Settings, stop: threading.Event, seconds: float = START_SECONDS) -> bool:
    """Whether the server answers within that time; False too if stopped before."""
    until = time.monotonic() + seconds
    while not stop.is_set():
        if is_up(settings):
            return True
        if time.monotonic() >= until or stop.wait(0.5):
            break
    return False


def leave_within(seconds: float) -> None:
    """From now on this process ends within that time, though Prefect still tried to reach a server that is gone."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()


def is_up(settings: Settings, timeout: float = 2.0) -> bool:
    """Whether a Prefect server answers there within `timeout` seconds and takes our password."""
    address, given = api_address(settings), _authorization(settings)
    try:
        with httpx.Client(timeout=timeout, trust_env=False) as http:
            if http.get(f"{address}/health").text != "true":
                return False
            return http.get(f"{address}/admin/version", auth=given).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def load(*modules: str) -> None:
    """Import these modules, which import Prefect, a thread at a time: its modules import each other in circles."""
    with _LOADING:
        for module in ("prefect", "prefect.client.schemas.objects", "prefect.runner", *modules):
            import_module(module)
    quieten()


def quieten() -> None:
    """What Prefect says of each run goes to its server alone from now on, its warnings here too."""
    logger = logging.getLogger("prefect")
    logger.handlers, logger.propagate = [_Warnings(logging.WARNING)], False


class _Warnings(logging.Handler):
    """Passes records on to the handlers of the root, without the tracebacks that each outage brings."""

    def emit(self, record: logging.LogRecord) -> None:
        record.exc_info = record.exc_text = None
        for handler in logging.getLogger().handlers:
            handler.handle(record)


def _authorization(settings: Settings) -> tuple[str, str] | None:
    """The user's own, or that of our server."""
    text = os.environ.get("PREFECT_API_AUTH_STRING") or (password(settings) if is_own(settings) else "")
    user, _, secret = text.partition(":")
    return (user, secret) if secret else None


def _password_file(settings: Settings) -> Path:
    return settings.prefect_dir / PASSWORD_FILE


def _write_once(path: Path, text: str) -> None:
    """A file that its owner alone may read; of two that make it at once, the first wins."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temp.touch(mode=0o600)
    temp.write_text(text)
    try:
        os.link(temp, path)
    except FileExistsError:
        pass
    finally:
        temp.unlink()
