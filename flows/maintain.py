"""Prefect: what Prefect itself remembers, kept short. Runs that nobody ends any more are closed, old ones removed.

The server deletes a run's task runs and logs with it, but not its artifacts: these go first. Events and what is left
over it forgets by itself, see `flows.orchestrator.server_env`.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from prefect import flow, get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from lake import settings

FINITE: Final = ("refresh", "catalog-sync", "backfill", "maintenance", "compaction")  # flows whose runs soon end
LOST: Final = timedelta(hours=1)
BATCH: Final = 50  # runs; the most that the server deletes at once
MOST_BATCHES: Final = 200  # a pass; the next one goes on


@flow(name="maintenance")
async def maintenance() -> str:
    """Close runs whose process is gone, and remove those that ended longer than PREFECT_RETENTION_HOURS ago."""
    now = datetime.now(UTC)
    closed = await close_lost(now - LOST)
    removed = await prune(now - timedelta(hours=settings.load().prefect_retention_hours))
    return f"{removed:,} old runs removed, {closed:,} closed that had lost their process"


@task(cache_policy=NO_CACHE)
async def close_lost(before: datetime) -> int:
    """Mark finite runs crashed that began before then and still count as running: nobody ends them; how many."""
    async with get_client() as client:
        which = _runs(state=["RUNNING", "PENDING", "CANCELLING"], start_time=before)
        flows = FlowFilter.model_validate({"name": {"any_": FINITE}})
        found = await client.read_flow_runs(
            flow_filter=flows, flow_run_filter=which, sort=FlowRunSort.START_TIME_ASC, limit=BATCH
        )
        for run in found:
            await client.set_flow_run_state(run.id, Crashed(message="Its process is gone."), force=True)
    return len(found)


@task(cache_policy=NO_CACHE)
async def prune(before: datetime) -> int:
    """Remove the runs that ended before then, and their artifacts; how many there were."""
    removed = 0
    async with get_client() as client:
        for _ in range(MOST_BATCHES):
            which = _runs(state=["COMPLETED", "FAILED", "CRASHED", "CANCELLED"], end_time=before)
            found = await client.read_flow_runs(flow_run_filter=which, sort=FlowRunSort.START_TIME_ASC, limit=BATCH)
            await _remove(client, [str(run.id) for run in found])
            removed += len(found)
            if len(found) < BATCH:
                break
    return removed


async def _remove(client: PrefectClient, runs: list[str]) -> None:
    """The runs and their artifacts; somebody else may have been first."""
    which = {"artifacts": {"flow_run_id": {"any_": runs}}}  # the client's own method sends what the server refuses
    artifacts = (await client.request("POST", "/artifacts/filter", json=which)).json()
    for artifact in artifacts:
        with suppress(ObjectNotFound):
            await client.delete_artifact(UUID(artifact["id"]))
    for run in runs:
        with suppress(ObjectNotFound):
            await client.delete_flow_run(UUID(run))


def _runs(state: list[str], **before: datetime) -> FlowRunFilter:
    times = {name: {"before_": moment} for name, moment in before.items()}
    return FlowRunFilter.model_validate({"state": {"type": {"any_": state}}, **times})
