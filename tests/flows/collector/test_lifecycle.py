"""What became of markets is asked for by name, closed ones included, and the order book is asked last."""

from typing import Any

import pytest
from aiohttp import web

from flows.collector.lifecycle import NAMED, Sweep
from flows.venues.base import Frame, MarketUpdate, Wire
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.vocab import Venue
from tests.flows.collector.catalogues import NOW, Catalogues, One, serving

P, K = Venue.POLYMARKET, Venue.KALSHI


class Swept:
    """A sweep, and what the venue's adapter makes of the answers."""

    def __init__(self, venue: Venue, server: Catalogues) -> None:
        self.adapter = Polymarket() if venue is P else Kalshi(use_yes_price=True)
        self.fields: dict[str, dict[str, Any]] = {}
        self.sweep = Sweep(venue, server.http(), server.http() if venue is P else None, self.put)

    async def put(self, wire: Wire, answer: bytes) -> None:
        for message in self.adapter.parse(Frame(0, "c", NOW, answer, wire)):
            for action in message.actions:
                if isinstance(action, MarketUpdate):
                    native_id = action.fields["market_id"].partition(":")[2]
                    self.fields.setdefault(native_id, {}).update(action.fields)

    def ends(self, *ids: str) -> list[tuple[str | None, str | None]]:
        return [(self.fields[one].get("status"), self.fields[one].get("result")) for one in ids]


@pytest.mark.asyncio
async def test_polymarket():
    """Open, proposed, disputed, closed, won, undetermined, and one that only the order book knows; each once."""
    over = {"closed": NOW, "uma": "resolved"}
    markets = [
        One(1), One(2, uma="proposed"), One(3, uma="disputed"), One(4, closed=NOW),
        One(5, **over, prices=("0", "1")), One(6, closed=NOW, prices=("0", "0")),
        One(7, **over, prices=("0.5", "0.5")), One(8, is_known=False, closed=NOW, prices=("1", "0")),
    ]  # fmt: skip
    async with serving(*markets) as server:
        swept = Swept(P, server)
        found = await swept.sweep.ask([*(one.condition for one in markets), "0xnobody"])
        assert found.fault is None and found.asked - found.told == {"0xnobody"}
        assert swept.ends(*(one.condition for one in markets)) == [
            ("active", None), ("proposed", None), ("disputed", None), ("closed", None),
            ("resolved", "No"), ("closed", None), ("resolved", "50-50"), ("resolved", "Yes"),
        ]  # fmt: skip
        assert [params.get("closed") for path, params in server.asked if path == "/markets"] == ["false", "true"]
        assert found.requests == len(server.asked) == 4


@pytest.mark.asyncio
async def test_kalshi():
    """Every state of a market's end, by ticker; one that the venue does not know is not told of."""
    markets = [
        One(1), One(2, status="closed"), One(3, status="determined", result="yes"),
        One(4, status="disputed", result="yes"), One(5, status="finalized", result="no"),
        One(6, status="finalized", result="scalar"), One(7, status="finalized"),
    ]  # fmt: skip
    async with serving(*markets) as server:
        swept = Swept(K, server)
        found = await swept.sweep.ask([*(one.ticker for one in markets), "KXNOBODY"])
        assert found.fault is None and found.asked - found.told == {"KXNOBODY"} and found.requests == 1
        assert swept.ends(*(one.ticker for one in markets)) == [
            ("active", None), ("closed", None), ("proposed", "Yes"), ("disputed", "Yes"), ("resolved", "No"),
            ("resolved", "scalar"), ("resolved", None),
        ]  # fmt: skip


@pytest.mark.asyncio
async def test_batches():
    """No request names more than the venue takes, and no address is longer than 8 KiB."""
    async with serving(*map(One, range(2 * NAMED + 1))) as server:
        longest = 0

        def measure(request: web.Request) -> None:
            nonlocal longest
            longest = max(longest, len(request.raw_path))

        server.answers["/markets"] = measure
        found = await Swept(P, server).sweep.ask(one.condition for one in server.markets.values())
        assert found.told == found.asked and found.requests == 3 and longest < 8_000


@pytest.mark.parametrize(("status", "requests"), [(400, 2), (503, 4)])
@pytest.mark.asyncio
async def test_venue_that_fails(status, requests):
    """A batch that is refused does not keep the others; a venue that is down is left alone until the next round."""
    async with serving(*map(One, range(101))) as server:
        server.answers["/markets"] = lambda _: web.Response(status=status)
        found = await Swept(K, server).sweep.ask(one.ticker for one in server.markets.values())
        assert found.fault is not None and not found.told and len(server.asked) == requests
        assert str(status) in str(found.fault) and "tickers" not in str(found.fault)


@pytest.mark.parametrize("body", ["{", "[]", '{"markets":7}', '{"markets":[7]}', "null", '"x"', "[null]"])
@pytest.mark.asyncio
async def test_answers_that_are_none(body):
    """What cannot be read is handed on, to be a dead letter, and tells of no market."""
    async with serving(One(1)) as server:
        server.answers["/markets"] = lambda _: web.Response(text=body, content_type="application/json")
        for venue, name in ((P, One(1).condition), (K, One(1).ticker)):
            found = await Swept(venue, server).sweep.ask([name])
            assert not found.told & {One(1).ticker}
