"""`movers up` as a user runs it: simulated venues, collector, jobs and pages, from nothing to rows, and down again."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from flows.up.ports import answers
from lake.query import Lake

SETTINGS = ("APP_PORT", "SIMULATOR_POLYMARKET_PORT", "SIMULATOR_KALSHI_PORT")


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """A small world on free ports, and none of the developer's settings."""
    with ExitStack() as stack:
        trials = [stack.enter_context(socket.socket()) for _ in SETTINGS]
        for trial in trials:
            trial.bind(("127.0.0.1", 0))
        ports = {name: str(trial.getsockname()[1]) for name, trial in zip(SETTINGS, trials, strict=True)}
    small = {"SIMULATOR_MARKETS": "60", "SIMULATOR_RATE": "30", "BACKFILL_HOURS": "0"}
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **ports, **small}


@pytest.mark.slow
def test_from_nothing_to_rows_and_down_again(tmp_path, environment):
    """Rows of both venues come, the pages answer, SIGTERM ends all with 0, and what was collected stays readable."""
    command = [sys.executable, "-P", "-m", "flows.cli", "up", "--no-prefect"]
    with (tmp_path / "said").open("w") as said:
        supervisor = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=said)
    try:
        wait_for(lambda: venues_with_rows(tmp_path) == 2 and answers(int(environment["APP_PORT"])), supervisor)
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(30) == 0
    finally:
        supervisor.kill()
        supervisor.wait()
    text = (tmp_path / "said").read_text()
    assert f"pages: http://127.0.0.1:{environment['APP_PORT']}" in text
    assert "restarting" not in text
    pids = set(re.findall(r"\(pid (\d+)\)", text))
    assert len(pids) == 4
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    counts = Lake.open(tmp_path / "data" / "simulated").counts()
    assert counts.quotes > 0 and counts.dead_letters == 0


def venues_with_rows(folder: Path) -> int:
    return len({path.parts[-3] for path in folder.glob("data/simulated/quotes/venue=*/date=*/*.parquet")})


def wait_for(what, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, "ended by itself"
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.1)
