"""Tapes are walked to their ends, whatever their pages; one that cannot be walked whole is refused."""

import json
from random import Random

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.collector import tapes
from flows.collector.http import Http, Refused
from flows.collector.tapes import kept_since, trades
from flows.collector.timing import Timing
from lake.clock import SECOND_US
from lake.vocab import Venue
from tests.strategies import examples

P, K = Venue.POLYMARKET, Venue.KALSHI
PAGE, DEEPEST = 5, 9


def http(answer) -> Http:
    return Http(
        "http://tape", rate=1e6, rng=Random(1), timing=Timing(first_delay=0), transport=httpx.MockTransport(answer)
    )


class Tape:
    """Polymarket's, of `times` in seconds; `end` counts or not, `moves` lets a row in while it is paged over."""

    def __init__(self, times: list[int], *, is_closed: bool = True, moves: int = 0, heeds: bool = True) -> None:
        rows = [{"timestamp": time, "transactionHash": f"0x{place:x}"} for place, time in enumerate(sorted(times))]
        self.rows = rows[::-1]
        self.asked = 0
        self._is_closed, self._moves, self._heeds = is_closed, moves, heeds

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = {name: int(value) for name, value in request.url.params.items() if value.isdecimal()}
        self.asked += 1
        if self.asked == self._moves:
            self.rows.insert(0, {"timestamp": self.rows[0]["timestamp"], "transactionHash": "0xnew"})
        found = [row for row in self.rows if not self._heeds or query["start"] <= row["timestamp"] <= self._last(query)]
        at = min(query["offset"], DEEPEST)
        return httpx.Response(200, json=found[at : at + min(query["limit"], PAGE)])

    def _last(self, query: dict[str, int]) -> int:
        return query["end"] if self._is_closed else query["end"] - 1


async def walked(client: Http, venue: Venue, start: int = 0, end: int = 100) -> list[dict]:
    found = []
    async for _, page in trades(client, venue, ["m"], start * SECOND_US, end * SECOND_US):
        body = json.loads(page)
        found += body if venue is P else body["trades"]
    return found


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in (("PAGE", PAGE), ("DEEPEST", DEEPEST), ("KALSHI_PAGE", PAGE)):
        monkeypatch.setattr(tapes, name, value)


@examples(150)
@given(st.lists(st.integers(1, 90), max_size=60), st.booleans())
def test_every_row_once(times, is_closed):
    """Each row comes once, newest first, ties and all; where too many share a second it is refused instead."""
    import asyncio

    tape = Tape(times, is_closed=is_closed)
    most = max((times.count(each) + times.count(each + 1) for each in times), default=0)
    try:
        found = asyncio.run(walked(http(tape), P))
    except Refused:
        found = None
    assert found == tape.rows or (found is None and most > DEEPEST)


@pytest.mark.asyncio
async def test_too_many_in_one_second():
    """More than can be paged over in one second cannot be had whole: that is said, and it ends."""
    with pytest.raises(Refused, match="more than 9 trades of one second"):
        await walked(http(Tape([7] * 40)), P)


@pytest.mark.asyncio
@pytest.mark.parametrize("moves", [2, 3])
async def test_rows_that_move(moves):
    """A row that comes in while the tape is paged over is found out, wherever it happens."""
    with pytest.raises(Refused, match="do not join"):
        await walked(http(Tape([*range(1, 40)], moves=moves)), P)


@pytest.mark.asyncio
async def test_times_that_are_not_heeded():
    """A venue that tells of any time is refused: its newest pages are not those that were asked for."""
    with pytest.raises(Refused, match="other times"):
        await walked(http(Tape([*range(1, 300, 3)], heeds=False)), P)


def kalshi(pages: dict[str, dict]):
    return http(lambda request: httpx.Response(200, json=pages[request.url.params.get("cursor", "")]))


def page(*seconds: int, cursor: str | None = "") -> dict:
    return {"trades": [{"created_time": f"1970-01-01T00:01:{each:02}Z"} for each in seconds], "cursor": cursor}


@pytest.mark.asyncio
async def test_kalshi_goes_on_by_cursor():
    """Until there is none, or until the trades are older than was asked for."""
    pages = {"": page(9, 8, cursor="a"), "a": page(7, cursor="b"), "b": page(6, cursor=None)}
    assert len(await walked(kalshi(pages), K, 60)) == 4
    assert len(await walked(kalshi(pages | {"a": page(2, cursor="b")}), K, 65)) == 3
    assert await walked(kalshi({"": page()}), K) == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("pages", "says"),
    [
        ({"": page(9, cursor="a"), "a": page(8, cursor="a")}, "same cursor twice"),
        ({"": {"trades": 5}}, "is no page of trades"),
        ({"": {"trades": [{"created_time": "yesterday"}]}}, "is no page of trades"),
    ],
)
async def test_kalshi_pages_without_an_end_or_a_sense(pages, says):
    with pytest.raises(Refused, match=says):
        await walked(kalshi(pages), K, 60)


@pytest.mark.asyncio
async def test_how_far_back():
    """Kalshi says it, to the second; an answer without it is refused."""
    says = {"trades_created_ts": "1970-01-02T00:00:00Z"}
    assert await kept_since(http(lambda _: httpx.Response(200, json=says)), K) == 86_400 * SECOND_US
    with pytest.raises(Refused, match="trades_created_ts"):
        await kept_since(http(lambda _: httpx.Response(200, json={})), K)
