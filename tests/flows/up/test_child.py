"""One supervised process: back-off, readiness, what it leaves behind. Time is passed in; real processes are tiny."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from flows.up import child
from flows.up.child import LONGEST_DELAY, Child, Spec, State
from flows.up.screen import last_line


class Fake:
    """A process that ends when the test says so."""

    pid = 1_234

    def __init__(self) -> None:
        self.code: int | None = None
        self.signals: list[tuple[signal.Signals, bool]] = []

    def poll(self):
        return self.code

    def signal(self, number, *, whole_group=False):
        self.signals.append((number, whole_group))


class Highest(random.Random):
    """The longest delay that the jitter allows."""

    def uniform(self, a, b):
        return b


@pytest.fixture
def lives() -> list[Fake]:
    return []


@pytest.fixture
def made(tmp_path, lives):
    """A child of fakes, each of its lives added to `lives`."""

    def make(rng=None, **spec) -> Child:
        def launch(spec: Spec, log: Path) -> Fake:
            lives.append(Fake())
            return lives[-1]

        return Child(Spec("fake", ["none"], **spec), tmp_path / "fake.log", rng or Highest(), launch)

    return make


def fall(one: Child, lives: list[Fake], now: float, code: int = 1) -> None:
    lives[-1].code = code
    one.step(now)


def test_delays_double_to_a_minute(made, lives):
    """A process that keeps falling is started again after 1, 2, 4 ... 60 s."""
    one, now, delays = made(), 0.0, []
    one.start(now)
    for _ in range(8):
        fall(one, lives, now)
        assert one.state is State.RESTARTING
        delays.append(one.next_start - now)
        now = one.next_start
        one.step(now - 0.01)
        assert not one.is_alive
        one.step(now)
        assert one.is_alive
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]
    assert one.restarts == 8


def test_delays_are_jittered(made, lives):
    """Two processes that fell together rise apart, and no sooner than a tenth of the longest."""
    waits = set()
    for seed in range(20):
        one = made(rng=random.Random(seed))
        one.start(0)
        fall(one, lives, 0)
        waits.add(one.next_start)
    assert len(waits) == 20
    assert all(0.1 <= wait <= 1 for wait in waits)


def test_long_life_forgives(made, lives):
    """After a minute of life the next fall waits a second again."""
    one = made()
    one.start(0)
    for now in (0, 10, 20):
        fall(one, lives, now)
        one.step(one.next_start)
    fall(one, lives, one.started + 60)
    assert one.next_start - (one.started + 60) == 1


def test_exit_2_waits_for_a_person(made, lives):
    """A wrong key or a lake of another mode is no reason for a hot loop: the next try is a minute away."""
    one = made()
    one.start(0)
    fall(one, lives, 5, code=2)
    assert one.state is State.FAILED
    assert one.next_start == 5 + LONGEST_DELAY
    one.step(5 + LONGEST_DELAY)
    assert one.state is State.STARTING


def test_ready_when_it_says_so(made, lives):
    """It is starting until it answers, and asked twice a second at most."""
    answers = iter([False, False, True])
    one = made(is_ready=lambda: next(answers))
    one.start(0)
    for now in (0, 0.1, 0.2, 0.5):
        one.step(now)
    assert one.state is State.STARTING
    one.step(1.0)
    assert one.state is State.RUNNING


def test_one_that_runs_once_is_finished(made, lives):
    """Exit 0 of a process that is to run once is its end; of any other a fall."""
    one, other = made(is_once=True), made()
    one.start(0)
    fall(one, lives, 1, code=0)
    other.start(0)
    fall(other, lives, 1, code=0)
    assert (one.state, other.state) == (State.FINISHED, State.RESTARTING)


def test_stopped_stays_stopped(made, lives):
    """After `stop` its end is no fall, and its whole group is ended with it."""
    one = made()
    one.start(0)
    one.stop()
    assert lives[0].signals == [(signal.SIGTERM, False)]
    fall(one, lives, 1, code=0)
    one.step(1_000)
    assert one.state is State.STOPPED
    assert len(lives) == 1
    assert lives[0].signals[-1] == (signal.SIGKILL, True)


def test_what_cannot_be_started_backs_off(tmp_path):
    """A program that is not there is a fall like any other, told in the log."""
    one = Child(Spec("lost", [str(tmp_path / "nothing")], dict(os.environ)), tmp_path / "lost.log", Highest())
    one.start(0)
    assert (one.state, one.next_start) == (State.RESTARTING, 1)
    assert "cannot be started" in last_line(one.log)


def test_output_goes_to_the_log(tmp_path):
    """Both streams, added to what was there; the last line is made harmless."""
    script = "import sys; print('first'); print('\\x1b[31mbad\\u202e key', file=sys.stderr)"
    one = python(tmp_path, script)
    wait_for(lambda: (one.step(0), not one.is_alive)[1])
    assert "first" in one.log.read_text()
    assert last_line(one.log) == "[31mbad key"


def test_killed_process_takes_its_group_along(tmp_path):
    """A process that is killed leaves no grandchild behind."""
    script = """
import subprocess, sys, time
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(inner.pid, flush=True)
time.sleep(60)
"""
    one = python(tmp_path, script)
    wait_for(lambda: last_line(one.log))
    inner = int(last_line(one.log))
    os.kill(one.pid, signal.SIGKILL)
    wait_for(lambda: (one.step(0), not one.is_alive)[1])
    wait_for(lambda: not lives_on(inner))
    assert one.last_exit == -signal.SIGKILL


def test_long_log_begins_anew(tmp_path, monkeypatch):
    """A log that has grown long is moved aside, once, and whoever appends to it goes on."""
    monkeypatch.setattr(child, "LONGEST_LOG", 10)
    log = tmp_path / "one.log"
    with log.open("a") as writer:
        writer.write("more than ten bytes\n")
        writer.flush()
        child.bound(log)
        writer.write("new\n")
    assert log.read_text() == "new\n"
    assert (tmp_path / "one.log.1").read_text() == "more than ten bytes\n"


def python(folder: Path, script: str) -> Child:
    one = Child(Spec("python", [sys.executable, "-c", script], dict(os.environ)), folder / "python.log", Highest())
    one.start(0)
    return one


def lives_on(pid: int) -> bool:
    """Not even as one that nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(what, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)
