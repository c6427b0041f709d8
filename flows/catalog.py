"""Prefect: the venues' catalogues, where no collector keeps them up. The work is in `flows.jobs.catalog`."""

import logging

from prefect import flow

from flows.jobs.catalog import sync_catalog
from lake import settings
from lake.errors import MoversError
from lake.store import Store


@flow(name="catalog-sync", timeout_seconds=840)
async def catalog_sync() -> str:
    """Write what is due of the catalogues: all, or what changed. Raises `MoversError` if a venue was not read whole."""
    config = settings.load()
    say = logging.getLogger("movers.catalog").info
    report = await sync_catalog(config, Store.create(config.lake_root, config.collector_mode), say=say)
    if report.faults:
        raise MoversError(str(report))
    return str(report)
