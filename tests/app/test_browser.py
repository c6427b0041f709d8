"""The pages in a real browser, served by the real server: they live, stay on this machine, and run no venue's text."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import which

import httpx
import pytest

import lake
from tests.app.world import ALDER, FERRY, World, move

pytestmark = pytest.mark.browser

ROOT = Path(lake.__file__).parents[1]
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT = 15_000  # ms
CHOICES = "li[role=option], li[role=menuitem]"  # of an open select
HOSTILE = [
    "<script>hit()</script>",
    "</script><script>hit()</script>",
    "<img src=x onerror=hit()>",
    '"><img src=x onerror="hit()">',
    "<svg onload=hit()>",
    "<svg><script>hit()</script></svg>",
    "<iframe srcdoc='<script>parent.hit()</script>'>",
    "<iframe src=javascript:parent.hit()>",
    "<details open ontoggle=hit()>x</details>",
    "<body onload=hit()>",
    "<input autofocus onfocus=hit()>",
    "<video><source onerror=hit()></video>",
    "<style>@import'http://evil.example/x.css'</style>",
    "<link rel=stylesheet href=http://evil.example/x.css>",
    "<a href=javascript:hit()>click</a>",
    "[click](javascript:hit())",
    "![x](http://evil.example/x.png)",
    "`<script>hit()</script>`",
    "${hit()}{{hit()}}<%= hit() %>",
    "$$\\href{javascript:hit()}{x}$$",
    "&lt;script&gt;hit()&lt;/script&gt;",
    "&#60;script&#62;hit()&#60;/script&#62;",
    "\\u003cscript\\u003ehit()\\u003c/script\\u003e",
    "\u202egnp.exe\u202c <img src=x onerror=hit()>",
    "a\u200bb\x00<script\x0b>hit()</script>",
    "<m-age at='x' onclick=hit()>x</m-age>",
    "A title that is rather long " * 40,
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(root: Path, port: int, mode: str = "simulated") -> Iterator[str]:
    """The address of a server over the lake at `root`; it is asked to end, and has to."""
    environment = {**os.environ, "LAKE_URI": str(root), "APP_PORT": str(port), "COLLECTOR_MODE": mode}
    command = [sys.executable, "-m", "app.main"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            await_port(server, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            _, said = server.communicate(timeout=10)
            assert server.returncode == 0, said
            assert "Traceback" not in said, said


def await_port(server: subprocess.Popen[str], port: int) -> None:
    end = time.monotonic() + 40
    while time.monotonic() < end and server.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("the server does not listen")


def live(root: Path, **given) -> World:
    """A world on the clock of the wall."""
    return World(root, now=datetime.now(UTC), **given)


@pytest.fixture(scope="module")
def browser():
    """One for all tests of this file; its driver keeps an event loop running, which others must not find."""
    path = which("chromium") or which("chromium-browser") or which("google-chrome")
    if path is None:
        pytest.skip("browser: there is no chromium")
    api = pytest.importorskip("playwright.sync_api", reason="browser: playwright is not installed")
    with api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return live(tmp_path_factory.mktemp("pages") / "lake").usual()


@pytest.fixture(scope="module")
def server(world) -> Iterator[str]:
    with serving(world.root, free_port()) as address:
        yield address


class Watched:
    """A page that notes what must not be: errors, requests to others, calls of `hit`."""

    def __init__(self, context, address: str) -> None:
        self.address, self.errors, self.others, self.hits = address, [], [], []
        self.page = context.new_page()
        self.page.set_default_timeout(WAIT)
        self.page.expose_function("hit", lambda *args: self.hits.append(args))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._requested)
        self.page.on("dialog", lambda dialog: self.hits.append(dialog.message))

    def _requested(self, request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.others.append(request.url)

    def go(self, path: str, see: str) -> "Watched":
        self.page.goto(self.address + path)
        self.see(see)
        return self

    def see(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for()

    def gone(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for(state="hidden")

    def texts(self, css: str) -> list[str]:
        return self.page.locator(css).all_inner_texts()


@pytest.fixture
def open_page(browser, server):
    """Opens pages on the server, and holds afterwards that none did what it must not."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    opened: list[Watched] = []

    def open_one(address: str = server) -> Watched:
        opened.append(Watched(context, address))
        return opened[-1]

    yield open_one
    for each in opened:
        assert (each.errors, each.others, each.hits) == ([], [], [])
    context.close()


def test_three_pages(open_page):
    """Each shows its content; nothing asks another host, nothing is an error."""
    page = open_page()
    page.go("/", "Will the Aldergate dam vote pass?")
    page.see("SIMULATED")
    assert len(page.texts("table.movers tbody tr")) == 2
    page.page.get_by_role("link", name="Top movers").first.click()
    page.see("then: back-filled")
    page.page.get_by_text("Will the Aldergate dam vote pass?").click()
    page.page.wait_for_url("**/market?id=kalshi:KXALDER-27-PASS")
    page.see("middle of bid and ask")
    page.page.locator("canvas").first.wait_for()


def test_new_data_appears_by_itself(open_page, world):
    """A segment and a board that are published are on the open pages in well under a second, without a reload."""
    home, market = open_page().go("/", "67.0%"), open_page().go(f"/market?id={ALDER}", "middle of bid and ask")
    market.page.locator("canvas").first.wait_for()
    world.now = datetime.now(UTC)
    world.quote(bid=0.80, ask=0.82)
    world.trade(price=0.81, size=1234)
    world.board(move(now=0.81), move(FERRY, 0.42, 0.5, 2))
    start = time.perf_counter()
    market.see("80.0¢")
    market.see("1,234")
    home.see("81.0%")
    assert time.perf_counter() - start < 3
    bars = market.page.evaluate("Bokeh.documents[0].all_models.size > 0")
    assert bars


def test_address_both_ways(open_page):
    """A widget writes the address, back and forth set the widget, and the address alone renders the same."""
    page = open_page().go("/movers", "1–2 of 2")
    page.page.get_by_text("1h", exact=True).click()
    page.page.wait_for_url("**/movers?window=1h")
    page.page.get_by_text("Up and down").click()
    page.page.locator(CHOICES).get_by_text("Down", exact=True).click()
    page.page.wait_for_url("**/movers?window=1h&direction=down")
    page.page.go_back()
    page.page.wait_for_url("**/movers?window=1h")
    page.page.go_back()
    page.page.wait_for_url("**/movers")
    page.page.locator("button[aria-pressed=true]", has_text="15m").wait_for()
    page.page.go_forward()
    page.page.locator("button[aria-pressed=true]", has_text="1h").wait_for()
    page.go("/movers?direction=down", "1–1 of 1")
    assert "ferry" in page.texts("table.movers tbody")[0]
    page.go("/movers?min_move=abc", "min_move=abc: is no number")


def test_theme_holds(open_page):
    """The toggle changes the ground, the text and the chart, and the next page remembers it."""
    page = open_page().go(f"/market?id={ALDER}", "middle of bid and ask")
    page.page.locator("canvas").first.wait_for()
    ground = "getComputedStyle(document.body).backgroundColor"
    plot = "Bokeh.documents[0]._all_models.values().find((m) => m.type == 'Figure').background_fill_color"
    before = page.page.evaluate(ground), page.page.evaluate(plot)
    page.page.get_by_label("Toggle theme").click()
    page.page.wait_for_function(f"{ground} != {before[0]!r}")
    page.page.wait_for_function(f"{plot} != {before[1]!r}")
    page.page.wait_for_function("document.cookie.includes('theme=dark')")
    page.go("/movers", "1–2 of 2")
    assert page.page.evaluate(ground) != before[0]


def test_theme_of_the_system(browser, server):
    """Who has a dark system sees dark pages from the first one on."""
    context = browser.new_context(color_scheme="dark")
    page = Watched(context, server)
    page.page.goto(server)
    for path, see in (("/", "Aldergate"), ("/movers", "1–2 of 2")):
        page.page.wait_for_function("document.cookie.includes('theme=dark')")
        page.page.wait_for_function("getComputedStyle(document.body).backgroundColor == 'rgb(14, 17, 24)'")
        page.go(path, see)
    assert page.errors == []
    context.close()


def test_search_on_the_server(open_page):
    """What is typed finds markets by title, and leads to them."""
    page = open_page().go("/market", "Search for a market")
    page.page.get_by_placeholder("Search all markets").press_sequentially("FERRY str")
    page.page.get_by_text("Will the ferry strike end by Friday?").click()
    page.page.wait_for_url("**/market?id=polymarket:0xferry")
    page.see("Open at the venue")
    link = page.page.get_by_text("Open at the venue")
    assert link.get_attribute("href") == "https://polymarket.com/event/ferry-strike"
    assert link.get_attribute("rel") == "noopener noreferrer"
    page.go("/market?id=kalshi:NONE", "No such market here")


def test_narrow_screen(browser, server):
    """At the width of a phone no page is wider than the screen."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    for path, see in (("/", "Feeds"), ("/movers", "1–2 of 2"), (f"/market?id={ALDER}", "middle of bid and ask")):
        page = Watched(context, server).go(path, see)
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
        wide = "e => e.scrollWidth - e.clientWidth"
        assert page.page.locator(".main-content").evaluate(wide) <= 1, path
    context.close()


def test_hostile_titles_do_nothing(open_page, world):
    """No text of a venue runs on any page, whatever it holds, and all of it stands there as text."""
    world.now = datetime.now(UTC)
    ids = [f"kalshi:KXBAD{number}" for number in range(len(HOSTILE))]
    for market_id, title in zip(ids, HOSTILE, strict=True):
        known = dict.fromkeys(("category", "status", "result", "slug", "event_id"), title)
        world.markets(market_id, title=title, outcomes=[title, title], **known)
    world.quote(ids[0])
    world.trade(ids[0])
    world.health(connection=HOSTILE[2])
    world.board(*(move(each, rank=number + 1) for number, each in enumerate(ids)))
    page = open_page().go("/movers", f"1–{len(ids)} of {len(ids)}")
    page.see(HOSTILE[0])
    assert page.texts("table.movers a.title")[:3] == HOSTILE[:3]
    page.page.get_by_text("All categories").click()
    page.page.locator(CHOICES).nth(3).wait_for()
    page.go("/", HOSTILE[2])
    page.go(f"/market?id={ids[0]}", "middle of bid and ask")
    page.page.get_by_placeholder("Search all markets").press_sequentially("<s")
    page.page.locator(".hits a").first.wait_for()
    page.page.wait_for_timeout(300)


def test_lake_and_server_that_come_and_go(browser, tmp_path):
    """Without a lake the page says what to do; it fills by itself, and comes back after a restart of the server."""
    port, context = free_port(), browser.new_context()
    with serving(tmp_path / "lake", port) as address:
        page = Watched(context, address).go("/", "No lake at")
        world = live(tmp_path / "lake").usual()
        page.see("Will the Aldergate dam vote pass?")
        world.root.rename(tmp_path / "away")
        page.see("No lake at")
        assert (page.errors, page.others) == ([], [])
    (tmp_path / "away").rename(world.root)
    world.now += timedelta(seconds=5)
    world.board(move(now=0.9))
    with serving(world.root, port):
        page.see("90.0%")
        context.close()


# What the server answers to others than its own pages


def handshake(address: str, origin: str | None) -> int:
    """The status that a socket of that origin is answered with."""
    page = httpx.get(address, trust_env=False).text
    token = page.split('"token":"')[1].split('"')[0]
    headers = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": f"bokeh, {token}",
    }  # fmt: skip
    if origin is not None:
        headers["Origin"] = origin
    with httpx.stream("GET", f"{address}/ws", headers=headers, trust_env=False) as answer:
        return answer.status_code


def test_only_its_own_pages_may_connect(server):
    """A socket from any other origin, another port's and none included, is refused."""
    port = server.rpartition(":")[2]
    assert handshake(server, server) == 101
    assert handshake(server, f"http://localhost:{port}") == 101
    for origin in (
        "http://evil.example", f"http://127.0.0.1.evil.example:{port}", "http://127.0.0.1:1", "null",
        f"http://localhost:{port}.evil.example", f"http://evil.example:{port}",
    ):  # fmt: skip
        assert handshake(server, origin) == 403, origin


def test_document_names_no_other_host(server):
    """The HTML of every page refers to this server alone, and there is no admin page."""
    import re

    for path in ("/", "/movers", "/market"):
        html = httpx.get(server + path, trust_env=False).text
        loaded = re.findall(r"""(?:src|href)=["']?(?:https?:)?//([^/"']+)""", html)
        assert set(loaded) <= {server.removeprefix("http://")}
        assert "cdn" not in html.lower().replace("cdnjs", "cdn") or "cdn." not in html.lower()
    assert httpx.get(server + "/admin", trust_env=False).status_code == 404
