"""What a venue says of volumes and open interest is asked for again and again, and makes no quotes."""

from collections import Counter
from dataclasses import replace

import polars as pl
import pytest
from aiohttp import web

from flows.collector.figures import BUSY, ROUNDS, due
from flows.collector.universe import Listed
from lake.schema import FEED_HEALTH, QUOTES, RAW, VENUE_STATS
from lake.vocab import Venue, market_id, market_key
from tests.flows.collector.test_live import TIMING, collecting, venues_with_key
from tests.flows.collector.venues import condition, gamma_market, kalshi_market, running, ticker, until

EVERY = replace(TIMING, figures_every=0.2)


def listed(count: int) -> list[Listed]:
    return [Listed(number * 7, f"m{number}", (), float(count - number), None) for number in range(count)]


def test_rotation():
    """The most traded in every round; of the others each once in five rounds, and about as many in each."""
    followed = listed(3_000)
    rounds = [due(followed, number) for number in range(7, 7 + ROUNDS)]
    asked = Counter(one.native_id for markets in rounds for one in markets)
    assert {asked[one.native_id] for one in followed[:BUSY]} == {ROUNDS}
    assert {asked[one.native_id] for one in followed[BUSY:]} == {1}
    assert {len(markets) for markets in rounds} == {BUSY + 500}


@pytest.mark.asyncio
async def test_figures_of_both_venues(tmp_path):
    """New figures are rows within a round; they come by a connection of their own, in batches, and make no quotes."""
    venues = venues_with_key(tmp_path)
    said = {"volume24hr": 7.0, "volumeNum": 8.0, "liquidityNum": 9.0, "bestBid": 0.11, "bestAsk": 0.13}

    def gamma(request: web.Request) -> web.Response:
        names = request.query.getall("condition_ids")
        return web.json_response([gamma_market(n, **said) for n in range(3) if condition(n) in names])

    def kalshi(request: web.Request) -> web.Response:
        names = request.query["tickers"].split(",")
        more = {"open_interest_fp": "77.00", "volume_24h_fp": "6.00", "yes_bid_dollars": "0.1100"}
        return web.json_response({"markets": [kalshi_market(n, **more) for n in range(3) if ticker(n) in names]})

    venues.answers |= {"/gamma/markets": gamma, "/trade-api/v2/markets": kalshi}
    async with running(venues), collecting(venues, tmp_path, EVERY, backfill_hours=0) as run:
        await until(lambda: run.rows(VENUE_STATS).filter(volume_24h_usd=7.0).height == 3)
        await until(lambda: run.rows(VENUE_STATS).filter(open_interest=77.0).height == 3)
    stats = run.rows(VENUE_STATS)
    key = market_key(market_id(Venue.POLYMARKET, condition(1)))
    told = stats.filter(pl.col("market_key") == key).sort("seq").select(
        "volume_24h_usd", "volume_total_usd", "liquidity_usd"
    )  # fmt: skip
    assert told.rows()[-1] == (7.0, 8.0, 9.0)
    assert set(run.rows(QUOTES)["bid"]) == {0.40}
    health = run.rows(FEED_HEALTH).filter(pl.col("connection").str.ends_with("-figures"))
    assert set(health["connection"]) == {"polymarket-figures", "kalshi-figures"} and health["dead"].sum() == 0
    kinds = run.rows(RAW).filter(pl.col("connection") == "polymarket-figures")["kind"].unique().to_list()
    assert kinds == ["WITHHELD"]  # they are large, and of use for a moment
    assert any(len(body.get("condition_ids", "")) for body in venues.bodies)
    assert venues.requests["/gamma/markets"] >= 1


@pytest.mark.asyncio
async def test_a_venue_that_does_not_answer(tmp_path):
    """Failures are said once in a while, quotes go on, and figures come once it answers."""
    venues = venues_with_key(tmp_path)
    venues.answers["/gamma/markets"] = lambda request: web.Response(status=404)
    async with running(venues), collecting(venues, tmp_path, EVERY, backfill_hours=0) as run:
        await until(lambda: run.said("polymarket: figures: "))
        before = run.rows(VENUE_STATS).height
        venues.answers["/gamma/markets"] = lambda request: web.json_response([gamma_market(1, volume24hr=3.0)])
        await until(lambda: run.rows(VENUE_STATS).filter(volume_24h_usd=3.0).height)
    assert before >= 6 and run.rows(QUOTES).height >= 6
