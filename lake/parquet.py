"""Parquet files: the one writer of merged ones, what it was measured to write best, and how a footer is read.

Times and `seq` are stored as differences, prices and keys by dictionary, other numbers and texts that seldom repeat
plain, all under zstd: by `benchmarks/encoding.py`, docs/decisions/0008. Columns are what they were, so any reader of
Parquet reads them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lake.errors import LakeError
from lake.files import Files
from lake.rowhash import added, rows_hash
from lake.schema import TIME, Table

ROW_GROUP: Final = 100_000
LEVEL: Final = 9
PAGE: Final = 5_000
"""Rows of a page: who looks for one market reads a page of each column, not all of its row group."""

_MARK: Final = b"PAR1"
_LENGTH: Final = 4  # bytes that say how long the footer is, before the mark at the end
_TAIL: Final = 1 << 16  # bytes; most footers are shorter

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


def footer(files: Files, path: str) -> pq.FileMetaData:
    """A file's footer. Raises `LakeError` if it is damaged, `OSError` where it cannot be had."""
    tail, length = _end(files, path, _TAIL)
    if length > len(tail):
        tail, _ = _end(files, path, length)
    try:
        return pq.read_metadata(BytesIO(tail))
    except (pa.ArrowException, OSError) as exc:  # of bytes in memory
        raise LakeError(f"a footer that cannot be read: {' '.join(str(exc).split())[:200]}") from exc


def is_whole(files: Files, path: str) -> bool:
    """Whether a file begins and ends as Parquet does; no more is looked at. Raises `OSError`."""
    try:
        _end(files, path, _LENGTH + len(_MARK))
    except LakeError:
        return False
    return True


def _end(files: Files, path: str, most: int) -> tuple[bytes, int]:
    """The last bytes of a file, and how many its footer takes with length and mark."""
    head, tail, size = files.edges(path, len(_MARK), most)
    length = int.from_bytes(tail[-_LENGTH - len(_MARK) : -len(_MARK)], "little") + _LENGTH + len(_MARK)
    if not head == tail[-len(_MARK) :] == _MARK or length + len(_MARK) > size:
        raise LakeError(f"{size:,} bytes that do not begin and end as Parquet does")
    return tail, length


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
        "max_rows_per_page": PAGE,
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
