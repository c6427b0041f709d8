"""The jobs' process: the minute's refresh, and the deployments of prefect.yaml.

The refresh has a thread of its own and is a flow run whenever the server answers. The deployments are registered and
served by a runner of Prefect, in a second thread, while the server answers; while it does not, they are called here
at the same intervals, without Prefect. Neither waits for the other.
"""

import asyncio
import inspect
import logging
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import yaml

from flows import orchestrator
from flows.jobs.minutes import Minutes, line, refresh_minute
from flows.jobs.refresh import RefreshReport
from lake.errors import MoversError, SettingError
from lake.settings import Settings
from lake.store import Store
from lake.text import safe_text

if TYPE_CHECKING:
    from prefect import Flow

LOG: Final = logging.getLogger("movers.jobs")

DEPLOYMENTS: Final = Path(__file__).parents[1] / "prefect.yaml"
CHECK_SECONDS: Final = 5.0  # between two looks at the server
DRAIN_SECONDS: Final = 8.0
NEEDS_PREFECT: Final = "needs-prefect"  # the tag of a job that has nothing to do without a server


def main(settings: Settings, *, deployments: Path = DEPLOYMENTS) -> int:
    """Refresh and serve until SIGTERM or SIGINT; the exit code. Raises `SettingError`, `LakeError`."""
    orchestrator.adopt(settings)
    ended: SimpleQueue[Exception | None] = SimpleQueue()  # which a signal's handler may use
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.put(None))
    stop = threading.Event()
    minutes = Minutes(settings, stop, refresh=Refresh(settings))
    served = Deployments(settings, read(deployments), stop)
    threads = [_thread(work, ended) for work in (minutes.run, served.run)]
    error = ended.get()
    stop.set()
    orchestrator.leave_within(DRAIN_SECONDS)
    for thread in threads:
        thread.join(DRAIN_SECONDS / 2)
    LOG.info("jobs: drained after %d refreshes, %d of them failed", minutes.done, minutes.failed)
    if error is not None:
        raise error
    return 0


def _thread(work: Callable[[], None], ended: "SimpleQueue[Exception | None]") -> threading.Thread:
    """Starts `work`; its end, or its error, is put into `ended`."""

    def run() -> None:
        try:
            work()
            ended.put(None)
        except Exception as exc:
            ended.put(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


class Refresh:
    """One refresh: a flow run if the server answers, else the plain function.

    Prefect is imported in the background, so that it delays no refresh.
    """

    def __init__(self, settings: Settings) -> None:
        self._server = orchestrator.Server(settings)
        self._loading: threading.Thread | None = None
        self._said = ""

    def __call__(self, store: Store) -> RefreshReport:
        """Raises what the plain function raises."""
        if self._server.answers() and self._is_loaded():
            try:
                return self._in_prefect(store)
            except MoversError:
                raise  # the refresh's own, with Prefect as without
            except Exception as exc:
                LOG.warning("refresh: its flow run broke off, done again without Prefect: %s", line(exc))
                self._server.failed()
        self._say("without Prefect")
        return refresh_minute(store)

    def _is_loaded(self) -> bool:
        if self._loading is None:
            self._loading = threading.Thread(target=orchestrator.load, args=("flows.refresh",), daemon=True)
            self._loading.start()
        return not self._loading.is_alive()

    def _in_prefect(self, store: Store) -> RefreshReport:
        from flows.refresh import refresh_flow

        report = refresh_flow(store.name, store.local)
        self._server.worked()
        self._say("as flow runs in Prefect")
        return report

    def _say(self, how: str) -> None:
        if how != self._said:
            LOG.info("refresh: %s from now on", how)
        self._said = how


@dataclass(frozen=True, slots=True)
class Deployment:
    """One entry of prefect.yaml."""

    name: str
    entrypoint: str  # <file>:<flow>, the file relative to prefect.yaml's folder
    every: timedelta
    description: str
    tags: tuple[str, ...]
    concurrency_limit: Mapping[str, Any] | None = field(hash=False)

    @property
    def module(self) -> str:
        """What to import for the flow."""
        return self.entrypoint.partition(":")[0].removesuffix(".py").replace("/", ".")

    def flow(self) -> "Flow[..., Any]":
        """The flow itself, imported."""
        found: Flow[..., Any] = getattr(import_module(self.module), self.entrypoint.partition(":")[2])
        return found

    def call(self) -> object:
        """The plain function, without Prefect."""
        found = self.flow().fn()
        return asyncio.run(found) if inspect.iscoroutine(found) else found


def read(path: Path) -> list[Deployment]:
    """The deployments of a prefect.yaml, each with one interval. Raises `SettingError`."""
    try:
        entries = yaml.safe_load(path.read_text())["deployments"]
        return [
            Deployment(
                entry["name"],
                entry["entrypoint"],
                timedelta(seconds=entry["schedules"][0]["interval"]),
                entry.get("description", ""),
                tuple(entry.get("tags", ())),
                entry.get("concurrency_limit"),
            )
            for entry in entries
        ]
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError) as exc:
        raise SettingError(f"{path}: no deployments can be read from it ({line(exc)}); restore the file") from exc


class Deployments:
    """Runs the deployments until `stop`: by a runner of Prefect while the server answers, else here."""

    def __init__(self, settings: Settings, jobs: list[Deployment], stop: threading.Event) -> None:
        self._settings = settings
        self._jobs = jobs
        self._stop = stop
        self._server = orchestrator.Server(settings)
        self._plain = Plain(jobs)

    def run(self) -> None:
        """Serve, and serve again after each outage."""
        if not orchestrator.wait_until_up(self._settings, self._stop):
            LOG.info("%s: does not answer; jobs run without it", orchestrator.api_address(self._settings))
        while not self._stop.is_set():
            if self._server.answers():
                self._serve()
            else:
                self._plain.step()
                self._stop.wait(1)

    def _serve(self) -> None:
        """Register and serve until `stop` or until the server is gone."""
        try:
            asyncio.run(serve(self._jobs, self._is_over))
            self._server.worked()
            if not self._stop.is_set():
                LOG.info("jobs: Prefect does not answer; run without it from now on")
        except Exception as exc:
            self._server.failed()
            LOG.warning("jobs: Prefect's runner broke off, goes on without: %s", line(exc))
        self._plain = Plain(self._jobs)

    async def _is_over(self) -> bool:
        """Waits a moment; whether serving should end."""
        over = await asyncio.to_thread(self._stop.wait, CHECK_SECONDS)
        return over or not await asyncio.to_thread(self._server.answers)


class Plain:
    """A small schedule without Prefect: each job when its interval is over, one after the other."""

    def __init__(self, jobs: list[Deployment], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._due = {job: monotonic() + job.every.total_seconds() for job in jobs if NEEDS_PREFECT not in job.tags}

    def step(self) -> None:
        """Call what is due; what fails is said, and is due again like the others."""
        for job, due in self._due.items():
            if due > self._monotonic():
                continue
            self._due[job] = self._monotonic() + job.every.total_seconds()
            try:
                LOG.info("%s: %s", job.name, job.call())
            except Exception as exc:
                LOG.error("%s: failed: %s", job.name, line(exc))


async def serve(jobs: list[Deployment], is_over: Callable[[], Awaitable[bool]]) -> None:
    """Register the deployments and run what the server schedules, until `is_over`. Raises what the runner dies of."""
    orchestrator.load(*(job.module for job in jobs))
    from prefect.client.schemas.objects import ConcurrencyLimitConfig
    from prefect.runner import Runner
    from prefect.types.entrypoint import EntrypointType

    asyncio.get_running_loop().set_exception_handler(_say_fault)
    runner = Runner(name="movers", pause_on_shutdown=False)
    for job in jobs:
        limit = job.concurrency_limit
        await runner.aadd_flow(
            job.flow(),
            name=job.name,
            interval=job.every,
            description=job.description,
            tags=list(job.tags),
            concurrency_limit=None if limit is None else ConcurrencyLimitConfig.model_validate(limit),
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
    await _forget_missed(jobs)
    LOG.info("jobs: %s are served by Prefect", ", ".join(job.name for job in jobs))
    serving = asyncio.create_task(runner.start())
    while not serving.done() and not await is_over():
        pass
    if not serving.done():
        await runner.astop()
    await asyncio.wait_for(serving, DRAIN_SECONDS)


def _say_fault(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """What goes wrong in a callback of the runner when its server is gone, in a line."""
    LOG.debug("jobs: %s", safe_text(str(context.get("message", ""))))


async def _forget_missed(jobs: list[Deployment]) -> None:
    """Scheduled runs whose time passed while nobody served: the next one does their work too."""
    from prefect import get_client
    from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    which = {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"before_": datetime.now(UTC)}}
    names = DeploymentFilter.model_validate({"name": {"any_": [job.name for job in jobs]}})
    async with get_client() as client:
        found = FlowRunFilter.model_validate(which)
        by_start, most = FlowRunSort.EXPECTED_START_TIME_ASC, 200
        for run in await client.read_flow_runs(
            deployment_filter=names, flow_run_filter=found, sort=by_start, limit=most
        ):
            await client.delete_flow_run(run.id)
