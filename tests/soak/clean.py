"""Time without a fault: no gap is told, nothing is lost, connections are replaced, and the collector stays small.

python -m tests.soak.clean [seconds] [markets] [messages a second] [seconds between replacements]

The collector is a process of its own, as in life; the venues and the comparison are in this one.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from random import Random

import polars as pl

from flows.collector.service import collect
from flows.collector.timing import Clock, Timing
from flows.simulator import truth_frames
from flows.simulator.comparing import compare_quotes, compare_trades
from lake.clock import SECOND_US, from_us
from lake.schema import FEED_HEALTH, GAPS, QUOTES, TRADES
from lake.settings import load
from lake.store import Store
from lake.vocab import Gap, Venue
from tests.flows.collector.venues import until
from tests.simulated import simulated
from tests.soak.latency import cpu_seconds, rss_mib

LOOK = 10  # seconds between two looks at the memory


async def child(given: dict[str, str], rotate_every: float) -> None:
    """Collect until SIGTERM, with life's pauses."""
    config, stop = load(backfill_hours=0, **given), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    store = Store.create(config.lake_root, config.collector_mode)
    report = await collect(config, store, stop, say=print, rng=Random(1), timing=Timing(rotate_every=rotate_every))
    print(json.dumps({"connects": report.connects, "messages": report.counts.messages}), flush=True)


async def measure(folder: Path, seconds: float, markets: int, rate: float, rotate_every: float) -> None:
    clock = Clock()
    async with simulated(folder, markets, rate) as (simulation, settings):
        given = {name: str(value) for name, value in settings.items()} | {"lake_uri": str(folder / "lake")}
        command = [sys.executable, "-m", "tests.soak.clean", "child", json.dumps(given), str(rotate_every)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            marker = folder / "lake" / "_lake.json"
            await until(marker.exists, 60)
            store = Store.open(folder / "lake")
            await until(lambda: {*store.scan(QUOTES).collect()["venue"]} == {each.value for each in Venue}, 120)
            await asyncio.sleep(15)
            start, spent, sizes = clock.wall(), cpu_seconds(process.pid), list[float]()
            while clock.wall() - start < seconds * SECOND_US:
                await asyncio.sleep(LOOK)
                sizes.append(rss_mib(process.pid))
            end, spent = clock.wall() - 3 * SECOND_US, cpu_seconds(process.pid) - spent
        finally:
            process.send_signal(signal.SIGTERM)
        said, _ = await asyncio.wait_for(process.communicate(), 120)
        lasted = (end - start) / SECOND_US
        gaps = store.scan(GAPS).filter(pl.col("reason") != Gap.FEED_ENDED.value).collect()
        within = pl.col("event_time").is_between(from_us(start), from_us(end), closed="right")
        stored = {table: store.scan(table).filter(within).collect() for table in (QUOTES, TRADES)}
        slack, none = timedelta(seconds=2), gaps.clear()
        quotes = compare_quotes(stored[QUOTES], truth_frames.quotes(simulation.truth, start, end), none, slack=slack)
        trades = compare_trades(stored[TRADES], truth_frames.trades(simulation.truth, start, end), none, slack=slack)
        health = store.scan(FEED_HEALTH).filter(pl.col("minute").is_between(from_us(start), from_us(end))).collect()
    socket = health.filter(pl.col("connection").str.contains(r"-\d+~?$"))
    lags = socket.select(p50=pl.col("lag_p50_ms").median(), p99=pl.col("lag_p99_ms").median()).row(0)
    print(said.decode().strip().splitlines()[-1])
    print(
        f"{lasted:.0f} s, {socket['messages'].sum() / socket['minute'].n_unique():,.0f} messages a minute of "
        f"{markets:,} markets: {gaps.height} gaps; quotes {quotes}; trades {trades}; lag p50 {lags[0]:.0f} ms, "
        f"p99 {lags[1]:.0f} ms; processor {spent / lasted:.0%} of a core; memory {sizes[0]:.0f} MiB at first, "
        f"{sizes[-1]:.0f} at last, {max(sizes):.0f} at most; connections {sorted({*socket['connection']})}"
    )
    with pl.Config(tbl_cols=-1, tbl_width_chars=200):
        for rows in (gaps, quotes.missing, quotes.extra, trades.missing, trades.extra):
            if not rows.is_empty():
                print(rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        asyncio.run(child(json.loads(sys.argv[2]), float(sys.argv[3])))
        os._exit(0)
    given = [float(text) for text in sys.argv[1:]]
    lasting, many, fast, every = [*given, *(600.0, 3_000.0, 450.0, 600.0)[len(given) :]]
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(measure(Path(place), lasting, int(many), fast, every))
