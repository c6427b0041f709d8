"""REST answers are JSON of a bearable size, or a typed error in one line; catalogues end."""

import gzip
import json
from random import Random

import httpx
import pytest

from flows.collector import catalog
from flows.collector.catalog import BadPaging
from flows.collector.http import ATTEMPTS, Http, Refused, TooLarge, Unreachable, is_loopback, retry_after
from flows.collector.places import Place
from flows.collector.timing import Clock, Timing
from flows.venues.base import Wire
from lake.vocab import Venue

QUICK = Timing(first_delay=0.001, longest_delay=0.001)
CLOCK = Clock(wall=lambda: 1_790_000_000_000_000)
JSON = {"Content-Type": "application/json; charset=utf-8"}


class Server:
    """Answers in turn, the last one for ever; keeps what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def http(self, clock: Clock = CLOCK) -> Http:
        clock = Clock(wall=clock.wall)
        transport = httpx.MockTransport(self)
        return Http("https://venue.test/v2/", rate=1e6, rng=Random(1), timing=QUICK, clock=clock, transport=transport)


def page(**said: object) -> httpx.Response:
    return httpx.Response(200, json=said)


@pytest.mark.asyncio
async def test_answer():
    """The bytes of the answer, asked for below the base, with the query and a name."""
    server = Server(httpx.Response(200, content=b'{"a":1}', headers=JSON))
    assert await server.http().get("/markets", {"limit": 5}) == b'{"a":1}'
    assert str(server.asked[0].url) == "https://venue.test/v2/markets?limit=5"
    assert server.asked[0].headers["User-Agent"].startswith("prediction-market-movers/")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 425, 408])
@pytest.mark.asyncio
async def test_what_may_pass_is_asked_again(status):
    """Busy and broken servers are asked again; the next good answer counts."""
    server = Server(httpx.Response(status), httpx.Response(status), page(a=1))
    assert json.loads(await server.http().get("/x")) == {"a": 1}
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(503), "status 503"),
        (httpx.Response(200, text="<html>", headers={"Content-Type": "text/html"}), "text/html instead of JSON"),
        (httpx.Response(200, content=b"{}"), "an unnamed type instead of JSON"),
        (httpx.Response(200, content=b"", headers=JSON), "an empty answer"),
        (httpx.ConnectError("no"), "refused the connection"),
        (httpx.ReadTimeout("late"), "no answer in time"),
        (httpx.RemoteProtocolError("odd"), "broke off (RemoteProtocolError)"),
    ],
    ids=["503", "html", "untyped", "empty", "refused", "late", "broken"],
)
@pytest.mark.asyncio
async def test_unusable_answer(answer, reason):
    """After a few tries it is `Unreachable`, with the place and the reason, and without the query."""
    server = Server(answer)
    with pytest.raises(Unreachable) as caught:
        await server.http().get("/markets", {"secret": "s3cret"})
    assert (
        str(caught.value) == f"venue.test/v2/markets: {reason}" or str(caught.value) == f"venue.test/markets: {reason}"
    )
    assert len(server.asked) == ATTEMPTS


LARGE = httpx.Response(200, content=b"x" * (16 << 20) + b"y", headers=JSON)
BOMB = httpx.Response(200, content=gzip.compress(b" " * (17 << 20)), headers={**JSON, "Content-Encoding": "gzip"})


@pytest.mark.parametrize("answer", [LARGE, BOMB], ids=["large", "bomb"])
@pytest.mark.asyncio
async def test_too_large(answer):
    """More than 16 MiB, once inflated, is refused without a second try."""
    server = Server(answer)
    with pytest.raises(TooLarge, match="more than 16 MiB"):
        await server.http().get("/x")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 301])
@pytest.mark.asyncio
async def test_refusal_is_not_asked_again(status):
    """What will not change is `Refused` at once; a redirect is not followed."""
    server = Server(httpx.Response(status, headers={"Location": "https://elsewhere.test"}))
    with pytest.raises(Refused, match=f"status {status}"):
        await server.http().get("/x")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("3", 3.0), ("0", 0.0), ("99999", 120.0), (None, None), ("", None), ("soon", None), ("-1", None),
        ("Mon, 01 Jan 2026 00:00:00 +9999999999999999", None), ("Fri, 31 Dec 9999 23:59:59 -2359", 120.0),
        ("Mon, 21 Sep 2026 14:13:30 GMT", 10.0), ("Mon, 21 Sep 2026 14:13:10 GMT", 0.0),
    ],
)  # fmt: skip
def test_retry_after(text, wait):
    """Both forms of the header, at most two minutes."""
    assert retry_after(text, CLOCK) == wait


@pytest.mark.parametrize(
    ("url", "is_here"),
    [("http://127.0.0.1:8", True), ("ws://localhost:1/x", True), ("http://[::1]/", True), ("https://a.test", False)],
)
def test_is_loopback(url, is_here):
    """No proxy is used for this machine."""
    assert is_loopback(url) is is_here


# --- catalogue -----------------------------------------------------------------------------------


async def pages(server: Server, venue: Venue) -> list[tuple[Wire, bytes]]:
    listing = catalog.Catalog(server.http(), venue, CLOCK, lambda event: False)
    return [(page.wire, page.payload) async for page in listing.walk(Place())]


@pytest.mark.parametrize("end", [{}, {"next_cursor": None}, {"next_cursor": ""}])
@pytest.mark.asyncio
async def test_gamma_pages(end):
    """Every page, each asked for by the cursor of the one before, until there is none."""
    server = Server(page(events=[1], next_cursor="b"), page(events=[2], next_cursor="c"), page(events=[3], **end))
    found = await pages(server, Venue.POLYMARKET)
    assert [json.loads(raw)["events"] for wire, raw in found if wire is Wire.GAMMA_PAGES] == [[1], [2], [3]]
    assert [request.url.params.get("after_cursor") for request in server.asked] == [None, "b", "c"]
    assert all(request.url.params["closed"] == "false" for request in server.asked)


@pytest.mark.asyncio
async def test_page_that_is_too_large():
    """A page that is too large is asked for again, half as long, and so are those after it."""
    server = Server(page(events=[1], next_cursor="b"), LARGE, page(events=[2], next_cursor="c"), page(events=[3]))
    assert len(await pages(server, Venue.POLYMARKET)) == 3
    asked = [(request.url.params["limit"], request.url.params.get("after_cursor")) for request in server.asked]
    assert asked == [("100", None), ("100", "b"), ("50", "b"), ("50", "c")]


@pytest.mark.asyncio
async def test_kalshi_pages():
    """The series come first, once; then events with their markets."""
    server = Server(page(series=[{"ticker": "KXA"}]), page(events=[1], cursor="b"), page(events=[2], cursor=""))
    found = await pages(server, Venue.KALSHI)
    assert [sorted(json.loads(raw))[-1] for _, raw in found] == ["series", "events", "events"]
    assert [request.url.path for request in server.asked] == ["/v2/series", "/v2/events", "/v2/events"]
    assert server.asked[2].url.params["cursor"] == "b"


@pytest.mark.asyncio
async def test_series_that_are_too_many():
    """Series that make too large an answer are asked for a category at a time; one that is too large still is left."""
    kinds = page(tags_by_categories={"Crypto": ["BTC"], "Sports": None, "World": []})
    some = [page(series=[{"ticker": "KXA"}]), LARGE, page(series=[{"ticker": "KXB"}])]
    server = Server(LARGE, kinds, *some, page(events=[1], cursor=""))
    found = await pages(server, Venue.KALSHI)
    assert len(found) == 3 and b"KXB" in found[1][1]
    assert [request.url.params.get("category") for request in server.asked] == [
        None, None, "Crypto", "Sports", "World", None,
    ]  # fmt: skip


@pytest.mark.asyncio
async def test_cursor_that_leads_back():
    """A cursor that was there before is an error, and no endless loop; so is the same page again."""
    server = Server(
        page(events=[1], next_cursor="b"), page(events=[2], next_cursor="c"), page(events=[3], next_cursor="b")
    )
    with pytest.raises(BadPaging, match="leads back"):
        await pages(server, Venue.POLYMARKET)
    with pytest.raises(BadPaging, match="came twice"):
        await pages(Server(page(events=[1], next_cursor="b")), Venue.POLYMARKET)


@pytest.mark.parametrize("content", [b"[]", b'{"next_cursor":7}', b"{", b"\xff"])
@pytest.mark.asyncio
async def test_page_that_is_none(content):
    """A page without a form is an error of the venue."""
    with pytest.raises(BadPaging, match="no JSON object"):
        await pages(Server(httpx.Response(200, content=content, headers=JSON)), Venue.POLYMARKET)
