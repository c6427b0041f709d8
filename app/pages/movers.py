"""Top movers: the whole board of a window, cut by what the reader asks; all of it stands in the address."""

# mypy: allow-untyped-calls

from dataclasses import replace
from typing import Any, Final

import panel as pn
import panel_material_ui as pmui
from panel_material_ui.template.base import Page

from app.address import asked, parts
from app.board import PAGE_ROWS, Choice, Selection, as_of_html, chosen, hidden_html, nothing_html, select, table_html
from app.components import NOTHING, Html, count, dollars, empty, fill, joined, pane, show
from app.feed import Feed, Snapshot, once
from app.shell import Shell, obstacle
from lake.derived.slices import WINDOWS
from lake.text import safe_text
from lake.vocab import Venue

SCORE_NAMES: Final = {"Biggest, beyond the spread": "biggest", "Classic, weighted by volume": "classic"}
VENUES: Final = {"All venues": "", **{venue.value.title(): venue.value for venue in Venue}}
MOVES: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0)  # pp
VOLUMES: Final = (0.0, 100.0, 1_000.0, 10_000.0, 100_000.0)  # USD
SELECTS: Final = {
    "score": ("Score", 230),
    "venue": ("Venue", 130),
    "category": ("Category", 150),
    "direction": ("Direction", 135),
    "min_move": ("Least move", 110),
    "min_volume": ("Least 24 h volume", 140),
}
"""Part of the choice to the label and width, px, of its select."""

WAYS: Final = {"Up and down": "", "Up": "up", "Down": "down"}


def page(feed: Feed) -> Page:
    """The page of one session."""
    return Movers(feed).shell.open()


class Movers:
    """The widgets and the table of one session; `choice` is what they stand for."""

    def __init__(self, feed: Feed, query: str | None = None) -> None:
        query = asked() if query is None else query
        self.shell = Shell(feed, "movers", "Top movers", query)
        self.choice, self.notes = chosen(parts(query))
        self._table, self._head = pane(), pane()
        self._widgets = self._built()
        self._is_setting = False
        for widget in self._widgets.values():
            widget.param.watch(self._picked, "value")
        self.shell.browser.param.watch(self._addressed, "query")
        self.shell.update = self.update
        controls = pn.FlexBox(*self._widgets.values(), gap="12px", align_items="flex-end", margin=(4, 0, 12, 0))
        self.shell.main.extend([self._head, controls, self._table])

    def update(self, snapshot: Snapshot) -> None:
        """Show `snapshot`."""
        self._offer(snapshot)
        stop = obstacle(snapshot)
        show(self._head, heading_html(snapshot, self.choice))
        show(self._table, stop or joined([_notes_html(tuple(self.notes)), content_html(snapshot, self.choice)]))

    def _built(self) -> dict[str, Any]:
        """The widgets, by the part of the choice that they stand for."""
        options = self._options(self.shell.feed.snapshot)
        small = {"size": "small", "margin": 0}
        found: dict[str, Any] = {
            "window": pmui.RadioButtonGroup(options=list(WINDOWS), value=self.choice.window, **small)
        }
        for name, (label, width) in SELECTS.items():
            value = getattr(self.choice, name)
            found[name] = pmui.Select(label=label, options=options[name], value=value, width=width, **small)
        return found

    def _options(self, snapshot: Snapshot) -> dict[str, dict[str, Any]]:
        """Label to value, of each select: what is usual, and what the address asks for."""
        move, volume = self.choice.min_move, self.choice.min_volume
        return {
            "score": SCORE_NAMES,
            "venue": VENUES,
            "category": categories(snapshot, self.choice.category),
            "direction": WAYS,
            "min_move": {f"{value:g} pp" if value else "Any": value for value in sorted({*MOVES, move})},
            "min_volume": {dollars(value) if value else "Any": value for value in sorted({*VOLUMES, volume})},
        }

    def _offer(self, snapshot: Snapshot) -> None:
        """Have the selects show the choice, with the categories that the lake knows by now."""
        options = self._options(snapshot)
        self._set({"window": {"value": self.choice.window}})
        for name in SELECTS:
            widget, value = self._widgets[name], getattr(self.choice, name)
            if widget.options != options[name] or widget.value != value:
                self._set({name: {"options": options[name], "value": value}})

    def _picked(self, event: Any) -> None:
        if self._is_setting:
            return
        values = {name: widget.value for name, widget in self._widgets.items()}
        given = {name: value if value is not None else getattr(Choice(), name) for name, value in values.items()}
        choice = replace(self.choice, **given, page=1)
        if choice != self.choice:
            self.choice, self.notes = choice, []
            self.shell.browser.query = choice.query
            self.update(self.shell.feed.snapshot)

    def _addressed(self, event: Any) -> None:
        """The reader went back or forth."""
        if event.new == self.choice.query:
            return
        self.choice, self.notes = chosen(parts(event.new))
        self.update(self.shell.feed.snapshot)

    def _set(self, values: dict[str, dict[str, Any]]) -> None:
        self._is_setting = True
        try:
            for name, given in values.items():
                self._widgets[name].param.update(**given)
        finally:
            self._is_setting = False


def categories(snapshot: Snapshot, chosen_one: str) -> dict[str, str]:
    """Label to category: those of the catalogue, and the chosen one; labels are harmless text."""
    known = set(_categories(snapshot))
    names = sorted(known | ({chosen_one} if chosen_one else set()))
    return {"All categories": "", **{safe_text(name, 40): name for name in names}}


@once
def _categories(snapshot: Snapshot) -> tuple[str, ...]:
    return tuple(snapshot.catalogue["category"].drop_nulls().unique())


@once
def _selection(snapshot: Snapshot, choice: Choice) -> Selection:
    return select(snapshot.boards.get(choice.window), choice)


def heading_html(snapshot: Snapshot, choice: Choice) -> Html:
    """The title, and of when the board is."""
    as_of = as_of_html(snapshot, _selection(snapshot, replace(choice, page=1)))
    return fill('<div class="heading"><h1>Top movers</h1><span class="aside">{}</span></div>', as_of)


@once
def content_html(snapshot: Snapshot, choice: Choice) -> Html:
    """A page of the rows, and what is hidden; or why there are none."""
    selection = _selection(snapshot, replace(choice, page=1))
    if selection.as_of is None:
        return empty("Collecting: first movers in about a minute", "A board is published every minute.")
    if selection.rows.is_empty():
        return joined([nothing_html(selection, "No market fits", ADVICE), hidden_html(selection)])
    first = min((choice.page - 1) * PAGE_ROWS, (selection.rows.height - 1) // PAGE_ROWS * PAGE_ROWS)
    rows = selection.rows.slice(first, PAGE_ROWS)
    return joined([table_html(rows, choice.score), _pages_html(selection, choice, first), hidden_html(selection), KEY])


ADVICE: Final = "Lower the least move or volume, choose another window, or wait: in a quiet hour the list is short."
KEY: Final = fill(
    '<p class="notes">A move compares the median price of two short slices, in percentage points of the first outcome. '
    "Beyond spread: what the spread cannot explain. Watched: the share of the window with a live feed and a price. "
    "Back-filled: that price is the venue's own history, from before this lake watched the market.</p>"
)


def _pages_html(selection: Selection, choice: Choice, first: int) -> Html:
    last = min(first + PAGE_ROWS, selection.rows.height)
    number = first // PAGE_ROWS + 1
    text = fill("<span>{}–{} of {}</span>", count(first + 1), count(last), count(selection.rows.height))
    before = _page_link(choice, number - 1, "← better") if first else NOTHING
    after = _page_link(choice, number + 1, "next →") if last < selection.rows.height else NOTHING
    return fill('<div class="pages">{}{}{}</div>', before, text, after)


def _page_link(choice: Choice, number: int, label: str) -> Html:
    return fill('<a href="movers{}">{}</a>', replace(choice, page=number).query, label)


def _notes_html(notes: tuple[str, ...]) -> Html:
    lines = joined(fill("<div>{}</div>", note) for note in notes)
    return fill('<div class="notes warn" role="status">{}</div>', lines) if notes else NOTHING
