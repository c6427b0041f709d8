"""Waiting in tests: never without end, and what did not come in time is a failure that says so."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def until(is_so: Callable[[], object], seconds: float = 30, *, every: float = 0.1) -> None:
    """Wait until it is; raises AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"waited {seconds:g} s in vain"
        time.sleep(every)


@contextmanager
def at_most(process: subprocess.Popen[str], seconds: float = 30) -> Iterator[None]:
    """What is waited for within this comes in time, or the process is killed, so that it comes; then the test fails."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        assert not late.is_set(), f"{process.args}: killed, as what it should say or do did not come in {seconds:g} s"
