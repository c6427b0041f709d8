"""The pages without a server: what a session shows, and how it answers its widgets and its address."""

from datetime import timedelta

import pytest

from app import health
from app.components import NOTHING
from app.feed import Feed
from app.market_html import venue_address
from app.pages.home import Home
from app.pages.market import Market, search
from app.pages.movers import Movers
from app.shell import banner_html, nav_html, state_html
from lake.vocab import Mode
from tests.app.world import ALDER, FERRY, World, move, rows_of

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path / "lake")


def feed_of(world: World) -> Feed:
    feed = Feed(world.root, world.mode, lambda: world.now)
    feed.look()
    return feed


def text(page) -> str:
    """All HTML that a page shows."""
    import panel as pn

    page.shell.open()
    panes = page.shell._page.select(pn.pane.HTML)
    return "\n".join(pane.object for pane in panes)


PAGES = pytest.mark.parametrize("page", [Home, Movers, Market])


@PAGES
def test_no_lake(page, world):
    """Without a lake every page says where it looked, and what to do."""
    found = text(page(feed_of(world), ""))
    assert f"No lake at {world.root} yet" in found
    assert "make run" in found


@PAGES
def test_empty_lake(page, world):
    """A lake without rows: they are on their way."""
    assert world.store
    assert "first movers in about a minute" in text(page(feed_of(world), ""))


@PAGES
def test_hostile_titles_are_text(page, world):
    """Nothing that a venue writes is a tag on any page, in title, category, outcome, id or status."""
    world.usual()
    bad = "kalshi:KXBAD-<b>"
    world.markets(bad, title=HOSTILE, category=HOSTILE, outcomes=[HOSTILE, HOSTILE], status=HOSTILE, result=HOSTILE)
    world.quote(bad)
    world.board(move(bad), move())
    view = page(feed_of(world), f"?id={bad}")
    if page is Market:
        view._search.value_input = "script"
    found = text(view)
    assert "&lt;script&gt;" in found
    assert "<script" not in found
    assert "<img" not in found


@PAGES
def test_recovers(page, world):
    """A page that was opened without a lake shows it as soon as it is there, and its end when it goes."""
    feed = feed_of(world)
    view = page(feed, f"?id={ALDER}")
    before = text(view)
    assert "No lake" in before
    world.usual()
    feed.look()
    view.shell.show(feed.snapshot)
    assert "Aldergate" in text(view)
    world.root.rename(world.root.with_name("away"))
    feed.look()
    view.shell.show(feed.snapshot)
    assert "No lake" in text(view)


def test_home(world):
    """Mode, figures with their age, both feeds, the movers of 15 minutes."""
    found = text(Home(feed_of(world.usual()), ""))
    for part in ("SIMULATED", "Markets", "Aldergate", "LIVE", "kalshi/socket", "30 ms", "44 ms", "as of 12:00:00 UTC"):
        assert part in found
    assert rows_of(found) == 2


def test_home_window_goes_to_the_address(world):
    """Choosing a window changes the address; going back changes the widget."""
    page = Home(feed_of(world.usual()), "")
    page._window.value = "1h"
    assert page.shell.browser.query == "?window=1h"
    page.shell.browser.query = "?window=5m"
    assert page._window.value == "5m"


def test_quiet_hour(world):
    """No mover is told as such, with why the others are hidden."""
    world.usual()
    world.board(move(rank=None))
    found = text(Home(feed_of(world), ""))
    assert "Nothing above the floor" in found
    assert "1 of 1 markets hidden: 1 moved too little." in found


def test_board_that_was_not_watched(world):
    """After an outage the hour was not quiet: nobody looked, and that is what the page says."""
    world.usual()
    world.board(move(rank=None) | {"verdict": "gap_in_slice"})
    for page in (Home, Movers):
        found = text(page(feed_of(world), ""))
        assert "Not watched long enough" in found and "quiet hour" not in found
        assert "1 of 1 markets hidden: 1 a gap where it matters." in found


def test_movers_by_address(world):
    """A deep link shows what it says, in widgets and rows."""
    page = Movers(feed_of(world.usual()), "?direction=down&min_volume=1000&window=15m")
    found = text(page)
    assert rows_of(found) == 1
    assert "ferry" in found and "Aldergate" not in found
    assert (page._widgets["direction"].value, page._widgets["min_volume"].value) == ("down", 1000)


def test_movers_both_ways(world):
    """A widget writes the address, the address sets the widgets, and neither chases the other."""
    page = Movers(feed_of(world.usual()), "")
    page._widgets["direction"].value = "up"
    assert page.shell.browser.query == "?direction=up"
    assert rows_of(text(page)) == 1
    page.shell.browser.query = "?category=sports&min_move=3.5"
    assert page._widgets["direction"].value == ""
    assert (page._widgets["category"].value, page._widgets["min_move"].value) == ("sports", 3.5)
    assert rows_of(text(page)) == 1
    assert page.shell.browser.query == "?category=sports&min_move=3.5"


def test_movers_bad_address(world):
    """A readable line, and the defaults."""
    page = Movers(feed_of(world.usual()), "?min_move=abc&window=3w")
    found = text(page)
    assert "min_move=abc: is no number" in found
    assert "window=3w: use one of 5m, 15m, 1h, 24h" in found
    assert rows_of(found) == 2


def test_movers_in_pages(world):
    """Fifty rows a page, by address; a page beyond the last shows the last."""
    world.usual()
    ids = [f"kalshi:K{number}" for number in range(120)]
    world.board(*(move(each, rank=number + 1) for number, each in enumerate(ids)))
    feed = feed_of(world)
    assert [rows_of(text(Movers(feed, query))) for query in ("", "?page=2", "?page=3", "?page=99")] == [50, 50, 20, 20]
    assert "51–100 of 120" in text(Movers(feed, "?page=2"))


def test_market(world):
    """Title, quote, trades and facts of the market that the address names."""
    world.usual()
    found = text(Market(feed_of(world), f"?id={ALDER}&bars=5m"))
    for part in ("<h1>Will the Aldergate dam vote pass?</h1>", "67.0%", "33.0%", "66.0¢", "68.0¢", "▲ buy", "1.0¢"):
        assert part in found


@pytest.mark.parametrize("market", ["kalshi:NONE", "x", "<script>", "9" * 40, "kalshi:" + "a" * 5_000])
def test_market_unknown(world, market):
    """A market that is not there is told in one line."""
    assert "No such market here" in text(Market(feed_of(world.usual()), f"?id={market}"))


def test_market_widths(world):
    """Another width of bars goes to the address, and back."""
    page = Market(feed_of(world.usual()), f"?id={ALDER}")
    text(page)
    page._width.value = "5m"
    assert page.shell.browser.query == f"?id={ALDER}&bars=5m"
    assert page.detail.interval == "5m"
    page.shell.browser.query = f"?id={FERRY}"
    assert (page.interval, page.detail.market["market_id"]) == ("1m", FERRY)


def test_search_as_one_types(world):
    """Title and id are searched on the server, in any case, as a text and not as a pattern."""
    world.usual()
    page = Market(feed_of(world), "")
    page._search.value_input = "ALDERGATE"
    assert "market?id=kalshi:KXALDER-27-PASS" in page._hits.object
    page._search.value_input = ".*"
    assert "No market holds that text" in page._hits.object
    page._search.value_input = ""
    assert page._hits.object == NOTHING


def test_search_shows_open_markets_first(world):
    """A resolved market comes after one that can be traded."""
    world.markets("kalshi:A", title="dam a", status="resolved")
    world.markets("kalshi:B", title="dam b")
    assert search(feed_of(world).snapshot.catalogue, "dam")["market_id"].to_list() == ["kalshi:B", "kalshi:A"]


@pytest.mark.parametrize(
    ("market", "address"),
    [
        ({"venue": "polymarket", "slug": "ferry-strike"}, "https://polymarket.com/event/ferry-strike"),
        ({"venue": "polymarket", "slug": "a/../b"}, None),
        ({"venue": "polymarket", "slug": "a?b=javascript:"}, None),
        ({"venue": "polymarket", "slug": "a" * 201}, None),
        ({"venue": "polymarket", "slug": "ok\n"}, None),
        ({"venue": "polymarket", "slug": None}, None),
        (
            {"venue": "kalshi", "series_id": "kalshi:KXA", "event_id": "kalshi:KXA-27"},
            "https://kalshi.com/markets/kxa/kxa-27",
        ),
        ({"venue": "kalshi", "series_id": None, "event_id": "kalshi:KXA-27"}, "https://kalshi.com/markets/kxa/kxa-27"),
        ({"venue": "kalshi", "series_id": 'kalshi:"><script>', "event_id": None}, None),
        ({"venue": "kalshi", "series_id": None, "event_id": None}, None),
    ],
)
def test_way_to_the_venue(market, address):
    """Only the two hosts, only of a checked slug; else no link."""
    assert venue_address(market) == address


def test_states_of_a_feed(world):
    """By the age of what it told: LIVE, QUIET, OFFLINE; GAP while one is open; RECORDED where time stands still."""
    now = world.now
    ages = [timedelta(seconds=90), timedelta(minutes=4), timedelta(minutes=10)]
    assert [health.state(now - age, now, 0) for age in ages] == ["LIVE", "QUIET", "OFFLINE"]
    assert [health.state(now - age, now, 21, 200) for age in ages] == ["GAP", "GAP", "OFFLINE"]
    assert health.state(now, now, 20, 200) == "LIVE"
    assert health.state(now, now, 0, is_live=False) == "RECORDED"


def test_frame(world):
    """The badge of the mode, the current page, and a banner when nothing has come in for long."""
    feed = feed_of(World(world.root, Mode.REPLAY).usual())
    feed = Feed(world.root, Mode.REPLAY, lambda: world.now)
    feed.look()
    assert 'class="badge replay">REPLAY' in state_html(feed.snapshot)
    assert nav_html("movers").count("aria-current") == 1
    assert banner_html(feed.snapshot) == NOTHING


def test_banner_when_nothing_comes_in(world):
    """A live lake whose newest row is old says so on every page."""
    world.usual()
    world.now += timedelta(minutes=10)
    assert "Nothing comes in" in banner_html(feed_of(world).snapshot)


def test_fault_while_a_market_is_read(world, monkeypatch):
    """A fault of ours leaves no page loading for ever: it says so, and the next snapshot tries again."""
    feed = feed_of(world.usual())
    page = Market(feed, f"?id={ALDER}")
    page.detail, page._loading = None, (ALDER, "1m")
    page._failed()
    assert "This market cannot be shown" in page._head.object
    assert "middle of bid and ask" in text(page)
