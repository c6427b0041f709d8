"""Bars of one synthetic day beside DuckDB: same rows, same machine, same run.

The yardstick gets our rows of the reference price in a table of its own and makes open, high, low, close and ticks
of them in the arg_min/arg_max form; its first/last without an order would be quicker and wrong. It runs twice: ordered
by time and seq, which is right for any rows, and by seq alone, which is quicker and right here, where seq rises with
time. The ratio is against the quicker. Ours makes the same columns, and then the whole bar, with quotes, volumes and
coverage, beside it. All answers must be equal.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from statistics import median
from time import perf_counter
from typing import TypeVar

import duckdb
import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from lake.clock import DAY_US, to_us
from lake.derived.bars import bars, ohlc
from lake.derived.prices import reference
from lake.schema import BAR_INTERVALS, GAPS, QUOTES, TIME, TRADES

INTERVALS = ("1m", "5m", "1h")
ROUNDS = 3
DAY = datetime(2026, 3, 2, tzinfo=UTC)
Made = TypeVar("Made")
OHLC = ("open", "high", "low", "close", "ticks")
OURS, WHOLE = "ours", "ours, whole bar"
ORDERS = {"DuckDB by seq": "seq", "DuckDB by time, seq": "(event_time, seq)"}


def main(rows: int = 2_000_000) -> dict[str, float]:
    """Print the table; seconds by step, and `ratio`: DuckDB's time over ours for all intervals."""
    quotes, trades = (frame.lazy() for frame in day(rows))
    seconds: dict[str, float] = {}
    seconds["reference"], prices = timed(reference(quotes, trades, GAPS.empty()).collect)
    connection = yardstick(prices)
    for every in INTERVALS:
        found = {}
        lean = ohlc(prices.lazy(), every).select("market_key", "bar_start", *OHLC)
        seconds[f"{every} {OURS}"], found[OURS] = timed(lean.collect)
        for name, order in ORDERS.items():
            seconds[f"{every} {name}"], found[name] = timed(partial(answer, connection, query(every, order)))
        seconds[f"{every} {WHOLE}"], found[WHOLE] = timed(bars(prices.lazy(), trades, every).collect)
        if len({checksum(frame) for frame in found.values()}) > 1:
            raise AssertionError(f"{every}: the bars differ from DuckDB's; do not trust the times")
    seconds["ratio"] = total(seconds, "DuckDB by seq") / total(seconds, OURS)
    show(seconds, prices.height)
    return seconds


def day(rows: int, markets: int = 5_000, seed: int = 7) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Quotes and a tenth as many trades, `rows` in all, over markets of very unequal traffic; in lake order."""
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, markets + 1)
    keys = rng.integers(-(2**63), 2**63 - 1, markets)[rng.choice(markets, rows, p=weight / weight.sum())]
    middle, half = rng.integers(150, 850, rows) / 1_000, rng.integers(5, 60, rows) / 1_000
    ticks = pl.DataFrame({
        "market_key": keys,
        "event_time": np.sort(rng.integers(0, DAY_US, rows)) + to_us(DAY),
        "seq": np.arange(rows),
        "bid": middle - half,
        "ask": middle + half,
        "is_trade": rng.random(rows) < 0.1,
    }).with_columns(pl.col("event_time").cast(TIME), received_time=pl.col("event_time").cast(TIME))  # fmt: skip
    ordered = ticks.sort("market_key", "event_time", "seq")
    is_buy = pl.col("seq") % 2 == 0
    quotes = ordered.filter(~pl.col("is_trade")).with_columns(bid_size=10.0, ask_size=10.0, source=pl.lit("book"))
    trades = ordered.filter("is_trade").with_columns(
        trade_id=pl.col("seq").cast(pl.String()),
        price=((pl.col("bid") + pl.col("ask")) / 2).round(3),
        size=(pl.col("seq") % 997 + 1).cast(pl.Float64()),
        taker_side=pl.when(is_buy).then(pl.lit("buy")).otherwise(pl.lit("sell")),
        is_block_trade=False,
    )
    return quotes.select(*QUOTES.columns), trades.select(*TRADES.columns)


def yardstick(prices: pl.DataFrame) -> duckdb.DuckDBPyConnection:
    """DuckDB with the ticks in a table of its own, on as many threads as Polars."""
    connection = duckdb.connect()
    connection.execute(f"SET threads = {pl.thread_pool_size()}")
    ticks = prices.filter("is_tick").select("market_key", "event_time", "seq", "price").to_arrow()
    connection.register("arrow", ticks)
    connection.execute("CREATE TABLE ticks AS SELECT * FROM arrow")
    return connection


def answer(connection: duckdb.DuckDBPyConnection, sql: str) -> pl.DataFrame:
    """What the yardstick makes of `sql`, as a frame."""
    found: pl.DataFrame = connection.sql(sql).pl()
    return found


def query(every: str, order: str) -> str:
    """Bars in SQL, the first and the last price by `order`."""
    return f"""
        SELECT market_key, time_bucket(INTERVAL '{BAR_INTERVALS[every]} seconds', event_time) AS bar_start,
               arg_min(price, {order}) AS open, max(price) AS high, min(price) AS low, arg_max(price, {order}) AS close,
               count(*) AS ticks
        FROM ticks GROUP BY 1, 2"""


def checksum(found: pl.DataFrame) -> tuple[int, ...]:
    """Rows and the sum of every column in millionths: equal for equal bars, in any order."""
    sums = found.select((pl.col(OHLC) * 1_000_000).round().cast(pl.Int64()).sum()).row(0)
    return found.height, *sums


def timed(work: Callable[[], Made]) -> tuple[float, Made]:
    """The median of `ROUNDS` runs in seconds, and what the last of them made."""
    taken = []
    for _ in range(ROUNDS):
        start = perf_counter()
        made = work()
        taken.append(perf_counter() - start)
    return median(taken), made


def total(seconds: dict[str, float], of: str) -> float:
    return sum(value for name, value in seconds.items() if name.endswith(of))


def show(seconds: dict[str, float], rows: int) -> None:
    columns = (OURS, *ORDERS, WHOLE)
    table = Table(title=f"Bars of one day, {rows:,} rows; seconds, medians of {ROUNDS}", title_justify="left")
    table.add_column("interval")
    for heading in (*columns, "ratio"):
        table.add_column(heading, justify="right")
    lines = {every: [seconds[f"{every} {name}"] for name in columns] for every in INTERVALS}
    lines["all"] = [total(seconds, name) for name in columns]
    for every, line in lines.items():
        table.add_row(every, *(f"{value:.3f}" for value in line), f"{line[1] / line[0]:.1f}")
    console, first = Console(), seconds["reference"]
    console.print(table)
    console.print(
        f"Reference price {first:.3f} s; with the whole bars of all intervals {first + lines['all'][-1]:.3f} s"
    )


if __name__ == "__main__":
    main()
