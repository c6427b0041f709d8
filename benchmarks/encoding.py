"""Bytes per quote and microseconds to write it, by encoding: what `lake.parquet` was chosen by.

On recorded Kalshi sessions where MOVERS_RECORDINGS is set, and on the simulated venues. All columns are counted, and
the footer; rows lie as in a merged file. `python -m benchmarks.encoding SECONDS` simulates so many; 3600 makes the
figures of docs/decisions/0008.
"""

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.universes import quotes, recorded, simulated
from flows.jobs.maintenance import maintain
from lake import parquet, settings
from lake.schema import QUOTES
from lake.store import Store

TIMES, PRICES, SIZES = ("event_time", "received_time", "seq"), ("bid", "ask"), ("bid_size", "ask_size")
NAMES = ("market_key", "source")
DELTA, SPLIT, PLAIN = "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "PLAIN"


def ways() -> dict[str, dict[str, Any]]:
    """What is tried: how each kind of column is written, and the level of zstd."""
    differences = dict.fromkeys(TIMES, DELTA)
    found = {
        "all by dictionary, zstd 3": way((*NAMES, *TIMES, *PRICES, *SIZES), {}, 3),
        "times plain, rest dictionary, zstd 3": way((*NAMES, *PRICES, *SIZES), dict.fromkeys(TIMES, PLAIN), 3),
        "times split, rest dictionary, zstd 3": way((*NAMES, *PRICES, *SIZES), dict.fromkeys(TIMES, SPLIT), 3),
        "times as differences, rest dictionary, zstd 3": way((*NAMES, *PRICES, *SIZES), differences, 3),
        "... prices split": way((*NAMES, *SIZES), differences | dict.fromkeys(PRICES, SPLIT), 3),
        "... prices plain": way((*NAMES, *SIZES), differences | dict.fromkeys(PRICES, PLAIN), 3),
        "... sizes split": way((*NAMES, *PRICES), differences | dict.fromkeys(SIZES, SPLIT), 3),
    }
    for level in (3, 9, 15):
        found[f"... sizes plain, zstd {level}"] = way(
            (*NAMES, *PRICES), differences | dict.fromkeys(SIZES, PLAIN), level
        )
    return found | {"lake.parquet": parquet.encoding(QUOTES)}


def way(dictionary: tuple[str, ...], others: dict[str, str], level: int) -> dict[str, Any]:
    zstd = {"compression": "zstd", "compression_level": level}
    return {**zstd, "use_dictionary": list(dictionary), "column_encoding": others, "store_schema": False}


def main(seconds: int = 300) -> dict[str, float]:
    """Print the tables; bytes per quote of merged lakes by universe."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        lakes = {f"simulated, {seconds:,} s": simulated(Path(folder) / "simulated", seconds)}
        recordings = settings.load().movers_recordings
        if recordings is not None:
            lakes["recorded Kalshi sessions"] = recorded(recordings, Path(folder) / "recorded")
        for name, store in lakes.items():
            frame = quotes(store)
            Console().print(compared(name, frame))
            found[name] = merged(store)
            print(f"{name}: {found[name]:.2f} bytes a quote in the merged lake, {frame.height:,} quotes")
    return found


def compared(name: str, frame: pl.DataFrame) -> Table:
    table = Table(title=f"{name}: {frame.height:,} quotes, {frame['market_key'].n_unique():,} markets")
    for heading in ("encoding", "bytes a quote", "µs a quote", *frame.columns):
        table.add_column(heading, justify="left" if heading == "encoding" else "right")
    for title, given in ways().items():
        size, cost, columns = measured(frame, given)
        table.add_row(title, f"{size:.2f}", f"{cost:.2f}", *(f"{columns[each]:.2f}" for each in frame.columns))
    return table


def measured(frame: pl.DataFrame, given: dict[str, Any]) -> tuple[float, float, dict[str, float]]:
    """Bytes a row, microseconds of processor a row, bytes a row of each column."""
    rows, sink = parquet.arrow(QUOTES, frame), pa.BufferOutputStream()
    began = process_time()
    pq.write_table(rows, sink, row_group_size=parquet.ROW_GROUP, **given)
    spent, file = process_time() - began, sink.getvalue()
    columns = dict.fromkeys(frame.columns, 0.0)
    footer = pq.read_metadata(pa.BufferReader(file))
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            columns[column.path_in_schema] += column.total_compressed_size / frame.height
    return file.size / frame.height, spent / frame.height * 1e6, columns


def merged(store: Store) -> float:
    """Bytes a quote once all hours and days are merged."""
    last = max(part.day for part in store.parts(QUOTES))
    maintain(store, datetime.combine(last, datetime.min.time(), UTC) + timedelta(days=1, minutes=10), {}, reserve=0)
    parts = store.parts(QUOTES)
    return sum(map(store.size, parts)) / sum(map(store.rows, parts))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
