"""Flows against a real Prefect server: runs are seen, schedules fire, and an outage stops nothing."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.exceptions
from websockets.sync.client import connect

from flows import orchestrator
from flows.collect import main as collect_main
from lake.errors import LakeError
from lake.lock import only_one
from lake.settings import Settings
from lake.store import Store
from lake.vocab import Mode
from tests.flows.server import Api, now, python, running, settings_in
from tests.lake.fresh import fresh_lake
from tests.waiting import at_most, until

pytestmark = pytest.mark.slow

HOSTILE = "Will <img src=x onerror=alert(1)> [win](javascript:alert(1))\u202e?"
SOON = """
deployments:
  - name: maintenance
    entrypoint: flows/maintain.py:maintenance
    schedules: [{interval: 5}]
    concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}
"""
JOBS = """
import sys
from pathlib import Path
from flows.serve import main
from flows.up import log
log.set_up(config)
sys.exit(main(config, deployments=Path("prefect.yaml")))
"""
COLLECTOR = """
import asyncio, sys
from pathlib import Path
from flows.collect import main
from flows.collector.service import CollectReport
from flows.up import log

async def counting(settings, store, stop, *, say):
    report = CollectReport(0)
    while not stop.is_set():
        report.rows += 1
        Path("count").write_text(str(report.rows))
        if report.rows % 100 == 0:
            say("a line of health")
        await asyncio.sleep(0.01)
    return report

log.set_up(config)
sys.exit(main(config, work=counting))
"""
LISTED = """
from flows.serve import DEPLOYMENTS, read
for job in read(DEPLOYMENTS):
    print(job.name, job.flow().name, job.every, job.concurrency_limit)
"""


@dataclass
class World:
    """A server and its interface; and two processes without it, which start while it does."""

    settings: Settings
    stack: ExitStack
    listed: subprocess.Popen[str]
    alone: subprocess.Popen[str]  # a collector where no server answers
    alone_in: Path
    server: subprocess.Popen[str] = field(init=False)
    api: Api = field(init=False)

    def start(self) -> None:
        self.server = self.stack.enter_context(running(self.settings))
        self.api = Api(self.settings)
        self.stack.callback(self.api.close)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    with ExitStack() as stack:
        settings = settings_in(tmp_path_factory.mktemp("world"), backfill_hours=0)
        listed = stack.enter_context(python(settings, LISTED))
        folder = tmp_path_factory.mktemp("alone")
        alone = stack.enter_context(python(settings_in(folder), COLLECTOR))
        found = World(settings, stack, listed, alone, folder)
        found.start()
        yield found


@dataclass
class Jobs:
    """What `movers jobs` did within its first half minute."""

    old: str
    young: str
    lost: str
    scheduled: list[dict[str, Any]]  # runs of the deployment, before the stop
    output: str
    code: int
    drained: float  # seconds


@pytest.fixture(scope="module")
def jobs(world: World) -> Jobs:
    api, folder = world.api, world.settings.prefect_dir.parent
    old = api.add_run("refresh", "COMPLETED", now() - timedelta(hours=25))
    young = api.add_run("refresh", "COMPLETED", now() - timedelta(hours=23))
    lost = api.add_run("refresh", "RUNNING", now() - timedelta(hours=2))
    api.post("/artifacts/", key="former", type="markdown", data="x", flow_run_id=old)
    fresh_lake(Store.create(world.settings.lake_root, Mode.SIMULATED), HOSTILE)
    (folder / "prefect.yaml").write_text(SOON)
    with python(world.settings, JOBS, PREFECT_RUNNER_POLL_FREQUENCY="2") as process:
        until(lambda: {"COMPLETED", "FAILED"} & set(api.states("maintenance")), 120)
        until(lambda: api.artifacts("top-movers"), 30)
        scheduled = api.runs("maintenance")  # a run whose process still ends when the runner does is marked cancelled
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        output, _ = process.communicate(timeout=20)
    return Jobs(old, young, lost, scheduled, output, process.returncode, time.monotonic() - began)


def test_strangers_are_refused(world):
    """Without the password nothing is read and nothing written; only the health check answers."""
    address = orchestrator.api_address(world.settings)
    assert httpx.get(f"{address}/health").text == "true"
    for given in (None, ("movers", "wrong")):
        assert httpx.get(f"{address}/admin/version", auth=given).status_code == 401
        assert httpx.get(f"{address}/csrf-token?client=x", auth=given).status_code == 401
        assert httpx.post(f"{address}/flow_runs/filter", json={}, auth=given).status_code == 403  # no CSRF token


@pytest.mark.parametrize("channel", ["in", "out"])
def test_strangers_are_refused_on_sockets(world, channel):
    """Events are neither taken from nor told to who does not know the password."""
    address = orchestrator.api_address(world.settings).replace("http", "ws") + f"/events/{channel}"
    with pytest.raises(websockets.exceptions.WebSocketException), connect(address) as socket:
        socket.recv(timeout=5)
    with connect(address, subprotocols=["prefect"]) as socket:
        socket.send(json.dumps({"type": "auth", "token": "movers:wrong"}))
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            socket.recv(timeout=5)


def test_pages_of_other_sites_are_refused(world):
    """A browser that shows another site does not let it read: no origin but our own is allowed."""
    address = f"{orchestrator.api_address(world.settings)}/health"
    allowed = "access-control-allow-origin"
    assert allowed not in httpx.get(address, headers={"Origin": "http://evil.example"}).headers
    assert allowed in httpx.get(address, headers={"Origin": orchestrator.ui_address(world.settings)}).headers


def test_schedule_fires(jobs):
    """A deployment that `movers jobs` registered is run by its schedule, to its end."""
    runs = jobs.scheduled
    ended = {(run["state_type"], run["state"]["message"]) for run in runs if run["end_time"]}
    assert {state for state, _ in ended} - {"CANCELLED"} == {"COMPLETED"}, ended
    assert all(run["auto_scheduled"] and run["deployment_id"] for run in runs)


def test_old_runs_are_removed(world, jobs):
    """Runs that ended longer ago than PREFECT_RETENTION_HOURS go with their artifacts; younger ones stay."""
    left = {run["id"] for run in world.api.runs("refresh")}
    assert jobs.old not in left
    assert jobs.young in left
    assert world.api.artifacts("former") == []


def test_lost_runs_are_closed(world, jobs):
    """A run whose process is gone does not count as running for ever."""
    (run,) = world.api.runs("refresh", id={"any_": [jobs.lost]})
    assert run["state_type"] == "CRASHED"


def test_refresh_is_seen(world, jobs):
    """A refresh is a flow run whose steps are tasks, with one table of the top movers; titles are plain text in it."""
    artifact = world.api.artifacts("top-movers")[0]
    (run,) = world.api.runs("refresh", id={"any_": [artifact["flow_run_id"]]})
    assert run["state_type"] == "COMPLETED"
    tasks = {task["name"] for task in world.api.of_run("task_runs", run["id"])}
    assert tasks == {"bars", "board", "former-boards", "top-movers"}
    assert len(world.api.of_run("artifacts", run["id"])) == 1
    rows = json.loads(artifact["data"])
    assert {re.sub(r"\\(.)", r"\1", row["market"]) for row in rows} == {HOSTILE.replace("\u202e", "")}
    assert all(re.fullmatch(r"(\\[!-~]|[\w ])*", row["market"]) for row in rows)  # no mark without its backslash
    assert {row["market id"] for row in rows} == {r"kalshi\:FRESH"}
    assert "Will" not in artifact["description"]


def test_jobs_drain(jobs):
    """SIGTERM ends them within ten seconds, with exit code 0 and without a traceback."""
    assert jobs.code == 0
    assert jobs.drained < 10
    assert "Traceback" not in jobs.output
    assert "0 of them failed" in jobs.output


def test_every_deployment_can_be_run(world):
    """prefect.yaml names flows that are there, with a schedule, and without piling up."""
    output, _ = world.listed.communicate(timeout=60)
    limit = "{'limit': 1, 'collision_strategy': 'CANCEL_NEW'}"
    assert output.splitlines() == [
        f"catalog-sync catalog-sync 0:15:00 {limit}",
        f"backfill backfill 1:00:00 {limit}",
        f"compaction compaction 1:00:00 {limit}",
        f"maintenance maintenance 1:00:00 {limit}",
    ]


def test_collector_outlives_the_server(world):
    """Its run is seen; the server killed, it goes on at once; the server back, the run ends as completed."""

    def count() -> int:
        return int((folder / "count").read_text() or 0)

    folder = world.settings.prefect_dir.parent
    with python(world.settings, COLLECTOR, PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30") as process:
        until(lambda: world.api.states("collect") == ["RUNNING"], 60)
        world.server.kill()
        world.server.wait(timeout=20)
        before, began = count(), time.monotonic()
        until(lambda: count() > before + 200, 20)
        assert time.monotonic() - began < 10
        world.start()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in output
    assert len(output.splitlines()) < 20 + count() // 100
    (run,) = world.api.runs("collect")
    assert run["state_type"] == "COMPLETED"
    assert f"{count():,} rows" in run["state"]["message"]


def test_second_collector_is_refused(tmp_path):
    """Two of one name on one lake would write every row twice: the second is told whose turn it is, and ends with 2."""
    settings = settings_in(tmp_path)
    store = Store.create(settings.lake_root, settings.collector_mode)
    with only_one(store.root, "collector-main"), pytest.raises(LakeError, match="is its collector-main already"):
        collect_main(settings)


def test_collector_without_server(world):
    """It says so in one line and collects."""
    process, output = world.alone, ""
    with at_most(process):
        while "does not answer" not in output:
            line = process.stdout.readline()
            assert line, f"it ended, and said only: {output}"
            output += line
    process.send_signal(signal.SIGTERM)
    output += process.communicate(timeout=20)[0]
    assert process.returncode == 0
    assert int((world.alone_in / "count").read_text()) > 0
    assert output.count("does not answer; collecting without it") == 1
