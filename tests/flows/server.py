"""A real Prefect server for tests, and flows of ours against it, each in processes of their own.

Prefect reads its settings when it is imported, and the server may die in a test: neither happens within pytest.
"""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from flows import orchestrator
from lake.settings import Settings, load
from tests.waiting import until

ROOT = Path(orchestrator.__file__).parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def settings_in(folder: Path, **given: Any) -> Settings:
    """Everything below `folder`; nothing answers at the server's port yet."""
    places = {"prefect_dir": folder / "prefect", "lake_uri": str(folder / "lake"), "simulator_dir": folder / "sim"}
    return load(**{"prefect_port": free_port(), **places, **given})


def environment(settings: Settings) -> dict[str, str]:
    """For a child: our settings, and nothing of Prefect that the developer set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    names = ("prefect_port", "prefect_dir", "lake_uri", "simulator_dir", "collector_mode", "prefect_retention_hours")
    return kept | {name.upper(): str(getattr(settings, name)) for name in names}


@contextmanager
def child(settings: Settings, *command: str, **added: str) -> Iterator[subprocess.Popen[str]]:
    """A process of this environment, killed at the end if it is still there."""
    process = subprocess.Popen(
        command,
        env=environment(settings) | added,
        cwd=settings.prefect_dir.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def python(settings: Settings, code: str, **added: str) -> Any:
    """A child that runs `code` after the settings are `settings` and Prefect is told of the server."""
    before = "from lake import settings; from flows import orchestrator; config = settings.load()\n"
    return child(settings, sys.executable, "-c", f"{before}orchestrator.adopt(config)\n{code}", **added)


@contextmanager
def running(settings: Settings, **added: str) -> Iterator[subprocess.Popen[str]]:
    """The server, once it answers."""
    env = orchestrator.server_env(settings) | {"PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2"} | added
    with child(settings, *orchestrator.server_command(settings), **env) as process:
        until(lambda: process.poll() is not None or orchestrator.is_up(settings, 5), 180)
        assert process.poll() is None, process.communicate()[0]
        yield process


class Api:
    """The server's interface, with our password."""

    def __init__(self, settings: Settings) -> None:
        user, _, secret = orchestrator.password(settings).partition(":")
        self._database = settings.prefect_dir / "prefect.db"
        self._client = httpx.Client(base_url=orchestrator.api_address(settings), auth=(user, secret), timeout=20)
        found = self._client.get("/csrf-token", params={"client": "test"}).raise_for_status().json()
        self._client.headers.update({"prefect-csrf-token": found["token"], "prefect-csrf-client": "test"})

    def post(self, path: str, **body: Any) -> Any:
        answer = self._client.post(path, json=json.loads(json.dumps(body, default=str)))
        assert answer.is_success, answer.text
        return answer.json()

    def close(self) -> None:
        self._client.close()

    def runs(self, flow: str, **where: Any) -> list[dict[str, Any]]:
        """The flow's runs that were begun."""
        begun = {"state": {"type": {"not_any_": ["SCHEDULED"]}}}
        named = {"flows": {"name": {"any_": [flow]}}, "flow_runs": begun | where}
        found: list[dict[str, Any]] = self.post("/flow_runs/filter", **named)
        return found

    def states(self, flow: str) -> list[str]:
        return sorted(run["state_type"] for run in self.runs(flow))

    def of_run(self, table: str, run: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.post(f"/{table}/filter", flow_runs={"id": {"any_": [run]}})
        return found

    def artifacts(self, key: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.post(
            "/artifacts/filter", artifacts={"key": {"any_": [key]}}, sort="CREATED_DESC"
        )
        return found

    def add_run(self, flow: str, state: str, at: datetime) -> str:
        """A run in that state, begun and, if it is over, ended then: the server itself takes no times of the past."""
        flow_id = self.post("/flows/", name=flow)["id"]
        run = str(self.post("/flow_runs/", flow_id=flow_id, state={"type": state})["id"])
        moment, names = f"{at:%Y-%m-%d %H:%M:%S.%f}", ["start_time", "end_time"][: 1 if state == "RUNNING" else 2]
        with closing(sqlite3.connect(self._database, timeout=20)) as database, database:
            for name in names:
                database.execute(f"UPDATE flow_run SET {name} = ? WHERE id = ?", (moment, run))
        return run


def now() -> datetime:
    return datetime.now(UTC)
