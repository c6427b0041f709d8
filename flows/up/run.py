"""`movers up` put together: what can be known beforehand is checked, then the supervisor runs."""

import os
import random
from pathlib import Path
from typing import Final

from rich.console import Console

from flows.up import plan
from flows.up.child import Child
from flows.up.ports import require_free
from flows.up.screen import for_console
from flows.up.supervisor import Supervisor
from lake.errors import SettingError
from lake.settings import Settings
from lake.store import Store

LOGS: Final = Path("data/logs")


def run(settings: Settings, console: Console, *, with_prefect: bool = True, logs: Path = LOGS) -> int:
    """Everything that the mode needs, until told to stop; the exit code.

    Raises, before anything is started: `SettingError` for a port that is in use or a folder that cannot be written,
    `LakeMismatch` for a lake of another mode.
    """
    require_free(plan.ports(settings, with_prefect=with_prefect))
    Store.create(settings.lake_root, settings.collector_mode)
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SettingError(
            f"{logs.absolute()}: {(exc.strerror or str(exc)).lower()}; start where it can be made"
        ) from exc
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    rng = random.Random()
    children = [
        Child(spec, logs / f"{spec.name}.log", rng)
        for spec in plan.specs(settings, environment, with_prefect=with_prefect)
    ]
    title = f"movers up: {settings.collector_mode}, lake {settings.lake_root}, logs {logs}"
    with for_console(console, title) as screen:
        screen.tell(title)
        return Supervisor(children, screen).run()
