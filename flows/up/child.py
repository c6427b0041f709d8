"""One supervised process: started, watched, started again with back-off, stopped, and never left behind.

`step` is called a few times a second with the time; nothing here waits or sleeps. Each process leads a process group
of its own, so Ctrl-C on the terminal does not reach it and what it leaves behind can be ended with it.
"""

import ctypes
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

FIRST_DELAY: Final = 1.0  # seconds, doubled with each failure
LONGEST_DELAY: Final = 60.0
HEALTHY_AFTER: Final = 60.0  # a process that lived so long starts from the first delay again
ASK_EVERY: Final = 0.5  # seconds between two looks at whether it is ready
USER_ERROR: Final = 2  # the exit code that says: a person has to act
LONGEST_LOG: Final = 8 * 2**20  # bytes; then the log begins anew and the former is kept beside it


class State(StrEnum):
    """Where a process stands."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"  # it says that a person has to act; tried again at the longest delay
    FINISHED = "finished"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run, and how it is known to be well."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)  # all of it
    is_ready: Callable[[], bool] | None = None  # None: as soon as it lives
    health: Callable[[], str] | None = None  # a few words beside its last log line
    after: str | None = None  # the process whose readiness it waits for
    url: str | None = None  # what to tell once it is ready
    phase: int = 0  # of the drain: 0 is stopped first
    grace: float = 10.0  # seconds between SIGTERM and SIGKILL
    nice: int = 0
    is_once: bool = False  # its exit with 0 is its end


class Process(Protocol):
    """One life of a child."""

    @property
    def pid(self) -> int:
        """Its id, and that of the process group that it leads."""

    def poll(self) -> int | None:
        """The exit code; None while it lives."""

    def signal(self, number: signal.Signals, *, whole_group: bool = False) -> None:
        """Send it a signal, or to all of its group, also after its own end."""


Launch = Callable[[Spec, Path], Process]


class Child:
    """The process of one spec through all its lives."""

    def __init__(self, spec: Spec, log: Path, rng: random.Random, launch: Launch | None = None) -> None:
        self.spec, self.log = spec, log
        self.state = State.WAITING
        self.restarts = 0
        self.started = 0.0  # all times are those that `step` was given
        self.next_start = 0.0
        self.last_exit: int | None = None
        self.log_start = 0  # where in the log this life begins
        self._rng, self._launch = rng, launch or spawn
        self._process: Process | None = None
        self._failures = 0
        self._asked = 0.0

    @property
    def pid(self) -> int | None:
        """None while there is no process."""
        return None if self._process is None else self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether there is a process that was not seen to end."""
        return self._process is not None

    def start(self, now: float) -> None:
        """Begin a life; a program that cannot be started counts as one that ended at once."""
        self.state, self.started, self._asked = State.STARTING, now, now - ASK_EVERY
        try:
            bound(self.log)
            self.log_start = self.log.stat().st_size if self.log.exists() else 0
            self._process = self._launch(self.spec, self.log)
        except OSError as exc:
            with suppress(OSError), self.log.open("a") as log:
                log.write(f"{self.spec.name}: cannot be started: {exc}\n")
            self._ended(now, 1)

    def step(self, now: float) -> None:
        """See whether it ended, is ready, or is due again."""
        if self._process is not None:
            code = self._process.poll()
            if code is not None:
                self._ended(now, code)
            elif self.state is State.STARTING and now - self._asked >= ASK_EVERY:
                self._asked = now
                if self.spec.is_ready is None or self.spec.is_ready():
                    self.state = State.RUNNING
        elif self.state in (State.RESTARTING, State.FAILED) and now >= self.next_start:
            self.restarts += 1
            self.start(now)

    def stop(self) -> None:
        """Ask it to drain and end; it is not started again."""
        self.state = State.STOPPED
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now, with all that it started."""
        self.state = State.STOPPED
        self._signal(signal.SIGKILL, whole_group=True)

    def _ended(self, now: float, code: int) -> None:
        self._signal(signal.SIGKILL, whole_group=True)  # what it left behind
        self._process, self.last_exit = None, code
        if self.state is State.STOPPED:
            return
        if self.spec.is_once and code == 0:
            self.state = State.FINISHED
            return
        self._failures = 1 if now - self.started >= HEALTHY_AFTER else self._failures + 1
        self.state = State.FAILED if code == USER_ERROR else State.RESTARTING
        self.next_start = now + (LONGEST_DELAY if code == USER_ERROR else self._delay())

    def _delay(self) -> float:
        """Full jitter, so that processes that fell together do not rise together."""
        highest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(self._failures - 1, 10))
        return self._rng.uniform(highest / 10, highest)

    def _signal(self, number: signal.Signals, *, whole_group: bool = False) -> None:
        if self._process is not None:
            self._process.signal(number, whole_group=whole_group)


class Spawned:
    """A real process. It is sent SIGTERM when we end, however we end."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen

    @property
    def pid(self) -> int:
        """See `Process`."""
        return self._popen.pid

    def poll(self) -> int | None:
        """See `Process`."""
        return self._popen.poll()

    def signal(self, number: signal.Signals, *, whole_group: bool = False) -> None:
        """See `Process`."""
        with suppress(ProcessLookupError, PermissionError):
            if whole_group:
                os.killpg(self.pid, number)
            else:
                self._popen.send_signal(number)  # knows whether the id is still its own


def spawn(spec: Spec, log: Path) -> Process:
    """The process of `spec`, its output added to `log`."""
    parent = os.getpid()
    with log.open("ab") as output:
        popen = subprocess.Popen(
            spec.command,
            env=dict(spec.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=lambda: _prepare(parent, spec.nice),  # safe: the supervisor has one thread
        )
    return Spawned(popen)


def bound(log: Path) -> None:
    """Begin a log anew that has grown long; one former is kept. Its writers append, so they go on at the beginning."""
    with suppress(OSError):  # it is not there, or the disk is full
        if log.stat().st_size > LONGEST_LOG:
            log.with_suffix(".log.1").write_bytes(log.read_bytes())
            os.truncate(log, 0)


def _prepare(parent: int, nice: int) -> None:
    """In the new process: SIGTERM to it when its parent dies, where the system can (Linux), and its priority."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
    if nice:
        os.nice(nice)


_PR_SET_PDEATHSIG: Final = 1
_PRCTL: Final = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
