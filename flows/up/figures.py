"""What processes cost, read from /proc: processor time and memory of whole process groups. Elsewhere: nothing known."""

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")  # a second
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")  # bytes


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process group, so far."""

    cpu_seconds: float
    rss_bytes: int


def by_group() -> dict[int, Cost]:
    """The cost of each process group that lives, by its id."""
    seconds: dict[int, float] = defaultdict(float)
    memory: dict[int, int] = defaultdict(int)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()  # the name before it may hold anything
        except OSError:  # over meanwhile
            continue
        group = int(fields[2])
        seconds[group] += (int(fields[11]) + int(fields[12])) / _TICKS
        memory[group] += int(fields[21]) * _PAGE
    return {group: Cost(seconds[group], memory[group]) for group in seconds}
