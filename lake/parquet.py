"""The one writer of merged files, and what it was measured to write best.

Times and `seq` are stored as differences, prices and keys by dictionary, other numbers and texts that seldom repeat
plain, all under zstd: by `benchmarks/encoding.py`, docs/decisions/0008. Columns are what they were, so any reader of
Parquet reads them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lake.rowhash import added, rows_hash
from lake.schema import TIME, Table

ROW_GROUP: Final = 100_000
LEVEL: Final = 9

_OHLC: Final = frozenset(f"{side}{part}" for side in ("", "bid_", "ask_") for part in ("open", "high", "low", "close"))
_PRICES: Final = _OHLC | {"bid", "ask", "price", "tick_size"}
_RISING: Final = frozenset({"seq", "first_seq", "last_seq", "monotonic_us"})
_DISTINCT: Final = frozenset({"trade_id", "frame"})


@dataclass(slots=True)
class Written:
    """What went into a file."""

    rows: int = 0
    rows_hash: int = 0
    first_time: int | None = None  # microseconds, of the table's `time` column
    last_time: int | None = None

    def add(self, frame: pl.DataFrame, time: str | None) -> None:
        """Count these rows in."""
        self.rows += frame.height
        self.rows_hash = added([self.rows_hash, rows_hash(frame)])
        if time is not None and frame[time].null_count() < frame.height:
            low, high = frame.select(low=pl.col(time).min().dt.epoch("us"), high=pl.col(time).max().dt.epoch("us")).row(
                0
            )
            self.first_time = low if self.first_time is None else min(low, self.first_time)
            self.last_time = high if self.last_time is None else max(high, self.last_time)


def write(
    path: Path, table: Table, frames: Iterable[pl.DataFrame], footer: Callable[[Written], dict[bytes, bytes]]
) -> Written:
    """Write these rows, in this order; `footer` says what to add to the file's footer once all are known."""
    written = Written()
    with pq.ParquetWriter(path, _schema(table), **encoding(table)) as writer:
        for frame in frames:
            written.add(frame, table.time)
            writer.write_table(arrow(table, frame), row_group_size=ROW_GROUP)
        writer.add_key_value_metadata(footer(written))
    return written


def read(path: Path, table: Table) -> Written:
    """What is in a file, read from disk in pieces."""
    found = Written()
    for frame in frames(path):
        found.add(frame, table.time)
    return found


def frames(path: Path) -> Iterator[pl.DataFrame]:
    """A file's rows in pieces."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROW_GROUP):
            yield pl.DataFrame(batch)


def encoding(table: Table) -> dict[str, Any]:
    """How pyarrow is to write the table's columns."""
    differences = {name for name, dtype in table.columns.items() if dtype == TIME or name in _RISING}
    plain = {name for name, dtype in table.columns.items() if dtype.is_float() and name not in _PRICES}
    plain |= _DISTINCT & set(table.columns)
    chosen = dict.fromkeys(differences, "DELTA_BINARY_PACKED") | dict.fromkeys(plain, "PLAIN")
    return {
        "compression": "zstd",
        "compression_level": LEVEL,
        "use_dictionary": [_leaf(name, dtype) for name, dtype in table.columns.items() if name not in chosen],
        "column_encoding": chosen,
        "store_schema": False,
    }


def _leaf(name: str, dtype: pl.DataType) -> str:
    return f"{name}.list.element" if isinstance(dtype, pl.List) else name


def _schema(table: Table) -> pa.Schema:
    return pa.schema([pa.field(name, _TYPES[dtype]) for name, dtype in table.columns.items()])


def arrow(table: Table, frame: pl.DataFrame) -> pa.Table:
    """Rows of `table` as pyarrow writes them."""
    return table.conform(frame).to_arrow().cast(_schema(table))


_TYPES: Final = {
    pl.Int64(): pa.int64(),
    pl.Float64(): pa.float64(),
    pl.String(): pa.string(),
    pl.Binary(): pa.binary(),
    pl.Boolean(): pa.bool_(),
    pl.Date(): pa.date32(),
    TIME: pa.timestamp("us", "UTC"),
    pl.List(pl.String()): pa.list_(pa.field("element", pa.string())),
}
