"""Prefect: the minute's refresh as a flow run, its steps as tasks, its top movers as a table. The work is in
`flows.jobs.minutes`.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows.jobs.minutes import refresh_minute, top_movers
from flows.jobs.refresh import RefreshReport
from lake.place import place
from lake.store import Store

ARTIFACT: Final = "top-movers"
_MARKS: Final = re.compile(r"[!-/:-@\[-`{-~]")  # the characters that a backslash makes plain

T = TypeVar("T")


@flow(name="refresh", flow_run_name=lambda: f"refresh {flow_run.get_scheduled_start_time():%H:%M:%S}")
def refresh_flow(lake: str, local: Path | None = None) -> RefreshReport:
    """Bring bars and board of that lake up to date, and show the top movers; `local` is a bucket's local folder."""
    store = Store.open(place(lake, local))
    report = refresh_minute(store, _as_task)
    _as_task(ARTIFACT, lambda: show(store, report))
    get_run_logger().info("%s", report)
    return report


def show(store: Store, report: RefreshReport) -> None:
    """Keep the top movers as a table, linked to this run. Prefect's pages read its cells as Markdown and HTML."""
    rows = [{name: plain(cell) for name, cell in row.items()} for row in top_movers(store, report.as_of)]
    as_of = f"{report.as_of:%Y-%m-%d %H:%M:%S} UTC"
    create_table_artifact(key=ARTIFACT, table=rows, description=f"Top movers by window, as of {as_of}")


def plain(cell: object) -> object:
    """A text whose every mark of Markdown and HTML stands for itself; anything else as it is."""
    return _MARKS.sub(r"\\\g<0>", cell) if isinstance(cell, str) else cell


def _as_task(name: str, work: Callable[[], T]) -> T:
    return task(name=name, task_run_name=name, cache_policy=NO_CACHE)(work)()
