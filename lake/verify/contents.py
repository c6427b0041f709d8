"""What is read of the rows themselves. Each function here runs in a process of its own (`lake.verify.apart`).

Files are named by their paths below a folder, and so they are in the answers.
"""

from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow.parquet as pq

from lake.rowhash import added, rows_hash
from lake.schema import TABLES

OUTCOMES = ("applied", "ignored", "duplicate", "dead")


class Hashed(NamedTuple):
    """A file read to its last byte."""

    file: str
    rows: int
    rows_hash: int


def ledger_lines(folder: Path, files: list[str]) -> pl.DataFrame:
    """The rows of these files of `segments`: `schema.SEGMENTS`."""
    return _scan("segments", folder, files).collect()


def gap_rows(folder: Path, files: list[str]) -> pl.DataFrame:
    """The rows of these files of `gaps`: `schema.GAPS`, file."""
    return _scan("gaps", folder, files, "file").collect()


def wrong_sums(folder: Path, files: list[str]) -> pl.DataFrame:
    """The rows of `feed_health` whose messages do not add up: file, connection, minute, messages, sum."""
    total = pl.sum_horizontal(*OUTCOMES).alias("sum")
    rows = _scan("feed_health", folder, files, "file").select("file", "connection", "minute", "messages", total)
    return rows.filter(pl.col("messages").ne_missing(pl.col("sum"))).collect()


def hashed(folder: Path, files: list[str]) -> list[Hashed]:
    """Each file's rows counted and hashed, row group by row group."""
    found = []
    for file in files:
        source, rows, hashes = pq.ParquetFile(folder / file), 0, list[int]()
        for group in range(source.num_row_groups):
            frame = pl.from_arrow(source.read_row_group(group))
            assert isinstance(frame, pl.DataFrame)
            rows += frame.height
            hashes.append(rows_hash(frame))
        found.append(Hashed(file, rows, added(hashes)))
    return found


class Repeats(NamedTuple):
    """Of some files of one table and partition: how many rows have a key that an earlier one has."""

    files: list[str]
    repeated: int
    example: str


def repeats(folder: Path, files: list[str], *, table: str) -> Repeats:
    """The rows of all these files together whose key is not their own."""
    key = [name for name in TABLES[table].key if name in TABLES[table].columns]
    rows = _scan(table, folder, files).select(key)
    twice = rows.group_by(key).agg(times=pl.len()).filter(pl.col("times") > 1).collect()
    example = ", ".join(f"{name} {value}" for name, value in zip(key, twice.row(0), strict=False)) if len(twice) else ""
    return Repeats(files, int((twice["times"] - 1).sum()), example)


def _scan(table: str, folder: Path, files: list[str], paths: str | None = None) -> pl.LazyFrame:
    schema = dict(TABLES[table].columns)
    rows = pl.scan_parquet(
        [folder / file for file in files],
        schema=schema,
        hive_partitioning=False,
        missing_columns="insert",
        extra_columns="ignore",
        glob=False,
        include_file_paths=paths,
    )
    return rows if paths is None else rows.with_columns(pl.col(paths).str.strip_prefix(f"{folder}/"))


class Told(NamedTuple):
    """A file as a line of the ledger tells of it; times in microseconds, None = its table has none."""

    file: str
    rows: int
    size: int  # bytes
    rows_hash: int
    times: tuple[int | None, int | None]
    received: tuple[int | None, int | None]


def told(folder: Path, files: list[str], *, table: str) -> list[Told]:
    """What the ledger would say of each of these files of that table."""
    found = []
    for file in files:
        rows = _scan(table, folder, [file]).collect()
        ends = (_bounds(rows, TABLES[table].time), _bounds(rows, "received_time"))
        found.append(Told(file, rows.height, (folder / file).stat().st_size, rows_hash(rows), *ends))
    return found


def _bounds(rows: pl.DataFrame, name: str | None) -> tuple[int | None, int | None]:
    if name is None or name not in rows.columns:
        return None, None
    column = rows[name].to_physical()
    return column.min(), column.max()  # type: ignore[return-value]
