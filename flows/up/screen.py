"""What a person sees of `movers up`: a live table on a terminal, a line for each change anywhere else."""

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from flows import show
from flows.up import figures
from flows.up.child import Child, State
from flows.up.figures import Cost
from lake.text import safe_text

EVERY: Final = 1.0  # seconds between two tables
_TAIL: Final = 4_096  # bytes of a log, looked through for its last line
_LEAD: Final = re.compile(r"^\d{4}-\d\d-\d\d (\d\d:\d\d:\d\d)(?:,\d+)? (?:INFO )?")  # of a line of log: the day goes


class LiveScreen:
    """A table that is drawn anew each second; lines that stay are above it."""

    def __init__(self, console: Console, title: str) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._title = title
        self._drawn = -EVERY
        self._before: tuple[float, dict[int, Cost]] = (0.0, {})

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, now: float, children: Sequence[Child], *, is_last: bool = False) -> None:
        """The table, if it is time."""
        if is_last or now - self._drawn >= EVERY:
            self._drawn = now
            costs = figures.by_group()
            then, before = self._before
            self._before = (now, costs)
            rows = [_row(child, now, costs, before, now - then) for child in children]
            self._live.update(show.processes(self._title, rows), refresh=True)

    def tell(self, text: str) -> None:
        """A line above the table."""
        self._live.console.print(Text(safe_text(text)), soft_wrap=True)


class LineScreen:
    """For a log or a pipe: each change of a state is a line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: dict[str, tuple[str, int | None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, now: float, children: Sequence[Child], *, is_last: bool = False) -> None:
        """What changed since the last call."""
        for child in children:
            mark = (child.state.value, child.pid)
            if self._seen.get(child.spec.name) != mark and child.state is not State.WAITING:
                self._seen[child.spec.name] = mark
                self.tell(f"{child.spec.name}: {_changed(child, now)}")

    def tell(self, text: str) -> None:
        """The line."""
        self._console.print(Text(f"movers: {safe_text(text)}"), soft_wrap=True)


def for_console(console: Console, title: str) -> LiveScreen | LineScreen:
    """The table where it can be drawn."""
    return LiveScreen(console, title) if console.is_terminal and not console.is_dumb_terminal else LineScreen(console)


def last_line(log: Path, start: int = 0) -> str:
    """The newest line of a log, from byte `start` on, that says something; hostile text made harmless."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL, start if start <= size else 0))  # it may have begun anew
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((text for line in reversed(lines) if (text := safe_text(line))), "")


def _changed(child: Child, now: float) -> str:
    state = _state(child, now)
    if child.state in (State.RESTARTING, State.FAILED):
        return f"{state}: {_why(child)}"
    return f"{state} (pid {child.pid})" if child.pid else state


def _row(child: Child, now: float, costs: dict[int, Cost], before: dict[int, Cost], span: float) -> show.ProcessRow:
    cost, past = (None if child.pid is None else found.get(child.pid) for found in (costs, before))
    percent = None
    if cost is not None and past is not None and span > 0:
        percent = max(0.0, 100 * (cost.cpu_seconds - past.cpu_seconds) / span)
    return show.ProcessRow(
        name=child.spec.name,
        state=_state(child, now),
        is_well=child.state in (State.RUNNING, State.FINISHED),
        is_bad=child.state in (State.RESTARTING, State.FAILED),
        pid=child.pid,
        uptime=timedelta(seconds=int(now - child.started)) if child.pid else None,
        cpu_percent=percent,
        rss_bytes=cost.rss_bytes if cost else None,
        restarts=child.restarts,
        detail=_detail(child),
    )


def _state(child: Child, now: float) -> str:
    wait = max(0, ceil(child.next_start - now))
    if child.state is State.RESTARTING:
        return f"restarting in {wait} s"
    if child.state is State.FAILED:
        return f"failed, again in {wait} s"
    return "stopping" if child.state is State.STOPPED and child.is_alive else child.state.value


def _detail(child: Child) -> str:
    if child.state in (State.RESTARTING, State.FAILED):
        return _why(child)
    words = child.spec.health() if child.spec.health and child.is_alive else ""
    said = _LEAD.sub(r"\1 ", last_line(child.log, child.log_start)) if child.is_alive else ""
    return "; ".join(part for part in (words, said) if part)


def _why(child: Child) -> str:
    """Its last words, and how it ended."""
    code = child.last_exit or 0
    ended = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
    said = last_line(child.log, child.log_start)
    return f"{said} ({ended})" if said else ended
