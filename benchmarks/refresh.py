"""The minute's refresh of a live lake after an hour and after a day: its cost must follow the new rows.

The lake is synthetic: markets of unequal traffic, a segment every so many seconds, one venue. It is refreshed every
hour, then minute by minute; what is shown is the median of these. Processor seconds are those of all threads.
`python -m benchmarks.refresh MARKETS RATE SECONDS` has other sizes; `--check` holds the last board against all rows.
"""

import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TypeVar

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal
from rich.console import Console
from rich.table import Table

from flows.jobs.refresh import refresh
from lake.derived.slices import WINDOWS
from lake.layout import SeqRange
from lake.query import Lake
from lake.reading import computed_board
from lake.schema import MOVERS, QUOTES, TIME, TRADES
from lake.store import Store
from lake.vocab import Mode

T = TypeVar("T")

START = datetime(2026, 3, 2, tzinfo=UTC)
VENUE = "kalshi"
ROUNDS = 3
HOUR = timedelta(hours=1)
FIGURES = {
    "bars": "bars, s",
    "board": "board, s",
    "former-boards": "former boards, s",
    "cpu": "processor, s",
    "counts": "counts, s",
}


def main(
    markets: int = 300, rate: float = 50.0, every: int = 60, hours: tuple[int, ...] = (1, 24), *, check: bool = False
) -> dict[str, float]:
    """Print the table; figures of each number of hours by `<hours>h <figure>`, and `ratio` of processor time."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder), Mode.SIMULATED)
        world, now = segments(markets, rate, every), START
        for count in hours:
            while now < START + timedelta(hours=count):
                now = advance(store, world, min(HOUR, START + timedelta(hours=count) - now), now, every)
                refresh(store, now)
            each: list[dict[str, float]] = []
            for _ in range(ROUNDS):
                now = advance(store, world, timedelta(minutes=1), now, every)
                each.append(once(store, now))
            for name in each[0]:
                found[f"{count}h {name}"] = median(figures[name] for figures in each)
        if check:
            require_right(store, now)
    found["ratio"] = found[f"{hours[-1]}h cpu"] / found[f"{hours[0]}h cpu"]
    found["peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    show(found, hours, markets, rate)
    return found


def once(store: Store, now: datetime) -> dict[str, float]:
    """Seconds of one refresh by step, its processor time, and seconds of asking for the counts after it."""
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        began = perf_counter()
        try:
            return work()
        finally:
            seconds[name] = perf_counter() - began

    before = process_time()
    refresh(store, now, timed)
    spent, began = process_time() - before, perf_counter()
    Lake(store).counts()
    return {**seconds, "cpu": spent, "counts": perf_counter() - began}


def segments(markets: int, rate: float, every: int, seed: int = 7) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """For ever, the quotes and a tenth as many trades of the next `every` seconds."""
    rng = np.random.default_rng(seed)
    keys, weight = rng.integers(-(2**63), 2**63 - 1, markets), 1 / np.arange(1, markets + 1) ** 0.7
    middle, seq, time = rng.integers(200, 800, markets) / 1_000, 0, int(START.timestamp() * 1e6)
    while True:
        count = int(rng.poisson(rate * every * 1.1))
        which = rng.choice(markets, count, p=weight / weight.sum())
        middle = np.clip(middle + rng.normal(0, 0.002, markets), 0.05, 0.95).round(3)
        half = rng.integers(5, 30, count) / 1_000
        rows = pl.DataFrame({
            "market_key": keys[which], "event_time": np.sort(rng.integers(time, time + every * 1_000_000, count)),
            "bid": (middle[which] - half).round(3), "ask": (middle[which] + half).round(3), "bid_size": 10.0,
            "ask_size": 10.0, "seq": np.arange(seq, seq + count), "source": "book", "size": rng.integers(1, 500, count),
            "is_trade": rng.random(count) < 1 / 11,
        })  # fmt: skip
        yield _tables(rows)
        seq, time = seq + count, time + every * 1_000_000


def _tables(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    timed = rows.with_columns(pl.col("event_time").cast(TIME), received_time=pl.col("event_time").cast(TIME))
    trades = timed.filter("is_trade").with_columns(
        pl.col("size").cast(pl.Float64),
        trade_id=pl.col("seq").cast(pl.String),
        price=((pl.col("bid") + pl.col("ask")) / 2).round(3),
        taker_side=pl.when(pl.col("seq") % 2 == 0).then(pl.lit("buy")).otherwise(pl.lit("sell")),
        is_block_trade=False,
    )
    quotes = timed.filter(~pl.col("is_trade"))
    return tuple(
        frame.select(*table.columns).sort(*table.order) for table, frame in ((QUOTES, quotes), (TRADES, trades))
    )


def advance(
    store: Store, world: Iterator[tuple[pl.DataFrame, pl.DataFrame]], span: timedelta, now: datetime, every: int
) -> datetime:
    """Publish the segments of the next `span`; the instant at its end."""
    for _ in range(round(span.total_seconds() / every)):
        quotes, trades = next(world)
        seqs = pl.concat([quotes["seq"], trades["seq"]])
        span_of = SeqRange("bench", 0, int(seqs.min()), int(seqs.max()))
        tables = {(QUOTES, VENUE): quotes, (TRADES, VENUE): trades}
        store.publish_segment(span_of, now.date(), len(seqs), tables, None)
        now += timedelta(seconds=every)
    return now


def require_right(store: Store, now: datetime) -> None:
    """Raise AssertionError if the board as of `now` is not that of all rows."""
    by = ["window", "market_key"]
    board = store.scan(MOVERS).filter(pl.col("as_of") == now).select(*MOVERS.columns).sort(by).collect()
    expected = computed_board(store, WINDOWS, now).select(*MOVERS.columns).sort(by)
    assert_frame_equal(board, expected, check_exact=True)


def show(found: dict[str, float], hours: tuple[int, ...], markets: int, rate: float) -> None:
    table = Table(title=f"A minute's refresh, {markets:,} markets, {rate:g} quotes a second", title_justify="left")
    for heading in ("after", *FIGURES.values()):
        table.add_column(heading, justify="right")
    for count in hours:
        table.add_row(f"{count} h", *(f"{found[f'{count}h {name}']:.2f}" for name in FIGURES))
    console = Console()
    console.print(table)
    console.print(f"Processor time, last by first: {found['ratio']:.2f}; peak memory {found['peak MiB']:,.0f} MiB")


if __name__ == "__main__":
    given = [float(text) for text in sys.argv[1:] if text != "--check"]
    sizes = {"markets": int(given[0]), "rate": given[1], "every": int(given[2])} if len(given) > 2 else {}
    main(**sizes, check="--check" in sys.argv)
