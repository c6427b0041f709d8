"""Home: is it alive, what is in the lake, what just moved."""

# mypy: allow-untyped-calls

from typing import Any

import panel as pn
import panel_material_ui as pmui
from panel_material_ui.template.base import Page

from app import health
from app.address import asked, parts
from app.board import Choice, as_of_html, chosen, hidden_html, nothing_html, select, table_html
from app.components import NOTHING, Html, age, count, empty, fill, heading, joined, pane, short, show
from app.feed import Feed, Snapshot, once
from app.shell import Shell, obstacle
from lake.derived.slices import WINDOWS

ROWS = 10


def page(feed: Feed) -> Page:
    """The page of one session."""
    return Home(feed).shell.open()


class Home:
    """The views of one session, and what of it the reader chose."""

    def __init__(self, feed: Feed, query: str | None = None) -> None:
        query = asked() if query is None else query
        self.shell = Shell(feed, "home", "Movers", query)
        self.choice, self.notes = chosen(parts(query))
        self._window = pmui.RadioButtonGroup(
            options=list(WINDOWS), value=self.choice.window, size="small", margin=(0, 0, 0, 12)
        )
        self._figures, self._movers, self._feeds, self._head = pane(), pane(), pane(), pane()
        self._window.param.watch(self._picked, "value")
        self.shell.browser.param.watch(self._addressed, "query")
        self.shell.update = self.update
        head = pn.Row(self._head, self._window, sizing_mode="stretch_width", margin=(20, 0, 8, 0), align="end")
        self.shell.main.extend([self._figures, head, self._movers, pn.Spacer(height=24), self._feeds])

    def update(self, snapshot: Snapshot) -> None:
        """Show `snapshot`."""
        stop = obstacle(snapshot)
        show(self._figures, stop or figures_html(snapshot))
        show(self._head, NOTHING if stop else movers_head(snapshot, self.choice))
        show(self._movers, NOTHING if stop else movers_html(snapshot, self.choice))
        show(self._feeds, NOTHING if stop else health.table_html(snapshot))
        self._window.visible = stop is None

    def _picked(self, event: Any) -> None:
        if event.new != self.choice.window:
            self.choice = Choice(window=event.new)
            self.shell.browser.query = self.choice.query
            self.update(self.shell.feed.snapshot)

    def _addressed(self, event: Any) -> None:
        self.choice, self.notes = chosen(parts(event.new))
        self._window.value = self.choice.window
        self.update(self.shell.feed.snapshot)


@once
def figures_html(snapshot: Snapshot) -> Html:
    """What the lake holds, with its age."""
    counts = snapshot.counts
    if counts is None:
        return NOTHING
    told = age(snapshot.counted, snapshot.now, is_live=snapshot.is_live)
    figures = (
        ("Markets", count(counts.markets), fill("known to the lake")),
        ("Quotes", short(counts.quotes), fill("counted {}", told)),
        ("Trades", short(counts.trades), fill("counted {}", told)),
        ("Gaps", count(counts.gaps), fill("times that a market was not seen")),
        ("Unreadable", count(counts.dead_letters), fill("messages, kept as they came")),
        ("Newest data", age(snapshot.latest, snapshot.now, is_live=snapshot.is_live), fill("quote or trade")),
    )
    cells = (fill("<div><dt>{}</dt><dd>{}<small>{}</small></dd></div>", *figure) for figure in figures)
    return fill('<dl class="card figures">{}</dl>', joined(cells))


@once
def movers_head(snapshot: Snapshot, choice: Choice) -> Html:
    selection = select(snapshot.boards.get(choice.window), choice)
    return heading("Top movers", as_of_html(snapshot, selection))


@once
def movers_html(snapshot: Snapshot, choice: Choice) -> Html:
    """The first rows of the board, or why there are none."""
    selection = select(snapshot.boards.get(choice.window), choice)
    if selection.as_of is None:
        return empty("Collecting: first movers in about a minute", "A board is published every minute.")
    more = fill('<p class="pages"><a href="movers{}">All movers of {} →</a></p>', choice.query, choice.window)
    if selection.rows.is_empty():
        return joined([nothing_html(selection, "Nothing above the floor", FLOOR), hidden_html(selection), more])
    return joined([table_html(selection.rows.head(ROWS)), hidden_html(selection), more])


FLOOR = "In a quiet hour the list is short. A move has to exceed 1 pp or two ticks beyond what the spread explains."
