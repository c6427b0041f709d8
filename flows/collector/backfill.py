"""The past that nobody saw: history of the venues, fetched in the background, into table `history`.

First the last 75 minutes of all markets, then the rest of what was asked for; the most traded first. What the lake has
is not asked for again: bars that are there, and five minutes in each of which the venue's feed was live. One answer at
a time goes through the pipeline, so live frames never wait long.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import polars as pl

from flows.collector.batches import batched
from flows.collector.connection import Link, is_worth_a_word
from flows.collector.http import Http, VenueError
from flows.collector.making import poll_name
from flows.collector.tapes import Page, trades
from flows.collector.universe import Listed
from flows.venues.base import HISTORY_US, Wire
from lake.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, floor_to, from_us
from lake.reading import between
from lake.schema import FEED_HEALTH, HISTORY
from lake.store import Store
from lake.vocab import Venue

RECENT_US: Final = 75 * MINUTE_US
TOKENS: Final = 20
"""In one request for Polymarket's histories."""

TICKERS: Final = 100
CANDLES: Final = 3_000
"""In one request for Kalshi's candlesticks: a third of what it allows, so that reading an answer holds nobody up."""

PAUSE: Final = 0.1  # seconds between two answers
MANY: Final = 200  # requests, of which a quarter is worth a word
LEAST: Final = 2  # bars in a row: a single one may be missing, for venues leave some out

LOOKED_UP: Final = "-(history|catalog|figures|audit|sweep)$"
"""Connections whose names end so are no feed."""

CACHED: Final = 20.0  # seconds that an answer of Kalshi's may be old
BEFORE_US: Final = 5 * SECOND_US  # before and after a hole, since clocks differ

_BARS_A_MINUTE: Final = HISTORY_US // MINUTE_US


class Hole(NamedTuple):
    """Bars of a market that are missing: from the first one's start to the last one's end, microseconds."""

    market: Listed
    start: int
    end: int


def holes(
    markets: Iterable[Listed], have: Mapping[int, frozenset[int]], live: frozenset[int], start: int, end: int
) -> list[Hole]:
    """What to ask for in [start, end), both on a bar's edge: a hole for each market that misses `LEAST` bars in a row.

    `have` are the starts of bars that the lake holds, by market; `live` those in which the feed was seen.
    """
    found = []
    for one in markets:
        first = start if one.listed_time is None else max(start, floor_to(one.listed_time, HISTORY_US))
        there = have.get(one.market, frozenset())
        missing = [bar for bar in range(first, end, HISTORY_US) if bar not in there and bar not in live]
        runs = [run for run in _runs(missing) if len(run) >= min(LEAST, (end - start) // HISTORY_US)]
        if runs:
            found.append(Hole(one, runs[0][0], runs[-1][-1] + HISTORY_US))
    return found


def _runs(bars: Iterable[int]) -> list[list[int]]:
    """Bars in order, those that follow one another together."""
    runs: list[list[int]] = []
    for bar in bars:
        if runs and runs[-1][-1] + HISTORY_US == bar:
            runs[-1].append(bar)
        else:
            runs.append([bar])
    return runs


def live_bars(minutes: Iterable[int]) -> frozenset[int]:
    """Starts of the bars of which every minute is among `minutes`, microseconds."""
    count: dict[int, int] = {}
    for minute in set(minutes):
        bar = floor_to(minute, HISTORY_US)
        count[bar] = count.get(bar, 0) + 1
    return frozenset(bar for bar, seen in count.items() if seen == _BARS_A_MINUTE)


class Backfill:
    """The history of one venue's markets."""

    def __init__(
        self, venue: Venue, store: Store, http: Http, link: Link, hours: float, *, pause: float = PAUSE
    ) -> None:
        self._venue = venue
        self._store = store
        self._http = http
        self._link = link
        self._hours = hours
        self._pause = pause
        self.requests = self.failures = 0

    async def run(self, markets: Callable[[], Iterable[Listed]]) -> None:
        """Fetch what is missing of `markets`, asked for before each pass."""
        now = self._link.clock.wall()
        end = floor_to(now, HISTORY_US)
        start = floor_to(end - round(self._hours * HOUR_US), HISTORY_US)
        recent = max(start, end - RECENT_US)
        for first, last in ((recent, end), (start, recent)):
            if first < last:
                await self._fetch(list(markets()), first, last)

    async def _fetch(self, markets: list[Listed], start: int, end: int) -> None:
        have, live = await asyncio.to_thread(known, self._store, self._venue, start, end)
        todo = holes(markets, have, live, start, end)
        name = f"history of {_span(start, end)}"
        if not todo:
            self._say(f"{name} is there")
            return
        began, failed = self._link.clock.monotonic(), 0
        requests = requests_of(todo, self._venue)
        for done, batch in enumerate(requests, 1):
            failed += not await self._ask(batch)
            if done % max(1, len(requests) // 4) == 0 and done < len(requests) and len(requests) >= MANY:
                self._say(f"{name}: {done / len(requests):.0%}")
            await asyncio.sleep(self._pause)
        seconds = self._link.clock.monotonic() - began
        missed = f", {failed} of {len(requests)} requests failed" if failed else ""
        self._say(f"{name}: {len(todo):,} markets in {seconds:.0f} s{missed}")

    async def _ask(self, batch: list[Hole]) -> bool:
        """One request; its answer is a frame that has been consumed on return. False if there was none."""
        self.requests += 1
        try:
            wire, answer = await history(self._http, self._venue, batch)
        except VenueError as exc:
            self.failures += 1
            if is_worth_a_word(self.failures):
                self._say(f"history: {exc}")
            return False
        await self._link.intake.room()
        self._link.intake.frame(history_name(self._venue), wire, answer)
        await self._link.intake.consumed()
        return True

    def _say(self, line: str) -> None:
        self._link.say(f"{self._venue.value}: {line}")


def history_name(venue: Venue) -> str:
    """The connection that answers about the past carry."""
    return f"{venue.value}-history"


def requests_of(todo: Iterable[Hole], venue: Venue) -> list[list[Hole]]:
    """The holes that one request asks for together, all of one span, in order."""
    return [batch for group in _by_span(todo) for batch in batched(group, _together(venue, group[0]))]


def _together(venue: Venue, hole: Hole) -> int:
    if venue is Venue.POLYMARKET:
        return TOKENS
    return max(1, min(TICKERS, CANDLES // ((hole.end - hole.start) // MINUTE_US)))


async def history(http: Http, venue: Venue, batch: list[Hole]) -> Page:
    """The venue's history of these holes, which are of one span. Raises `VenueError`.

    `http` is at `polymarket_clob_url` or `kalshi_api_url`.
    """
    start, end = batch[0].start // SECOND_US, batch[0].end // SECOND_US
    if venue is Venue.POLYMARKET:
        body = {
            "markets": [hole.market.tokens[0] for hole in batch],
            "start_ts": start,
            "end_ts": end,
            "fidelity": HISTORY_US // MINUTE_US,
        }
        return Wire.POLYMARKET_HISTORY, await http.post("/batch-prices-history", msgspec.json.encode(body))
    asked = {
        "market_tickers": ",".join(hole.market.native_id for hole in batch),
        "start_ts": start + 1,  # a candle is named by its end: the one that ends at `start` is not of this span
        "end_ts": end,
        "period_interval": 1,
    }
    return Wire.KALSHI_HISTORY, await http.get("/markets/candlesticks", asked)


async def missed_trades(http: Http, link: Link, since: int, until: int, tickers: Sequence[str] = ()) -> int:
    """Kalshi's trades of [since, until) into the intake, as after a hole in the sequence of its trades; the pages.

    Asked for ticker by ticker, or all of the venue if none is given, which takes a request for each thousand. It waits
    until answers of before `until` are no longer in the venue's caches. A trade that came over the socket as well is
    known by its id. Raises `VenueError`: what came in stands.
    """
    age = (link.clock.wall() - until) / SECOND_US
    await asyncio.sleep(min(max(0.0, CACHED - age), CACHED))
    pages = 0
    for ticker in tickers or (None,):
        asked = [] if ticker is None else [ticker]
        async for wire, page in trades(http, Venue.KALSHI, asked, since - BEFORE_US, until + BEFORE_US):
            await link.intake.room()
            link.intake.frame(history_name(Venue.KALSHI), wire, page)
            pages += 1
    return pages


def known(store: Store, venue: Venue, start: int, end: int) -> tuple[dict[int, frozenset[int]], frozenset[int]]:
    """Starts of the bars in [start, end) that the lake holds, by market; and of those in which the feed was live."""
    bars = (
        store.scan(HISTORY, venues=[venue.value])
        .filter(*between("bar_start", from_us(start), from_us(end)))
        .select("market_key", pl.col("bar_start").dt.epoch("us"))
        .group_by("market_key")
        .agg(pl.col("bar_start").unique())
        .collect()
    )
    held = {market: frozenset(starts) for market, starts in bars.iter_rows()}
    return held, live_bars(feed_minutes(store, venue, start, end)["minute"])


def feed_minutes(store: Store, venue: Venue, start: int, end: int) -> pl.DataFrame:
    """The minutes in [start, end) in which the feed was seen: minute, microseconds, and is_poll, each pair once."""
    connection = pl.col("connection")
    is_feed = ~connection.str.contains(LOOKED_UP)
    days = [from_us(us).date() for us in range(start, end + 2 * DAY_US, DAY_US)]
    return (
        store.scan(FEED_HEALTH, venues=[venue.value], dates=days)
        .filter(is_feed & (pl.col("frames") > 0), *between("minute", from_us(start), from_us(end)))
        .select(pl.col("minute").dt.epoch("us"), is_poll=connection == poll_name(venue))
        .unique()
        .collect()
    )


def _by_span(todo: Iterable[Hole]) -> list[list[Hole]]:
    """Holes of one span together, the most traded first: a request has one span."""
    groups: dict[tuple[int, int], list[Hole]] = {}
    for hole in todo:
        groups.setdefault((hole.start, hole.end), []).append(hole)
    return list(groups.values())


def _span(start: int, end: int) -> str:
    minutes = (end - start) // MINUTE_US
    length = f"{minutes} min" if minutes <= 180 else f"{minutes / 60:.0f} h"
    return f"the {length} to {from_us(end):%H:%M} UTC"
