"""Which processes a mode runs, with what environment, in what order, and how each is known to be well."""

import sys
from collections.abc import Mapping
from typing import Final

from flows import orchestrator
from flows.up.child import Spec
from flows.up.ports import HOST, Port, answers
from flows.up.rows import NewestRows
from lake.settings import Settings
from lake.vocab import Mode

FRESH: Final = 90.0  # seconds: a collector whose newest rows are younger is at work
_KEYS: Final = ("POLYMARKET_API_KEY", "KALSHI_API_KEY", "KALSHI_API_SECRET")


def ports(settings: Settings, *, with_prefect: bool) -> list[Port]:
    """What must be free for this mode."""
    found = [Port(settings.app_port, "APP_PORT")]
    if with_prefect and settings.collector_mode is not Mode.REPLAY and orchestrator.is_own(settings):
        found.append(Port(settings.prefect_port, "PREFECT_PORT"))
    if settings.collector_mode is Mode.SIMULATED:
        found.append(Port(settings.simulator_polymarket_port, "SIMULATOR_POLYMARKET_PORT"))
        found.append(Port(settings.simulator_kalshi_port, "SIMULATOR_KALSHI_PORT"))
    return found


def specs(settings: Settings, environment: Mapping[str, str], *, with_prefect: bool = True) -> list[Spec]:
    """The processes, in the order of the table. `environment` is ours; keys go to those alone who need them."""
    if settings.collector_mode is Mode.REPLAY:
        return [_replay(settings, environment), _app(settings, environment, after="replay")]
    is_simulated = settings.collector_mode is Mode.SIMULATED
    if is_simulated:  # real keys have no business at invented venues
        environment = _without_keys(environment)
    return [
        *([_simulate(settings, environment)] if is_simulated else []),
        _collect(settings, environment, after="simulate" if is_simulated else None),
        _app(settings, environment),
        _jobs(settings, environment),
        *([_prefect(settings, environment)] if with_prefect and orchestrator.is_own(settings) else []),
    ]


def _simulate(settings: Settings, environment: Mapping[str, str]) -> Spec:
    ports = (settings.simulator_polymarket_port, settings.simulator_kalshi_port)
    return Spec(
        "simulate",
        _movers("simulate"),
        _without_keys(environment),
        is_ready=lambda: all(map(answers, ports)),
        url=f"simulated venues: http://{HOST}:{ports[0]}/simulator/report and http://{HOST}:{ports[1]}/simulator/report",
        phase=2,
        grace=5,
    )


def _collect(settings: Settings, environment: Mapping[str, str], *, after: str | None) -> Spec:
    age = NewestRows(settings.lake_root)
    return Spec(
        "collect",
        _movers("collect"),
        {**environment, **orchestrator.client_env(settings)},
        is_ready=lambda: (found := age()) is not None and found < FRESH,
        health=lambda: "no rows yet" if (found := age()) is None else f"rows {found:.0f} s ago",
        after=after,
        grace=15,
    )


def _jobs(settings: Settings, environment: Mapping[str, str]) -> Spec:
    env = {**environment, **orchestrator.client_env(settings)}
    return Spec("jobs", _movers("jobs"), env, phase=1, grace=15)


def _app(settings: Settings, environment: Mapping[str, str], *, after: str | None = None) -> Spec:
    return Spec(
        "app",
        [sys.executable, "-P", "-m", "app.main"],
        _without_keys(environment),
        is_ready=lambda: answers(settings.app_port),
        after=after,
        url=f"pages: http://{HOST}:{settings.app_port}",
        phase=1,
    )


def _prefect(settings: Settings, environment: Mapping[str, str]) -> Spec:
    return Spec(
        "prefect",
        orchestrator.server_command(settings),
        {**_without_keys(environment), **orchestrator.server_env(settings)},
        is_ready=lambda: answers(settings.prefect_port),
        after="collect",  # first rows first: it takes half a minute of processor to start
        url=f"Prefect: {orchestrator.ui_address(settings)}, {orchestrator.login(settings)}",
        phase=2,
        nice=5,
    )


def _replay(settings: Settings, environment: Mapping[str, str]) -> Spec:
    return Spec("replay", _movers("demo"), _without_keys(environment), is_once=True)


def _movers(command: str) -> list[str]:
    return [sys.executable, "-P", "-m", "flows.cli", command]


def _without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """Empty and not absent, so that `.env` does not give them either."""
    return {**environment, **dict.fromkeys(_KEYS, "")}
