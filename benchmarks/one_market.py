"""One market's month out of 50 M quotes: through `Store.scan` over thirty day files, then over the month's file.

Markets have very unequal traffic, prices walk in ticks, times are milliseconds. A day is made at a time and the
month is merged by `lake.compact`, so memory stays bounded; the peak is shown. `python -m benchmarks.one_market ROWS`.
"""

import resource
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from lake import layout, parquet
from lake.clock import DAY_US, to_us
from lake.compact import Ledger, merge, plan
from lake.covers import FOOTER, Cover
from lake.layout import Level, SeqRange
from lake.schema import QUOTES, SEQ_BITS, TIME
from lake.store import Store
from lake.vocab import Mode

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS, MARKETS, ROUNDS = 30, 20_000, 9
RANKS = (100, 1_000, 10_000)  # of the market that is asked for, by traffic


def main(rows: int = 50_000_000) -> dict[str, float]:
    """Print the table; milliseconds by files and the market's rank."""
    found: dict[str, float] = {}
    counts: dict[int, int] = {}
    rng = np.random.default_rng(7)
    keys = rng.integers(-(2**63), 2**63 - 1, MARKETS)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder), Mode.SIMULATED)
        began = perf_counter()
        for day in range(DAYS):
            publish(store, day, rows // DAYS, keys, rng)
        made = perf_counter() - began
        size = sum(map(store.size, store.parts(QUOTES))) / sum(map(store.rows, store.parts(QUOTES)))
        ask(store, keys, "30 day files", found, counts)
        began = perf_counter()
        (wanted,) = plan(store, Ledger(store), QUOTES, Level.MONTH, START + timedelta(days=60)).merges
        merge(store, Ledger(store), wanted, START + timedelta(days=60))
        took = perf_counter() - began
        ask(store, keys, "month file", found, counts)
    table = Table(title=f"One market's 30 days out of {rows:,} quotes, warm, ms, medians of {ROUNDS}")
    for heading in ("market by traffic", "its rows", "30 day files", "month file"):
        table.add_column(heading, justify="right")
    for rank in RANKS:
        times = (f"{found[f'{name} {rank}']:.1f}" for name in ("30 day files", "month file"))
        table.add_row(f"{rank:,}", f"{counts[rank]:,}", *times)
    Console().print(table)
    found["peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{size:.2f} bytes a quote; days made in {made:.0f} s, the month merged in {took:.0f} s")
    print(f"peak memory {found['peak MiB']:,.0f} MiB")
    return found


def publish(store: Store, day: int, rows: int, keys: np.ndarray, rng: np.random.Generator) -> None:
    """A day's merged file."""
    weight = 1 / np.arange(1, len(keys) + 1) ** 0.8
    which = rng.choice(len(keys), rows, p=weight / weight.sum())
    time = to_us(START) + day * DAY_US + np.sort(rng.integers(0, DAY_US // 1_000, rows)) * 1_000
    middle = (which * 37 % 880 + 60 + np.cumsum(rng.integers(-1, 2, rows)) % 11) / 1_000
    half = rng.integers(5, 15, rows) / 1_000
    first = day << 30
    frame = pl.DataFrame({
        "market_key": keys[which], "event_time": time, "received_time": time + rng.integers(3_000, 60_000, rows),
        "bid": (middle - half).round(3), "ask": (middle + half).round(3),
        "bid_size": rng.integers(1, 200_000, rows) / 100, "ask_size": rng.integers(1, 200_000, rows) / 100,
        "seq": np.arange(first, first + rows), "source": "book",
    }).with_columns(pl.col("event_time", "received_time").cast(TIME)).sort(*QUOTES.order)  # fmt: skip
    date = (START + timedelta(days=day)).date()
    span = (SeqRange("bench", 0, first, first + rows - 1),)
    assert first + rows < 1 << SEQ_BITS

    def footer(written: parquet.Written) -> dict[bytes, bytes]:
        ends = written.first_time, written.last_time
        return {FOOTER: Cover(span, date, date, written.rows, written.rows_hash, *ends).dump()}

    part = layout.part(QUOTES, "day", venue="kalshi", date=date)
    store.publish_file(part, lambda path: parquet.write(path, QUOTES, [frame], footer))


def ask(store: Store, keys: np.ndarray, name: str, found: dict[str, float], counts: dict[int, int]) -> None:
    for rank in RANKS:
        taken = []
        for _ in range(ROUNDS + 2):
            began = perf_counter()
            rows = store.scan(QUOTES).filter(pl.col("market_key") == int(keys[rank - 1])).collect()
            taken.append((perf_counter() - began) * 1_000)
        found[f"{name} {rank}"] = median(taken[2:])
        if counts.setdefault(rank, rows.height) != rows.height:
            raise AssertionError(f"{name}: {rows.height} rows of market {rank}, {counts[rank]} before")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
