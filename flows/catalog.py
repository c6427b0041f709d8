"""Prefect: the venues' catalogues, every quarter of an hour. The work is in `flows.jobs.catalog`."""

from prefect import flow

from flows.jobs.catalog import sync_catalog
from lake import settings
from lake.errors import MoversError
from lake.store import Store


@flow(name="catalog-sync", timeout_seconds=840)
async def catalog_sync() -> str:
    """Write what changed in the catalogues since the last time. Raises `MoversError` if a venue was not read whole."""
    config = settings.load()
    report = await sync_catalog(config, Store.create(config.lake_root, config.collector_mode))
    if report.faults:
        raise MoversError(str(report))
    return str(report)
