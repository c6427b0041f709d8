"""What surrounds every page: the bar with its links, the badge of the lake's mode, a banner when something is wrong."""

# mypy: allow-untyped-calls

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

import panel as pn
from panel_material_ui.template.base import Page

from app.browser import Browser
from app.components import NOTHING, Html, age, empty, fill, joined, loading, pane, show
from app.feed import NO_LAKE, Feed, Listener, Snapshot, once
from app.look import PAGE_CSS, THEME

log = logging.getLogger("movers.app")

LINKS: Final = {"home": ("./", "Home"), "movers": ("movers", "Top movers"), "market": ("market", "Market")}
BEHIND: Final = timedelta(minutes=5)
"""So old may the newest row of a live lake be before the page says that nothing comes in."""

_WORK: Final = ThreadPoolExecutor(2, thread_name_prefix="read")
_Answer = TypeVar("_Answer")


class Shell:
    """The frame of one session: shows `main`, and passes each new snapshot to `update` in the session's own turn."""

    def __init__(self, feed: Feed, here: str, title: str, query: str = "") -> None:
        self.feed, self.here = feed, here
        is_dark = pn.state.cookies.get("theme") == "dark"
        snapshot = feed.snapshot
        now = snapshot.now.timestamp() * 1000 if snapshot.is_live else 0
        self.browser = Browser(query=query, dark=is_dark, now=now, width=0, height=0, margin=0)
        self.update: Callable[[Snapshot], None] = lambda snapshot: None
        self.main = pn.Column(sizing_mode="stretch_width", margin=(16, 20, 0, 20), css_classes=["page"])
        self._state, self._banner = pane(state_html(snapshot)), pane(banner_html(snapshot))
        self._page = Page(
            title="Movers", meta_title=title, site_url="./", main=[self._banner, self.main], main_width=1440,
            header=[pane(nav_html(here)), self._state, self.browser], theme_config=THEME, stylesheets=[PAGE_CSS],
            theme="dark" if is_dark else "default", busy_indicator=None,
        )  # fmt: skip
        self._document = pn.state.curdoc
        self._pending: Snapshot | None = None
        self.is_connected = not self._has_browser  # what changes before the browser has the page may never reach it

    def open(self) -> Page:
        """The page, told of what is new until its session ends."""
        self._page.param.watch(lambda event: self.browser.param.update(dark=event.new), "dark_theme")
        self.browser.param.watch(lambda event: self._page.param.update(dark_theme=event.new), "dark")
        self.show(self.feed.snapshot)
        if self._has_browser:
            pn.state.onload(self._connected)
        return self._page

    @property
    def _has_browser(self) -> bool:
        return self._document is not None and self._document.session_context is not None

    def _connected(self) -> None:
        """The browser has the page: from now on what is new reaches it."""
        assert self._document is not None
        self.is_connected = True
        listener = self.feed.listen(self._told)
        self.browser.param.watch(partial(self._seen_or_hidden, listener), "hidden")
        self._document.on_session_destroyed(lambda context: self.feed.leave(listener))
        self.show(self.feed.snapshot)

    def show(self, snapshot: Snapshot) -> None:
        """Everything of this session as `snapshot` has it."""
        show(self._state, state_html(snapshot))
        show(self._banner, banner_html(snapshot))
        self.update(snapshot)

    def later(self, work: Callable[[], _Answer], done: Callable[[_Answer], None], failed: Callable[[], None]) -> None:
        """Do `work` in a thread, then `done` with its answer in the session's own turn; `failed` after a fault."""
        document = self._document
        if document is None or not self._has_browser:
            done(work())
            return

        def finish(answer: _Answer) -> None:
            document.add_next_tick_callback(lambda: done(answer))

        def run() -> None:
            try:
                finish(work())
            except Exception:
                log.exception("reading for a page failed")
                document.add_next_tick_callback(failed)

        _WORK.submit(run)

    def _told(self, snapshot: Snapshot) -> None:
        """In the feed's thread: hand the newest snapshot over; one that was not shown yet is passed over."""
        is_waiting = self._pending is not None
        self._pending = snapshot
        if not is_waiting and self._document is not None:
            self._document.add_next_tick_callback(self._show_pending)

    def _show_pending(self) -> None:
        snapshot, self._pending = self._pending, None
        if snapshot is not None:
            self.show(snapshot)

    def _seen_or_hidden(self, listener: Listener, event: Any) -> None:
        listener.is_hidden = event.new
        if not event.new:
            self.show(self.feed.snapshot)


def nav_html(here: str) -> Html:
    """The links between the pages."""
    current = fill(' aria-current="page"')
    links = (
        fill('<a href="{}"{}>{}</a>', address, current if name == here else NOTHING, label)
        for name, (address, label) in LINKS.items()
    )
    return fill('<nav aria-label="Pages">{}</nav>', joined(links))


def obstacle(snapshot: Snapshot) -> Html | None:
    """What a page shows in place of its content while there is no data; None if there is some."""
    if snapshot.problem is not None:
        if snapshot.problem != NO_LAKE:
            return empty("The lake cannot be read", snapshot.problem)
        return empty(f"No lake at {snapshot.root} yet", "`make run` starts the venues and the collector that fill it.")
    if snapshot.number == 0:
        return loading()
    if snapshot.latest is None and not snapshot.boards:
        return empty(
            "Collecting: first movers in about a minute",
            "The lake is there; its first rows are on their way. If this stays, data/logs/collect.log says why.",
        )
    return None


@once
def state_html(snapshot: Snapshot) -> Html:
    """The badge, and how old the newest row is."""
    if snapshot.mode is None:
        return fill('<div class="state"></div>')
    newest = age(snapshot.latest, snapshot.now, is_live=snapshot.is_live)
    data = fill('<span class="aside data">newest data {}</span>', newest) if snapshot.latest else NOTHING
    badge = fill('<span class="badge {mode}">{text}</span>', mode=snapshot.mode, text=snapshot.mode.upper())
    return fill('<div class="state">{}{}</div>', data, badge)


@once
def banner_html(snapshot: Snapshot) -> Html:
    """What is wrong with the lake as a whole; nothing if nothing is."""
    if snapshot.problem not in (None, NO_LAKE):
        return fill('<div class="banner" role="status">{}</div>', snapshot.problem)
    if snapshot.is_live and snapshot.latest is not None and snapshot.now - snapshot.latest > BEHIND:
        return fill(
            '<div class="banner" role="status">Nothing comes in: the newest row is {}. '
            "Is the collector running? <code>make run</code> starts it.</div>",
            age(snapshot.latest, snapshot.now),
        )
    return NOTHING
