"""Prefect: the lake kept small and quick, each hour. The work is in `flows.jobs.maintenance`."""

from datetime import UTC, datetime, timedelta

from prefect import flow

from flows.jobs.maintenance import maintain
from lake import retain, settings
from lake.errors import MoversError
from lake.store import Store


@flow(name="compaction", timeout_seconds=3_500)
def compaction() -> str:
    """Merge closed hours, days and months, and remove what is too old. Raises `MoversError` on what was refused."""
    config = settings.load()
    report = maintain(
        Store.create(config.lake_root, config.collector_mode),
        datetime.now(UTC),
        retain.kept(config.retention_days, config.raw_retention_hours),
        trash_age=timedelta(hours=config.trash_retention_hours),
        reserve=config.disk_reserve_bytes,
    )
    if report.refused or report.faults:
        raise MoversError(str(report))
    return str(report)
