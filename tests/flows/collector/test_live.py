"""The live collector on real sockets of this machine: what comes in is in the lake, and what was missed is a gap."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from aiohttp import web

from flows.collector import backfill, books, kalshi_session, service
from flows.collector.service import CollectReport, collect
from flows.collector.timing import Timing
from flows.simulator import keys
from flows.venues.polymarket import Polymarket
from lake import store as store_module
from lake.errors import SettingError
from lake.schema import (
    DEAD_LETTERS,
    EVENTS,
    FEED_HEALTH,
    GAPS,
    HISTORY,
    MARKETS,
    QUOTES,
    SEGMENTS,
    TRADES,
    VENUE_STATS,
    Table,
)
from lake.settings import load
from lake.store import Store
from lake.vocab import Mode, Venue, market_id, market_key
from tests.flows.collector.venues import Venues, condition, running, snapshot, ticker, tokens, until

TIMING = Timing(
    first_delay=0.01, longest_delay=0.05, refused_delay=60, ping_every=5, pong_within=5, silent_busy=5, silent_any=5,
    connects_a_minute=6_000, connect_gap=0, open_timeout=2, close_timeout=0.2, tick=0.02, poll_every=0.1,
    segment_least=0.1, segment_most=0.2, unsubscribe_after=0, drain_within=5,
)  # fmt: skip


class Run:
    """A collector that runs, what it said, and its lake."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.stop = asyncio.Event()
        self.lines: list[str] = []
        self.report: CollectReport | None = None

    def rows(self, table: Table) -> pl.DataFrame:
        return self.store.scan(table).collect()

    def has(self, table: Table, least: int = 1) -> bool:
        return self.rows(table).height >= least

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@asynccontextmanager
async def collecting(venues: Venues, folder: Path, timing: Timing = TIMING, **given: Any) -> AsyncIterator[Run]:
    """A collector beside the venues, in mode simulated; stopped and drained at the end."""
    settings = load(simulator_dir=folder / "simulator", lake_uri=str(folder / "lake"), **venues.settings | given)
    run = Run(Store.create(settings.lake_root, settings.collector_mode))
    task = asyncio.create_task(
        collect(settings, run.store, run.stop, say=run.lines.append, rng=Random(1), timing=timing, backfill_pause=0)
    )
    try:
        yield run
    finally:
        run.stop.set()
        try:
            run.report = await asyncio.wait_for(task, 60)
        except TimeoutError:
            raise AssertionError(f"the collector did not end in 60 s; it said last: {run.lines[-3:]}") from None


def venues_with_key(folder: Path, markets: int = 3) -> Venues:
    return Venues(markets, keys.make(folder / "simulator"))


@pytest.mark.asyncio
async def test_both_venues(tmp_path):
    """Markets, events, figures and quotes of both venues are in the lake; every message is accounted for."""
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6) and run.said("kalshi: first rows are in the lake"))
        sent = venues.sent()
    assert run.report is not None
    counts = run.report.counts
    listed = run.rows(MARKETS).group_by("venue").agg(pl.col("market_key").n_unique())
    assert dict(listed.iter_rows()) == {"polymarket": 3, "kalshi": 3}
    assert run.rows(EVENTS)["event_id"].n_unique() == 2
    assert run.rows(VENUE_STATS)["market_key"].n_unique() == 6
    quotes = run.rows(QUOTES)
    assert quotes.filter(pl.col("venue") == "polymarket").select("bid", "ask").unique().rows() == [(0.40, 0.42)]
    assert counts.dead == {}
    health = run.rows(FEED_HEALTH)
    on_sockets = health.filter(~pl.col("connection").str.ends_with("catalog"))
    assert on_sockets["messages"].sum() == sent
    assert health["messages"].sum() == counts.messages
    assert health.filter(pl.sum_horizontal("applied", "ignored", "duplicate", "dead") != pl.col("messages")).is_empty()
    assert set(on_sockets["subscribed"]) == {3}
    assert run.said("polymarket: 3 of 3 open markets followed on 1 connection")


@pytest.mark.asyncio
async def test_stop_drains(tmp_path):
    """What came in before the stop is in the lake, although its segment was still open."""
    venues = venues_with_key(tmp_path)
    slow = replace(TIMING, segment_least=60, segment_most=60)
    async with running(venues), collecting(venues, tmp_path, slow, backfill_hours=0) as run:
        await until(lambda: all(len(sockets) == 1 for sockets in venues.sockets.values()))
        await until(lambda: run.has(QUOTES, 6))
        assert sum(map(run.store.rows, run.store.parts(QUOTES))) < 6, "no segment was open"
    assert run.rows(QUOTES).height == 6
    assert run.report is not None and run.report.unpublished == 0
    spans = run.rows(SEGMENTS).select("first_seq", "last_seq").unique().sort("first_seq").rows()
    assert spans[0][0] == 0 and all(later[0] == former[1] + 1 for former, later in zip(spans, spans[1:], strict=False))


@pytest.mark.asyncio
async def test_stop_drains_what_waits(tmp_path, monkeypatch):
    """Frames that nobody has taken out of the intake when the collector is stopped become rows too."""
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        monkeypatch.setattr("flows.collector.service.LOOK", 60)
        await asyncio.sleep(0.1)
        venues.bid = 0.33
        await venues.sockets["polymarket"][0].send(venues.book(tokens(0)[0]))
        await asyncio.sleep(0.1)
        assert not run.has(QUOTES, 7)
    assert run.rows(QUOTES).height == 7


@pytest.mark.asyncio
async def test_second_life_has_the_next_epoch(tmp_path):
    """A collector that is started again writes under the next epoch, and starts with the gap of its absence closed."""
    venues = venues_with_key(tmp_path)
    async with running(venues):
        for _ in range(2):
            async with collecting(venues, tmp_path, backfill_hours=0) as run:
                count = run.rows(QUOTES).height
                await until(partial(run.has, QUOTES, count + 6))
    assert run.rows(SEGMENTS)["epoch"].unique().sort().to_list() == [0, 1]
    assert set(run.rows(GAPS)["reason"]) == {"feed_ended"}


@pytest.mark.asyncio
async def test_connection_that_breaks(tmp_path):
    """A connection that breaks is opened again; its markets have a gap until their next book."""
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        for sockets in venues.sockets.values():
            sockets[0].ws._req.transport.abort()
        await until(lambda: run.has(QUOTES, 12))
        await until(lambda: run.rows(GAPS).filter(pl.col("reason") == "disconnected").height >= 6)
    gaps = run.rows(GAPS).filter(pl.col("reason") == "disconnected")
    assert gaps["market_key"].n_unique() == gaps.height == 6
    assert gaps["end_time"].null_count() == 0
    assert run.rows(FEED_HEALTH)["reconnects"].sum() == 2
    assert run.said("polymarket-1: the connection broke off") and run.said("polymarket-1: connected again")


@pytest.mark.asyncio
async def test_connection_that_stays_down_is_a_gap_before_it_is_back(tmp_path, monkeypatch):
    """A gap that lasts is in the lake without an end; once the venue is back, the same gap has one."""
    monkeypatch.setattr("flows.collector.pipeline.ANNOUNCE_US", 50_000)
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        venues.refusing = {"polymarket": 503}
        venues.sockets["polymarket"][0].ws._req.transport.abort()
        await until(lambda: run.rows(GAPS).height == 3)
        early = run.rows(GAPS)
        assert early["end_time"].null_count() == 3
        venues.refusing = {}
        await until(lambda: run.rows(GAPS).height == 6)
    both = run.rows(GAPS).filter(pl.col("reason") == "disconnected")
    ends = both.group_by(*GAPS.key).agg(pl.col("end_time").max())
    assert ends.height == 3 and ends["end_time"].null_count() == 0


@pytest.mark.asyncio
async def test_accept_and_close_keeps_backing_off(tmp_path):
    """A venue that accepts and closes at once is not asked in a hurry: no data, no fresh start of the back-off."""
    venues = venues_with_key(tmp_path)
    venues.closes_at_once = True
    slow = replace(TIMING, first_delay=0.05, longest_delay=60)
    async with running(venues), collecting(venues, tmp_path, slow, backfill_hours=0) as run:
        await until(lambda: venues.requests["/ws/market"] >= 3)
        await asyncio.sleep(0.5)
    assert venues.requests["/ws/market"] <= 9  # with a constant delay it would be about forty
    assert run.said("closed by the venue (1000)")


@pytest.mark.asyncio
async def test_silent_socket(tmp_path):
    """A socket that stays open and says nothing is given up and opened anew."""
    venues = venues_with_key(tmp_path)
    venues.is_silent = True
    impatient = replace(TIMING, silent_any=0.1)
    async with running(venues), collecting(venues, tmp_path, impatient, backfill_hours=0) as run:
        await until(lambda: len(venues.sockets["polymarket"]) >= 2 and len(venues.sockets["kalshi"]) >= 2)
        venues.is_silent = False
        await until(lambda: run.has(QUOTES, 6))
    assert run.said("polymarket-1: no data for")


@pytest.mark.asyncio
async def test_pongs_are_no_life(tmp_path):
    """A socket that answers every heartbeat and brings no data is given up and opened anew."""
    venues = venues_with_key(tmp_path)
    venues.is_mute = True
    impatient = replace(TIMING, ping_every=0.03, pong_within=5, silent_any=0.2)
    async with running(venues), collecting(venues, tmp_path, impatient, backfill_hours=0) as run:
        await until(lambda: len(venues.sockets["polymarket"]) >= 2)
        assert venues.sockets["polymarket"][0].sent > 1
        venues.is_mute = False
        await until(lambda: run.has(QUOTES, 3))
    assert run.said("polymarket-1: no data for")


@pytest.mark.asyncio
async def test_wrong_key(tmp_path):
    """A key that the venue refuses is one line; Kalshi is polled meanwhile, and Polymarket streams."""
    venues = venues_with_key(tmp_path)
    venues.refusing = {"kalshi": 401}
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        venues.bid = 0.30
        await until(lambda: run.has(QUOTES, 9))
    assert venues.requests["/trade-api/ws/v2"] == 1
    assert sum("status 401" in line for line in run.lines) == 1
    kalshi = run.rows(QUOTES).filter(pl.col("venue") == "kalshi")
    assert set(kalshi["source"]) == {"rest"}
    assert set(kalshi["bid"]) == {0.40, 0.30}


@pytest.mark.parametrize("secret", ["no key at all", "-----BEGIN PRIVATE KEY-----\\nzzz\\n-----END PRIVATE KEY-----"])
@pytest.mark.asyncio
async def test_key_that_is_none(tmp_path, secret):
    """A secret that is no key is named, never shown, and polled around."""
    venues = Venues()
    key = {"kalshi_api_key": "id-1", "kalshi_api_secret": secret, "collector_mode": Mode.LIVE}
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0, **key) as run:
        await until(lambda: run.has(QUOTES, 6))
    line = next(line for line in run.lines if "KALSHI_API_SECRET" in line)
    assert line.startswith("kalshi-1: ") and "zzz" not in line and secret not in line
    assert not any("id-1" in line for line in run.lines)


@pytest.mark.asyncio
async def test_no_key(tmp_path):
    """Live and without a key Kalshi is polled; that is said."""
    venues = Venues()
    given = {"collector_mode": Mode.LIVE, "backfill_hours": 0}
    async with running(venues), collecting(venues, tmp_path, **given) as run:
        await until(lambda: run.has(QUOTES, 6))
    assert run.said("kalshi: no key in KALSHI_API_KEY and KALSHI_API_SECRET")
    assert venues.sockets["kalshi"] == []


@pytest.mark.asyncio
async def test_polymarket_without_sockets(tmp_path):
    """POLYMARKET_USE_WSS=false polls books."""
    venues = Venues()
    given = {"collector_mode": Mode.POLYMARKET, "polymarket_use_wss": False, "backfill_hours": 0}
    async with running(venues), collecting(venues, tmp_path, **given) as run:
        await until(lambda: run.has(QUOTES, 3))
    assert set(run.rows(QUOTES)["source"]) == {"rest"}
    assert venues.sockets == {"polymarket": [], "kalshi": []}
    assert "/trade-api/v2/series" not in venues.requests


@pytest.mark.asyncio
async def test_venue_that_is_down_does_not_stop_the_other(tmp_path):
    """One venue answers with a page of HTML: it is asked again for ever; the other's rows come."""
    venues = venues_with_key(tmp_path)
    venues.answers["/gamma/events/keyset"] = lambda _: web.Response(text="<html>busy</html>", content_type="text/html")
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 3) and run.said("text/html; charset=utf-8 instead of JSON"))
        assert set(run.rows(QUOTES)["venue"]) == {"kalshi"}
        del venues.answers["/gamma/events/keyset"]
        await until(lambda: run.has(QUOTES, 6))


@pytest.mark.asyncio
async def test_new_and_resolved_market(tmp_path):
    """A listing is subscribed to on the shard, both tokens; a resolved market is dropped."""
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        socket = venues.sockets["polymarket"][0]
        new = {"event_type": "new_market", "market": condition(9), "question": "New?", "assets_ids": tokens(9)}
        await socket.send(new | {"outcomes": ["Yes", "No"], "timestamp": "1790000000000"})
        over = {"event_type": "market_resolved", "market": condition(1), "assets_ids": tokens(1)}
        await socket.send(over | {"winning_asset_id": tokens(1)[0], "timestamp": "1790000000000"})
        await until(lambda: len(socket.asked) == 3)
    asked = {said.get("operation", "first"): said["assets_ids"] for said in socket.asked}
    assert asked["subscribe"] == tokens(9)
    assert asked["unsubscribe"] == tokens(1)


@pytest.mark.asyncio
async def test_kalshi_life(tmp_path):
    """A market that was created is added to each subscription; a settled one is deleted."""
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        socket = venues.sockets["kalshi"][0]
        about = {"title": "New?", "event_ticker": "KXACME-27"}
        created = {"market_ticker": ticker(9), "event_type": "created", "additional_metadata": about}
        await socket.send({"type": "market_lifecycle_v2", "sid": 9, "seq": 1, "msg": created})
        settled = {"market_ticker": ticker(1), "event_type": "settled"}
        await socket.send({"type": "market_lifecycle_v2", "sid": 9, "seq": 2, "msg": settled})
        await until(lambda: len(socket.asked) == 2 + 3 + 3)
    updates = [said["params"] for said in socket.asked if said["cmd"] == "update_subscription"]
    assert {(said["action"], *said["market_tickers"]) for said in updates} == {
        ("add_markets", ticker(9)),
        ("delete_markets", ticker(1)),
    }
    assert sorted(said["sids"][0] for said in updates) == [1, 1, 2, 2, 3, 3]
    assert len({said["id"] for said in socket.asked}) == len(socket.asked)


@pytest.mark.asyncio
async def test_market_that_is_listed_before_kalshi_answers(tmp_path, monkeypatch):
    """A market that was created while the venue had not acknowledged the subscriptions is asked for afterwards."""
    venues = venues_with_key(tmp_path)
    answer = venues._said_to_kalshi

    async def slow(socket, text):
        if "market_tickers" in text and len(socket.asked) == 1:
            about = {"title": "New?", "event_ticker": "KXACME-27"}
            created = {"market_ticker": ticker(9), "event_type": "created", "additional_metadata": about}
            await socket.send({"type": "market_lifecycle_v2", "sid": 9, "seq": 1, "msg": created})
            await asyncio.sleep(0.3)
        await answer(socket, text)

    monkeypatch.setattr(venues, "_said_to_kalshi", slow)
    monkeypatch.setattr("flows.collector.session.HOUSEKEEPING", 0.02)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6) and len(venues.sockets["kalshi"][0].asked) == 2 + 3)
    asked = [said["params"] for said in venues.sockets["kalshi"][0].asked[2:]]
    assert {(said["sids"][0], *said["market_tickers"]) for said in asked} == {(sid, ticker(9)) for sid in (1, 2, 3)}


@pytest.mark.asyncio
async def test_sequence_hole_is_mended(tmp_path):
    """A hole in Kalshi's numbers voids the books of its subscription; they are asked for and come back."""
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        socket = venues.sockets["kalshi"][0]
        await socket.send(snapshot(ticker(0), 99, bid="0.39"))
        await until(lambda: run.rows(GAPS).filter(pl.col("end_time").is_not_null()).height == 3)
    asked = socket.asked[-1]["params"]
    assert asked["action"] == "get_snapshot" and set(asked["market_tickers"]) == {ticker(n) for n in range(3)}
    assert set(run.rows(GAPS)["reason"]) == {"sequence_hole", "feed_ended"}


@pytest.mark.asyncio
async def test_trades_that_were_missed(tmp_path, monkeypatch):
    """A hole in the numbers of Kalshi's trades voids no price; the tape is asked for what was in it."""
    monkeypatch.setattr(backfill, "CACHED", 0.0)
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        now = datetime.now(UTC)
        said = {"count_fp": "2.00", "taker_outcome_side": "yes", "is_block_trade": False}
        price = {"yes_price_dollars": "0.4100", "no_price_dollars": "0.5900"}
        for seq, name in ((1, "one"), (3, "three")):
            told = {"market_ticker": ticker(0), "trade_id": name, "ts_ms": round(now.timestamp() * 1000)}
            await venues.sockets["kalshi"][0].send({"type": "trade", "sid": 2, "seq": seq, "msg": said | price | told})
            if seq == 1:
                await until(lambda: run.has(TRADES))
                taped = {"ticker": ticker(0), "created_time": now.isoformat().replace("+00:00", "Z")}
                venues.trades = [said | price | taped | {"trade_id": each} for each in ("three", "two", "one")]
        await until(lambda: run.has(TRADES, 3) and run.said("kalshi: trades missed in 0 s: asked for, 1 page"))
    assert sorted(run.rows(TRADES)["trade_id"]) == ["one", "three", "two"]
    assert {*run.rows(GAPS)["reason"]} <= {"feed_ended"}


@pytest.mark.asyncio
async def test_backfill(tmp_path):
    """History of both venues comes after the first rows, whole bars of five minutes, each market's once a pass."""
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=2) as run:
        await until(lambda: run.has(HISTORY, 6 * 24))
        await until(lambda: sum("history of" in line for line in run.lines) == 4)
    found = run.rows(HISTORY)
    assert found.height == found.select("market_key", "bar_start").n_unique() == 6 * 24
    assert set(found["interval"]) == {"5m"} and set(found["price_rule"]) == {"venue_history"}
    points = found.filter(pl.col("venue") == "polymarket")
    assert points.select("open", "high", "low", "close").unique().rows() == [(0.25, 0.25, 0.25, 0.25)]
    assert points["bid_open"].null_count() == points.height
    candles = found.filter(pl.col("venue") == "kalshi")
    assert candles["bid_close"].unique().to_list() == [0.40] and candles["open"].null_count() == candles.height


@pytest.mark.asyncio
async def test_backfill_goes_on_where_it_was(tmp_path):
    """A second life asks only for what the lake lacks."""
    venues = venues_with_key(tmp_path)
    async with running(venues):
        async with collecting(venues, tmp_path, backfill_hours=2) as run:
            await until(lambda: sum("history of" in line for line in run.lines) == 4)
        before = venues.requests.copy()
        async with collecting(venues, tmp_path, backfill_hours=2) as run:
            await until(lambda: sum("history of" in line for line in run.lines) == 4)
    asked = venues.requests - before
    assert "/clob/batch-prices-history" not in asked and "/trade-api/v2/markets/candlesticks" not in asked
    assert all(line.endswith("is there") for line in run.lines if "history of" in line)


@pytest.mark.asyncio
async def test_lake_that_cannot_be_written_for_a_while(tmp_path, monkeypatch):
    """Rows that cannot be published are kept and written later: none is lost."""
    venues = venues_with_key(tmp_path)
    write, is_full = store_module._write_parquet, True

    def failing(frame, path):
        if is_full:
            raise pl.exceptions.ComputeError("No space left on device (os error 28)")
        write(frame, path)

    monkeypatch.setattr(store_module, "_write_parquet", failing)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.said("segments are kept"))
        await until(lambda: len(venues.sockets["kalshi"]) == 1)
        is_full = False
        await until(lambda: run.has(QUOTES, 6))
    assert run.said("lake: can be written again; nothing was lost")
    assert run.rows(QUOTES).height == 6


@pytest.mark.asyncio
async def test_lake_that_stays_unwritable(tmp_path, monkeypatch):
    """A lake that cannot be written at the end holds nobody up for long: what stays in the log is sealed next time."""
    venues = venues_with_key(tmp_path)

    def failing(self, part, frame):
        raise OSError(30, "read-only file system")

    monkeypatch.setattr(Store, "_publish", failing)
    hasty = replace(TIMING, drain_within=0.2)
    async with running(venues), collecting(venues, tmp_path, hasty, backfill_hours=0) as run:
        await until(lambda: run.said("read-only file system") and run.has(QUOTES, 6))
    assert run.report is not None and run.report.unpublished >= 1
    assert run.said("stay in the log, and are sealed at the next start")
    monkeypatch.undo()
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as again:
        await until(lambda: again.said("log: sealed life main-0"))
    kept = again.rows(QUOTES).filter(pl.col("seq") < 1 << 40)
    assert kept.height == 6 and kept["market_key"].n_unique() == 6
    down = again.rows(GAPS).filter(pl.col("reason") == "collector_down")
    assert set(down["venue"]) == {"polymarket", "kalshi"}
    assert not list((tmp_path / "lake" / "wal").glob("*.wal"))


@pytest.mark.asyncio
async def test_broken_messages(tmp_path):
    """What cannot be read is kept with its reason, a title of a megabyte is a title, and the connection lives on."""
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        first, second = venues.sockets["polymarket"][0], venues.sockets["kalshi"][0]
        for text in ("<html>", "{", '[{"event_type":"book"}]', '{"event_type":"new_thing"}', "\x00"):
            await first.send(text)
            await second.send(text)
        new = {
            "event_type": "new_market",
            "market": condition(9),
            "question": "Q" * (1 << 20),
            "timestamp": "1790000000000",
        }
        await first.send(new | {"outcomes": ["Yes", "No"], "assets_ids": tokens(9)})
        venues.bid = 0.33
        await first.send(venues.book(tokens(0)[0]))
        await until(lambda: run.has(QUOTES, 7) and run.has(DEAD_LETTERS, 8))
    assert len(venues.sockets["polymarket"]) == len(venues.sockets["kalshi"]) == 1
    assert run.rows(MARKETS)["title"].str.len_chars().max() == 1 << 20
    counts = run.report.counts
    assert counts.messages == counts.outcomes.total() and counts.ignored["unknown:new_thing"] == 1


@pytest.mark.asyncio
async def test_killed_life_leaves_a_gap(tmp_path):
    """After a life that ended without a word, the next one writes the gap of each venue since its last row."""
    venues = venues_with_key(tmp_path)
    async with running(venues):
        async with collecting(venues, tmp_path, backfill_hours=0) as run:
            await until(lambda: run.has(QUOTES, 6))
        for part in run.store.parts(GAPS):
            run.store.path(part).unlink()
        async with collecting(venues, tmp_path, backfill_hours=0) as run:
            await until(lambda: run.has(QUOTES, 12))
    wide = run.rows(GAPS).filter(pl.col("market_key").is_null())
    assert set(wide["venue"]) == {"polymarket", "kalshi"} and wide["end_time"].null_count() == 0


@pytest.mark.asyncio
async def test_replay_has_no_venue(tmp_path):
    """In mode replay there is nothing to connect to."""
    store = Store.create(tmp_path / "lake", Mode.REPLAY)
    with pytest.raises(SettingError, match="COLLECTOR_MODE=replay"):
        await collect(load(collector_mode=Mode.REPLAY), store, asyncio.Event(), say=print)


@pytest.mark.asyncio
async def test_parser_that_fails(tmp_path, monkeypatch):
    """An error of our own in one frame is said, its bytes are a dead letter, and the feed goes on."""
    venues = venues_with_key(tmp_path)
    parse = Polymarket.parse

    def failing(self, frame):
        if b"poison" in frame.payload:
            raise RuntimeError("a bug")
        return parse(self, frame)

    monkeypatch.setattr(Polymarket, "parse", failing)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        venues.bid = 0.33
        for message in ("poison", venues.book(tokens(0)[0])):
            await venues.sockets["polymarket"][0].send(message)
        await until(lambda: run.has(QUOTES, 7))
    assert run.report.counts.failed == 1 and run.said("our own code failed on a frame, 1 so far")
    assert run.rows(DEAD_LETTERS).select("reason", "frame", "element").rows() == [
        ("failed on: RuntimeError", b"poison", -1)
    ]


@pytest.mark.asyncio
async def test_subscription_that_is_refused(tmp_path, monkeypatch):
    """Venues that accept and then refuse to serve are asked ever more slowly, and polled meanwhile."""
    venues = venues_with_key(tmp_path)

    async def refuse(socket, text):
        is_kalshi = "cmd" in text
        told = {"id": 1, "type": "error", "msg": {"code": 9, "market_ticker": ticker(0)}}
        await socket.send(told if is_kalshi else "INVALID OPERATION")
        await socket.ws.close()

    monkeypatch.setattr(venues, "_said_to_kalshi", refuse)
    monkeypatch.setattr(venues, "_said_to_polymarket", refuse)
    timing = replace(TIMING, failures_before_polling=3, longest_delay=1)
    async with running(venues), collecting(venues, tmp_path, timing, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
    assert set(run.rows(QUOTES)["source"]) == {"rest"}
    assert not run.said("connected again")


@pytest.mark.asyncio
async def test_market_that_is_over_has_no_gap_at_the_next_reconnect(tmp_path):
    """A resolved market that was unsubscribed is not missed when its connection breaks."""
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        socket = venues.sockets["polymarket"][0]
        over = {"event_type": "market_resolved", "market": condition(1), "assets_ids": tokens(1)}
        await socket.send(over | {"winning_asset_id": tokens(1)[0], "timestamp": "1790000000000"})
        await until(lambda: len(socket.asked) == 2)
        await asyncio.sleep(0.05)
        socket.ws._req.transport.abort()
        await until(lambda: run.rows(GAPS).filter(pl.col("reason") == "disconnected").height == 2)
    names = {market_key(market_id(Venue.POLYMARKET, condition(number))) for number in (0, 2)}
    assert set(run.rows(GAPS).filter(pl.col("venue") == "polymarket")["market_key"]) == names


@pytest.mark.asyncio
async def test_poll_that_is_refused_does_not_starve_the_rest(tmp_path, monkeypatch):
    """Every batch is asked for, whatever became of those before it; the fault is not said every time."""
    monkeypatch.setattr("flows.collector.polymarket_session.BOOKS", 1)
    venues = Venues()
    answer = venues._books

    def refuse_one(request, asked):
        if asked[0]["token_id"] == tokens(0)[0]:
            raise web.HTTPBadRequest
        return answer(request, asked)

    monkeypatch.setattr(venues, "_books", refuse_one)
    given = {"collector_mode": Mode.POLYMARKET, "polymarket_use_wss": False, "backfill_hours": 0}
    async with running(venues), collecting(venues, tmp_path, **given) as run:
        await until(lambda: run.has(QUOTES, 2) and venues.requests["/clob/books"] >= 9)
    assert 1 <= sum("poll: " in line for line in run.lines) <= 2


@pytest.mark.asyncio
async def test_catalogue_with_a_page_that_fails(tmp_path):
    """A page that is refused ends the catalogue: what came before it is followed, and that is said once."""
    venues = venues_with_key(tmp_path)

    def events(request):
        if request.query.get("after_cursor") == "2":
            return web.json_response({"error": "no"}, status=400)
        return web.json_response(venues._events(request, None))

    venues.answers["/gamma/events/keyset"] = events
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 5))
    assert sum("it is not whole, 2 open markets are known" in line for line in run.lines) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("lost", [1, 100])
async def test_part_of_a_subscription_that_is_lost(tmp_path, monkeypatch, lost):
    """What is asked for and not told of is asked for again, and after that on another connection."""
    venues = venues_with_key(tmp_path)
    answer = Venues._said_to_polymarket
    ignored = []

    async def forgetful(self, socket, text):
        if text != "PING":
            said = json.loads(text)
            is_asked = said.get("operation") != "unsubscribe" and tokens(1)[0] in said["assets_ids"]
            if is_asked and socket is self.sockets["polymarket"][0] and len(ignored) < lost:
                ignored.append(said)
                said["assets_ids"] = [token for token in said["assets_ids"] if token not in tokens(1)]
                text = json.dumps(said)
        await answer(self, socket, text)

    monkeypatch.setattr(Venues, "_said_to_polymarket", forgetful)
    timing = replace(TIMING, reconcile_every=0.1)
    async with running(venues), collecting(venues, tmp_path, timing, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6), within=20)
    assert run.said("1 of 3 markets are asked for and not told of; asked for again")
    shards = len(venues.sockets["polymarket"])
    assert (len(ignored), shards) == ((1, 1) if lost == 1 else (3, 2))


@pytest.mark.asyncio
async def test_books_that_kalshi_does_not_send(tmp_path, monkeypatch):
    """A market without a snapshot is asked for it."""
    venues = venues_with_key(tmp_path)
    answer = Venues._said_to_kalshi

    async def forgetful(self, socket, text):
        said = json.loads(text)
        if "channels" in said["params"] and ticker(1) in said["params"].get("market_tickers", ()):
            said["params"]["market_tickers"].remove(ticker(1))
            text = json.dumps(said)
        await answer(self, socket, text)

    monkeypatch.setattr(Venues, "_said_to_kalshi", forgetful)
    timing = replace(TIMING, reconcile_every=0.1)
    async with running(venues), collecting(venues, tmp_path, timing, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6), within=20)
    asked = [each["params"] for each in venues.sockets["kalshi"][0].asked]
    again = [each["market_tickers"] for each in asked if each.get("action") == "get_snapshot"]
    assert again[0] == [ticker(1)]


@pytest.mark.asyncio
async def test_single_market_that_stands_still(tmp_path, monkeypatch):
    """The audit finds it: a gap since its stream's last word, what REST says meanwhile, and it is asked for again."""
    monkeypatch.setattr(books, "DOUBTED", 200_000)
    venues = venues_with_key(tmp_path)
    timing = replace(TIMING, audit_every=0.15)
    async with running(venues), collecting(venues, tmp_path, timing, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        asked = len(venues.sockets["polymarket"][0].asked)
        venues.bid, venues.time = 0.60, "1999999999000"  # on REST, and no word of it on the socket
        await until(lambda: run.rows(QUOTES).filter(pl.col("source") == "rest").height >= 6, within=20)
        await until(lambda: len(venues.sockets["polymarket"][0].asked) > asked)
    gaps = run.rows(GAPS).filter(pl.col("reason") == "frozen")
    assert gaps["market_key"].n_unique() == 6 and {*gaps["connection"]} == {"polymarket-1", "kalshi-1"}


@pytest.mark.asyncio
async def test_holes_in_the_answers_make_no_storm(tmp_path, monkeypatch):
    """Where each answer has holes again, books are asked for ever more slowly, and come in the end."""
    monkeypatch.setattr(kalshi_session, "ASK_AGAIN", 0.1)
    venues = venues_with_key(tmp_path)
    answer, asked = Venues._said_to_kalshi, []

    async def holed(self, socket, text):
        said = json.loads(text)
        if said["params"].get("action") != "get_snapshot":
            await answer(self, socket, text)
            return
        asked.append(said)
        for name in said["params"]["market_tickers"]:
            if len(asked) < 4:
                holed.seq += 1  # one is missing before each
            holed.seq += 1
            await socket.send(snapshot(name, holed.seq, bid=f"0.3{len(asked)}"))

    holed.seq = 100
    monkeypatch.setattr(Venues, "_said_to_kalshi", holed)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        await venues.sockets["kalshi"][0].send(snapshot(ticker(0), holed.seq, bid="0.39"))
        is_mended = (pl.col("venue") == "kalshi") & (pl.col("bid") == 0.34)
        await until(lambda: run.rows(QUOTES).filter(is_mended)["market_key"].n_unique() == 3, within=20)
    assert len(asked) == 4 and all(len(each["params"]["market_tickers"]) == 3 for each in asked)


@pytest.mark.asyncio
async def test_fields_that_nothing_knows_are_told_once(tmp_path, monkeypatch, caplog):
    """A venue that says more than it did is written down, with an example that is safe to show."""
    monkeypatch.setattr(service, "Sample", partial(service.Sample, 1))
    monkeypatch.setattr(service, "MINUTE_US", 200_000)
    caplog.set_level("WARNING", "movers.collector")
    venues = venues_with_key(tmp_path)
    async with running(venues), collecting(venues, tmp_path, backfill_hours=0) as run:
        await until(lambda: run.has(QUOTES, 6))
        for _ in range(2):
            await venues.sockets["polymarket"][0].send(venues.book(tokens(0)[0], novelty="\x1b[31mnew"))
        await until(lambda: "novelty" in caplog.text)
    said = [record.getMessage() for record in caplog.records if "novelty" in record.getMessage()]
    assert len(said) == 1 and "field book.novelty that nothing here knows" in said[0] and "\x1b" not in said[0]
