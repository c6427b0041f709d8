"""A line a venue and minute, in the log, as people read it."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest

from flows.collector.health import Minute
from flows.collector.service import health_line
from flows.venues.base import Outcome
from lake.schema import FEED_HEALTH, QUOTES
from lake.vocab import Venue
from tests.flows.collector.test_live import TIMING, collecting, venues_with_key
from tests.flows.collector.venues import running, until


def minute(applied: int, lags: list[int], reconnects: int = 0) -> Minute:
    made = Minute("kalshi", 0)
    made.applied, made.lags, made.reconnects = applied, lags, reconnects
    made.others[Outcome.DEAD] = 1
    return made


def shard(markets: int, *, is_good: bool) -> SimpleNamespace:
    return SimpleNamespace(markets=markets, is_good=is_good)


def test_line():
    """Messages of all connections, a minute's worth of them, what is subscribed, how late, how often connected anew."""
    session = SimpleNamespace(shards=[shard(1_000, is_good=True), shard(429, is_good=False)])
    minutes = [minute(1_498, [5_000] * 99 + [80_000]), minute(0, [7_000], reconnects=2)]
    assert health_line(Venue.KALSHI, session, minutes, 30) == (
        "kalshi: WSS Health: 1,500 msgs in 30s (3,000/min), subscriptions=1,429, connections=1/2, "
        "lag p50=5ms p99=7ms, reconnects=2, dead=2"
    )


def test_line_of_silence():
    """Without a message there is no lag to tell."""
    line = health_line(Venue.POLYMARKET, SimpleNamespace(shards=[]), [], 60)
    assert line.startswith(
        "polymarket: WSS Health: 0 msgs in 60s (0/min), subscriptions=0, connections=0/0, lag unknown"
    )


@pytest.mark.asyncio
async def test_lines_are_logged(tmp_path, monkeypatch, caplog):
    """The collector logs a line for each venue when a minute is over; no line holds an address's query or a key."""
    monkeypatch.setattr("flows.collector.service.MINUTE_US", 200_000)
    monkeypatch.setattr("flows.collector.health.MINUTE_US", 200_000)
    venues = venues_with_key(tmp_path)
    with caplog.at_level(logging.INFO):
        async with running(venues), collecting(venues, tmp_path, replace(TIMING, tick=0.01), backfill_hours=0) as run:
            await until(lambda: run.has(QUOTES, 6) and run.has(FEED_HEALTH, 4))
            await until(lambda: all(f"WSS Health: {count} msgs" in caplog.text for count in (6, 7)))
    lines = [record.getMessage() for record in caplog.records if record.name == "movers.collector"]
    assert {line.partition(":")[0] for line in lines} == {"polymarket", "kalshi"}
    key_id = (tmp_path / "simulator" / "kalshi-key-id").read_text().strip()
    ours = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]
    assert not any("?" in line or "cursor" in line or key_id in line for line in [*ours, *run.lines])
