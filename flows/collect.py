"""The collector's process, and its flow run in Prefect.

The collector waits for nobody: it runs in the main thread, while the flow run that stands for it is kept by another
thread, from when the server first answers until the collector ends. So whatever becomes of the server, before, during
or after, no frame waits for it; and Prefect, slow to import, is not there before the first rows are.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Final

from flows import orchestrator
from flows.collector.former import next_epoch
from flows.collector.service import CollectReport, collect
from flows.jobs.minutes import line
from lake.errors import SettingError
from lake.lease import sole
from lake.place import absolute
from lake.settings import Settings
from lake.store import Store
from lake.vocab import Mode

LOG: Final = logging.getLogger("movers.collect")
FLOW: Final = "collect"

Collect = Callable[..., Coroutine[Any, Any, CollectReport]]


def main(settings: Settings, *, work: Collect = collect) -> int:
    """Collect until SIGTERM or SIGINT; the exit code. Raises `SettingError`, `LakeError`."""
    if settings.collector_mode is Mode.REPLAY:
        raise SettingError("COLLECTOR_MODE=replay: is not collected; use `movers replay PATH`, or set another mode")
    store = Store.create(settings.lake_root, settings.collector_mode)
    role, name = f"collector-{settings.collector_name}", settings.collector_name
    with sole(store, role, lambda: next_epoch(store, name)) as own, Companion(settings) as companion:
        report = asyncio.run(_until_stopped(settings, own, work))
        companion.outcome = (
            f"{report.counts.messages:,} messages, {report.rows:,} rows in {report.segments:,} segments, "
            f"{report.unpublished:,} segments not written"
        )
    LOG.info("collect: drained: %s", companion.outcome)
    orchestrator.leave_within(5)
    return 0


async def _until_stopped(settings: Settings, store: Store, work: Collect) -> CollectReport:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await work(settings, store, stop, say=lambda text: LOG.info("%s", text))


class Companion:
    """Keeps the flow run of a collector, from a thread of its own; it may fail without anybody noticing.

    A context: `outcome` is what the run ends with, unless the context ends with an error.
    """

    def __init__(self, settings: Settings) -> None:
        self.outcome = ""
        self._settings = settings
        self._server = orchestrator.Server(settings)
        self._over = threading.Event()
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="prefect", daemon=True)

    def __enter__(self) -> "Companion":
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._error = error
        self._over.set()
        self._lines.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        """Wait for the server, then keep the run; if that breaks off, again."""
        if not orchestrator.wait_until_up(self._settings, self._over):
            LOG.info("%s: does not answer; collecting without it", orchestrator.api_address(self._settings))
        while not self._over.is_set():
            if self._server.answers():
                try:
                    self._keep_run()
                except Exception as exc:
                    self._server.failed()
                    LOG.warning("the flow run in Prefect broke off, the collector goes on: %s", line(exc))
            self._over.wait(1)

    def _keep_run(self) -> None:
        """A flow run that lasts until the collector ends, with its lines of log."""
        orchestrator.load()
        from prefect import flow, get_run_logger, tags
        from prefect.client.schemas.objects import State
        from prefect.states import Completed

        @flow(name=FLOW, flow_run_name=f"{FLOW} {self._settings.collector_mode}", persist_result=False)
        def keep(mode: str, collector: str) -> State[None]:
            """Collects from the venues into the lake; the work is in another thread of this process."""
            log = get_run_logger()
            self._server.worked()
            with _copied(self._lines):
                while (text := self._lines.get()) is not None:
                    if self._server.answers():
                        log.info(text)
            if self._error is not None:
                raise RuntimeError(line(self._error))
            return Completed(message=self.outcome)

        name = f"{FLOW}:{absolute(self._settings.lake_root)}:{self._settings.collector_name}"
        asyncio.run(_close_former(name))
        with tags(name):
            keep(self._settings.collector_mode.value, self._settings.collector_name)


async def _close_former(tag: str) -> None:
    """Runs of the same collector that still count as running lost their process: mark them crashed."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.states import Crashed

    which = {"tags": {"all_": [tag]}, "state": {"type": {"any_": ["RUNNING", "PENDING"]}}}
    async with get_client() as client:
        found = FlowRunFilter.model_validate(which)
        for run in await client.read_flow_runs(flow_run_filter=found, sort=FlowRunSort.START_TIME_DESC, limit=50):
            await client.set_flow_run_state(run.id, Crashed(message="Its process is gone."), force=True)


@contextmanager
def _copied(lines: "SimpleQueue[str | None]") -> Iterator[None]:
    """While this lasts, what the project's loggers say is put into `lines` too."""
    handler = _Copy(lines)
    logger = logging.getLogger("movers")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Copy(logging.Handler):
    def __init__(self, lines: "SimpleQueue[str | None]") -> None:
        super().__init__(logging.INFO)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.put(record.getMessage())
