"""The loop that keeps all processes going until it is told to stop, then drains them in order."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, Protocol

from flows.up.child import Child, State, bound

TICK: Final = 0.2  # seconds between two looks at the processes
PATIENCE: Final = 20.0  # a process waits no longer than this for the one that it comes after
LAST_WAIT: Final = 5.0  # seconds for processes that were killed to be gone
LOOK_AT_LOGS: Final = 10.0  # seconds between two looks at how long the logs are

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Screen(Protocol):
    """Where a person sees what goes on."""

    def show(self, now: float, children: Sequence[Child], *, is_last: bool = False) -> None:
        """The state of all, now."""

    def tell(self, text: str) -> None:
        """One line that stays."""


class Supervisor:
    """All processes, in the order in which they are shown."""

    def __init__(
        self,
        children: Sequence[Child],
        screen: Screen,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.children = children
        self._screen, self._clock, self._pause = screen, clock, pause
        self._began = clock()
        self._looked = self._began
        self._told: set[str] = set()
        self._is_stopping = self._is_hurried = False

    def run(self) -> int:
        """Keep all going until SIGINT, SIGTERM or SIGHUP. The exit code: 0, or 130 if a further SIGINT killed."""
        with self._listening():
            try:
                while not self._is_stopping and not self._is_over():
                    self.step(self._clock())
                    self._pause(TICK)
                if self._is_stopping:
                    self._tell("stopping; another Ctrl-C kills")
                self.drain()
                if self._is_hurried:
                    self._tell("killed")
            except Exception:
                self.drain()  # a fault of ours costs nobody what he has received
                raise
            finally:
                self._end_all()
        return 130 if self._is_hurried else 0

    def step(self, now: float) -> None:
        """Start what is due, watch what runs, tell what is new."""
        for child in self.children:
            if child.state is State.WAITING and self._is_due(child, now):
                child.start(now)
            child.step(now)
            if child.state is State.RUNNING and child.spec.url and child.spec.name not in self._told:
                self._told.add(child.spec.name)
                self._tell(child.spec.url)
        if now - self._looked >= LOOK_AT_LOGS:
            self._looked = now
            for child in self.children:
                bound(child.log)
        self._show(now)

    def drain(self) -> None:
        """Stop phase by phase: SIGTERM, and SIGKILL after the grace or at a further Ctrl-C."""
        for phase in sorted({child.spec.phase for child in self.children}):
            group = [child for child in self.children if child.spec.phase == phase]
            for child in group:
                child.stop()
            since = self._clock()
            while any(child.is_alive for child in group) and not self._is_hurried:
                now = self._clock()
                for child in group:
                    if child.is_alive and now - since > child.spec.grace:
                        self._tell(f"{child.spec.name} is killed: it did not end in {child.spec.grace:.0f} s")
                        child.kill()
                    child.step(now)
                self._show(now)
                self._pause(TICK / 4)

    def stop(self, number: int = signal.SIGTERM, _frame: FrameType | None = None) -> None:
        """Drain; and kill at a further Ctrl-C. Only takes note, since a signal comes at any point.

        A further SIGTERM or SIGHUP changes nothing: who sends one to a whole group, or closes a terminal, sends two.
        """
        self._is_hurried |= self._is_stopping and number == signal.SIGINT
        self._is_stopping = True

    def _is_due(self, child: Child, now: float) -> bool:
        first = next((other for other in self.children if other.spec.name == child.spec.after), None)
        if first is None or first.state is State.FINISHED:
            return True
        return not first.spec.is_once and (first.state is State.RUNNING or now - self._began >= PATIENCE)

    def _is_over(self) -> bool:
        """Whether nothing will ever run again: all were to run once, and did."""
        return all(child.state is State.FINISHED for child in self.children)

    def _show(self, now: float, *, is_last: bool = False) -> None:
        with suppress(OSError):  # a terminal that was closed: SIGHUP follows, and all is drained
            self._screen.show(now, self.children, is_last=is_last)

    def _tell(self, text: str) -> None:
        with suppress(OSError):
            self._screen.tell(text)

    def _end_all(self) -> None:
        """Nothing outlives us, whatever went wrong."""
        for child in self.children:
            child.kill()
        deadline = self._clock() + LAST_WAIT
        while any(child.is_alive for child in self.children) and self._clock() < deadline:
            self._pause(TICK / 4)
            for child in self.children:
                child.step(self._clock())
        self._show(self._clock(), is_last=True)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.stop) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
