"""Which processes a mode runs, who is given keys, and what is refused before anything starts."""

import io
import os
import socket
import time

import pytest
from rich.console import Console

from flows import orchestrator
from flows.up import plan
from flows.up.run import run
from lake.errors import LakeMismatch, SettingError
from lake.settings import Settings
from lake.store import Store
from lake.vocab import Mode

KEYS = {"KALSHI_API_KEY": "id", "KALSHI_API_SECRET": "pem", "POLYMARKET_API_KEY": "key"}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Settings of a mode, with every folder in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def make(mode: str = "simulated", **given: object) -> Settings:
        return Settings(collector_mode=mode, prefect_dir=tmp_path / "prefect", **given)

    return make


def names(config: Settings, **options: bool) -> list[str]:
    return [spec.name for spec in plan.specs(config, KEYS, **options)]


def test_processes_of_each_mode(settings):
    """Simulated venues only where nothing real is asked for; a replay needs no collector and no jobs."""
    assert names(settings()) == ["simulate", "collect", "app", "jobs", "prefect"]
    assert names(settings("live")) == ["collect", "app", "jobs", "prefect"]
    assert names(settings("polymarket"), with_prefect=False) == ["collect", "app", "jobs"]
    assert names(settings("replay")) == ["replay", "app"]


def test_ports_of_each_mode(settings):
    """Only those that something will listen on."""
    assert [port.setting for port in plan.ports(settings("live"), with_prefect=False)] == ["APP_PORT"]
    assert [port.setting for port in plan.ports(settings("replay"), with_prefect=True)] == ["APP_PORT"]
    assert len(plan.ports(settings(), with_prefect=True)) == 4


def test_server_of_the_user_is_not_started(settings, monkeypatch):
    """A PREFECT_API_URL in the environment is another server."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert "prefect" not in names(settings())


def test_collector_is_drained_first(settings):
    """Then those that read the lake, then venues and Prefect, which the others still talk to."""
    specs = plan.specs(settings(), KEYS)
    assert {spec.name: spec.phase for spec in specs} == {
        "collect": 0, "app": 1, "jobs": 1, "simulate": 2, "prefect": 2,
    }  # fmt: skip
    assert next(spec.grace for spec in specs if spec.name == "collect") == 15


def test_keys_go_to_those_who_need_them(settings):
    """Collector and jobs, of real venues; the others get an empty one, which wins over `.env` too."""
    live = {spec.name: spec.environment for spec in plan.specs(settings("live"), KEYS)}
    assert live["collect"].items() >= KEYS.items()
    assert all(live[name][key] == "" for name in ("app", "prefect") for key in KEYS)
    simulated = plan.specs(settings(), KEYS)
    assert all(spec.environment[key] == "" for spec in simulated for key in KEYS)


def test_password_is_in_no_command_line_and_no_line_shown(settings):
    """Prefect's password goes through the environment and its file alone."""
    config = settings()
    secret = orchestrator.password(config).partition(":")[2]
    specs = plan.specs(config, {})
    assert any(secret in value for spec in specs for value in spec.environment.values())
    assert not any(secret in word for spec in specs for word in (*spec.command, spec.url or ""))


def test_collector_is_well_while_rows_come(settings):
    """Its health is the age of the newest segment, read from the folder's time."""
    config = settings()
    (spec,) = (spec for spec in plan.specs(config, {}) if spec.name == "collect")
    assert not spec.is_ready()
    assert spec.health() == "no rows yet"
    Store.create(config.lake_root, config.collector_mode)
    assert not spec.is_ready()
    day = config.lake_root / "_segments" / "date=2026-11-23"
    day.mkdir(parents=True)
    os.utime(day, times=(time.time() - 30,) * 2)
    assert spec.is_ready()
    assert spec.health() in ("rows 30 s ago", "rows 31 s ago")
    os.utime(day, times=(time.time() - 300,) * 2)
    assert not spec.is_ready()


def test_busy_port_starts_nothing(settings, tmp_path):
    """One line, and not a folder is made."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        with pytest.raises(SettingError, match=rf"port {port} \(APP_PORT\) is in use by pid {os.getpid()}"):
            run(settings("live", app_port=port), Console(file=io.StringIO()), with_prefect=False)
    assert list(tmp_path.iterdir()) == []


def test_lake_of_another_mode_starts_nothing(settings, tmp_path):
    """Named before any process could write to it."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    Store.create(tmp_path / "lake", Mode.REPLAY)
    config = settings("live", app_port=port, lake_uri=str(tmp_path / "lake"))
    with pytest.raises(LakeMismatch, match="holds 'replay' data, not 'live'"):
        run(config, Console(file=io.StringIO()), with_prefect=False)
    assert not (tmp_path / "data").exists()
