"""The supervisor over small real processes: order, restarts, draining, and nobody left behind."""

import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from flows.up import figures
from flows.up.child import Child, Spec, State
from flows.up.screen import LineScreen, LiveScreen
from flows.up.supervisor import PATIENCE, Supervisor

SLEEPS = "import time; time.sleep(60)"
DRAINS = """
import signal, sys, time
def drain(*_):
    time.sleep(0.1)
    print("drained", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, drain)
print("up", flush=True)
time.sleep(60)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


class Quiet:
    """A screen that remembers what it was told, with the state of all then."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def show(self, now, children, *, is_last=False):
        pass

    def tell(self, text):
        self.told.append(text)


class Low(random.Random):
    def uniform(self, a, b):
        return 0.01


@pytest.fixture
def child(tmp_path):
    """A child that runs a script; all are ended when the test is over."""
    made: list[Child] = []

    def make(name: str, script: str = SLEEPS, **spec) -> Child:
        command = [sys.executable, "-c", script]
        made.append(Child(Spec(name, command, dict(os.environ), **spec), tmp_path / f"{name}.log", Low()))
        return made[-1]

    yield make
    for one in made:
        one.kill()
        wait_for(lambda one=one: (one.step(0), not one.is_alive)[1])


def supervise(supervisor: Supervisor, until, *, then=lambda: None, send=(signal.SIGTERM,)) -> int:
    """Run in this thread until `until` holds, then do `then` and send us these signals; the exit code."""

    def pause(seconds: float) -> None:
        time.sleep(0.01)
        assert time.monotonic() < deadline, "did not happen"
        if not state["stopped"] and until():
            state["stopped"] = True
            then()
            for number in send:
                os.kill(os.getpid(), number)

    state, deadline = {"stopped": False}, time.monotonic() + 20
    supervisor._pause = pause
    return supervisor.run()


def test_sigterm_drains_in_order(child):
    """First the collector, whose rows matter most, then those that read, then those that serve; exit code 0."""
    venue, server = child("venue", DRAINS, phase=2), child("server", DRAINS, phase=1)
    collector = child("collector", DRAINS, phase=0, after="venue")
    everyone = [venue, server, collector]
    before = signal.getsignal(signal.SIGTERM)
    assert supervise(Supervisor(everyone, Quiet()), lambda: all("up" in words(one) for one in everyone)) == 0
    assert all(words(one).endswith("drained\n") and not one.is_alive for one in everyone)
    ends = [one.log.stat().st_mtime_ns for one in (collector, server, venue)]
    assert ends == sorted(ends)
    assert signal.getsignal(signal.SIGTERM) == before


def test_killed_child_is_started_again(child):
    """The rest goes on meanwhile, untouched."""
    one, other = child("one"), child("other")
    pids: list[int | None] = []

    def second_life() -> bool:
        if one.pid and other.pid and not pids:
            pids.extend([one.pid, other.pid])
            os.kill(one.pid, signal.SIGKILL)
        return one.restarts == 1 and one.is_alive

    def look() -> None:
        assert one.pid not in pids
        assert other.pid == pids[1]

    assert supervise(Supervisor([one, other], Quiet()), second_life, then=look) == 0


def test_user_error_is_shown_and_the_rest_goes_on(child):
    """Exit 2 shows the process's own line, and is not tried in a hot loop."""
    bad = child("collect", "import sys; print('movers: KALSHI_API_SECRET: is no key'); sys.exit(2)")
    good = child("app")
    out = io.StringIO()
    screen = LineScreen(Console(file=out, width=200))
    code = supervise(Supervisor([bad, good], screen), lambda: bad.state is State.FAILED and good.is_alive)
    assert code == 0
    assert "collect: failed, again in 60 s: movers: KALSHI_API_SECRET: is no key (ended with code 2)" in out.getvalue()
    assert "app: running (pid" in out.getvalue()
    assert bad.restarts == 0


def test_further_ctrl_c_kills(child):
    """Who does not want to wait presses it again; the exit code says so."""
    one = child("one", STUBBORN, grace=60)
    screen = Quiet()
    code = supervise(Supervisor([one], screen), lambda: "up" in words(one), send=(signal.SIGINT, signal.SIGINT))
    assert code == 130
    assert screen.told == ["stopping; another Ctrl-C kills", "killed"]
    assert one.last_exit == -signal.SIGKILL


def test_further_sigterm_changes_nothing(child):
    """A group that is told as a whole, or a terminal that is closed, tells us twice; rows are still written."""
    one = child("one", DRAINS)
    signals = (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM)
    assert supervise(Supervisor([one], Quiet()), lambda: "up" in words(one), send=signals) == 0
    assert words(one).endswith("drained\n")


def test_grace_ends(child):
    """What does not drain in its time is killed, and named."""
    one = child("one", STUBBORN, grace=0.2)
    screen = Quiet()
    assert supervise(Supervisor([one], screen), lambda: "up" in words(one)) == 0
    assert "one is killed: it did not end in 0 s" in screen.told


def test_waits_for_readiness_not_for_ever(child):
    """A process starts when the one it comes after is ready, or when that takes too long."""
    now = [0.0]
    venue = child("venue", is_ready=lambda: False)
    collector = child("collector", after="venue")
    supervisor = Supervisor([venue, collector], Quiet(), clock=lambda: now[0])
    supervisor.step(0)
    supervisor.step(PATIENCE - 0.1)
    assert (venue.state, collector.state) == (State.STARTING, State.WAITING)
    supervisor.step(PATIENCE)
    assert collector.is_alive


def test_after_one_that_runs_once(child):
    """The pages of a replay come up when it is in, however long that takes; when all ran, it is over."""
    first, second = child("replay", "pass", is_once=True), child("app", "pass", is_once=True, after="replay")
    assert supervise(Supervisor([first, second], Quiet()), lambda: False) == 0
    assert (first.last_exit, second.last_exit) == (0, 0)
    assert second.started > first.started


def test_address_is_told_once(child):
    """When it answers for the first time, and not after a restart."""
    one = child("app", url="pages: http://127.0.0.1:5006")
    screen = Quiet()

    def again() -> bool:
        if one.restarts == 0 and one.state is State.RUNNING:
            os.kill(one.pid, signal.SIGKILL)
        return one.restarts == 1 and one.state is State.RUNNING

    supervise(Supervisor([one], screen), again)
    assert screen.told.count("pages: http://127.0.0.1:5006") == 1


def test_table_shows_each_process(child):
    """Name, state, pid, cost and last word; venue text in it acts on nothing."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=160, color_system=None)
    one = child(
        "collect",
        "print('2026-11-23 03:57:31 INFO title \\x1b]0;x\\x07 [red]'); import time; time.sleep(60)",
        health=lambda: "rows 4 s ago",
    )
    with LiveScreen(console, "movers up") as screen:
        now = time.monotonic()
        one.log.write_text("of a former life\n")
        one.start(now)
        screen.show(now, [one])
        assert "former" not in out.getvalue()
        wait_for(lambda: "title" in words(one))
        one.step(now + 1)
        screen.show(now + 1, [one])
        screen.show(now + 3, [one])
        assert len(figures.by_group()) > 1
        screen.show(now + 5, [child("none")])
        screen.tell("pages: http://127.0.0.1:5006")
    text = out.getvalue()
    assert "rows 4 s ago; 03:57:31 title ]0;x [red]" in text
    assert "running" in text and str(one.pid) in text and "MiB" in text and "%" in text
    assert "\x1b]0" not in text
    (line,) = {line for line in text.splitlines() if line.strip().startswith("none")}
    assert line.split() == ["none", "waiting", "–", "–", "–", "–", "0"]
    assert "pages: http" in text


def test_last_table_is_of_the_end(child):
    """What stays on the terminal is how it ended, not how it was a second before."""
    out = io.StringIO()
    one = child("one", DRAINS)
    with LiveScreen(Console(file=out, force_terminal=True, width=120, color_system=None), "movers up") as screen:
        supervise(Supervisor([one], screen), lambda: "up" in words(one))
    assert out.getvalue().rpartition("one ")[2].split()[0] == "stopped"


def test_nobody_outlives_a_killed_supervisor(tmp_path):
    """`kill -9` of the supervisor sends SIGTERM to each child, which drains by itself."""
    script = f"""
import os, sys
from pathlib import Path
from random import Random
from rich.console import Console
from flows.up.child import Child, Spec
from flows.up.screen import LineScreen
from flows.up.supervisor import Supervisor
children = [
    Child(Spec(name, [sys.executable, "-c", {DRAINS!r}], dict(os.environ)), Path(name + ".log"), Random())
    for name in ("one", "two")
]
Supervisor(children, LineScreen(Console())).run()
"""
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, stdout=subprocess.PIPE
    ) as supervisor:
        wait_for(lambda: all(log.exists() and "up" in log.read_text() for log in logs))
        supervisor.kill()
        supervisor.wait()
        if sys.platform == "linux":
            wait_for(lambda: all(log.read_text().endswith("drained\n") for log in logs))


def words(one: Child) -> str:
    return one.log.read_text() if one.log.exists() else ""


def wait_for(what, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "did not happen"
        threading.Event().wait(0.02)
