"""Prefect: what the lake missed, each hour. The work is in `flows.jobs.backfill`."""

from datetime import UTC, datetime, timedelta

from prefect import flow

from flows.jobs.backfill import Wanted
from flows.jobs.backfill import backfill as fill
from lake import settings
from lake.errors import MoversError
from lake.store import Store
from lake.vocab import Mode


@flow(name="backfill", timeout_seconds=3_500)
async def backfill(hours: float = 24) -> str:
    """Fill the gaps of the last hours, and what else was missed. Raises `MoversError` on what could not be filled."""
    config = settings.load()
    if config.collector_mode is Mode.REPLAY:
        return "a replay has no venue to ask"
    wanted = Wanted(since=datetime.now(UTC) - timedelta(hours=hours))
    report = await fill(config, Store.create(config.lake_root, config.collector_mode), wanted)
    if report.faults:
        raise MoversError(str(report))
    return str(report)
