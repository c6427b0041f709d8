"""Segments: the rows of consecutive items, which are published together, and when one is over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from flows.collector.journal import Item
from lake.clock import HOUR_US
from lake.schema import Table

SEGMENT_US: Final = 60_000_000
SEGMENT_BYTES: Final = 16 << 20
SEGMENT_LEAST_US: Final = 10_000_000

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """When a segment is over: after 60 s, at a UTC hour's edge, or at 16 MiB once it is 10 s old.

    `longest` is how long one that is open at an instant may get, and at multiples of `edge` one ends, microseconds.
    """

    longest: Callable[[int], int] = lambda received: SEGMENT_US
    edge: int = HOUR_US

    def is_over(self, first: int, size: int, received: int) -> bool:
        """Whether what comes at `received` belongs to the next segment after one of `size` bytes since `first`."""
        age = received - first
        return (
            age < 0
            or age >= self.longest(received)
            or received // self.edge > first // self.edge
            or (size >= SEGMENT_BYTES and age >= SEGMENT_LEAST_US)
        )


USUAL: Final = Rule()


@dataclass(slots=True, eq=False)
class Segment:
    """The rows of consecutive items, by table and venue."""

    first_seq: int
    first_received: int
    last_seq: int
    last_received: int
    frames: int = 0
    size: int = 0  # bytes of them
    rows: dict[tuple[Table, str], list[Row]] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)  # what table `raw` is made of
    made: dict[tuple[Table, str], list[pl.DataFrame]] = field(default_factory=dict)  # of rows and items that were taken
    known: bytes = b""  # what is known at its end, if a `Cut` ended it
