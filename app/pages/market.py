"""One market: find it, its price over time, its quote, its trades, what it is."""

# mypy: allow-untyped-calls

from typing import Any, Final
from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui
import polars as pl
from panel_material_ui.template.base import Page

from app import market_html as views
from app.address import asked, parts
from app.components import NOTHING, Html, empty, fill, joined, loading, pane, show
from app.detail import INTERVALS, Detail, follow, load
from app.feed import Feed, Snapshot, once
from app.shell import Shell, obstacle
from lake.errors import MoversError
from lake.vocab import MarketStatus

HITS: Final = 12


def page(feed: Feed) -> Page:
    """The page of one session."""
    return Market(feed).shell.open()


class Market:
    """The views of one session; `market` is the id that its address names, empty = none."""

    def __init__(self, feed: Feed, query: str | None = None) -> None:
        query = asked() if query is None else query
        self.shell = Shell(feed, "market", "Market", query)
        self.market, self.interval = _wanted(query)
        self.detail: Detail | None = None
        self._problem: str | None = None
        self._loading: tuple[str, str] | None = None
        self._head, self._quote, self._tape, self._facts, self._hits = pane(), pane(), pane(), pane(), pane()
        self._build()
        self.shell.browser.param.watch(self._addressed, "query")
        self.shell.update = self.update

    def _build(self) -> None:
        self._search = pmui.TextInput(placeholder="Search all markets by title or id", size="small", margin=0,
                                      sizing_mode="stretch_width")  # fmt: skip
        self._search.param.watch(lambda event: self._show_hits(self.shell.feed.snapshot), "value_input")
        self._width = pmui.RadioButtonGroup(options=list(INTERVALS), value=self.interval, size="small", margin=0)
        self._width.param.watch(self._widened, "value")
        self._chart: Any = None
        self._plot = pn.Column(sizing_mode="stretch_width", min_height=440, margin=0)
        bar = pn.Row(pane(views.KEY), self._width, sizing_mode="stretch_width", margin=(16, 0, 8, 0), align="end")
        left = pn.Column(bar, self._plot, sizing_mode="stretch_width", margin=0, min_width=320)
        right = pn.Column(self._quote, pn.Spacer(height=16), self._facts, margin=0, min_width=300,
                          sizing_mode="stretch_width")  # fmt: skip
        left.append(pn.Column(self._tape, margin=(20, 0, 0, 0), sizing_mode="stretch_width"))
        self._body = pn.FlexBox(
            right,
            left,
            gap="20px",
            flex_direction="row-reverse",
            flex_wrap="wrap",
            align_items="flex-start",
            sizing_mode="stretch_width",
            margin=0,
        )
        left.styles, right.styles = {"flex": "3 1 600px"}, {"flex": "1 1 320px"}
        self._body.visible = False
        self.shell.main.extend([self._search, self._hits, pn.Spacer(height=12), self._head, self._body])

    def update(self, snapshot: Snapshot) -> None:
        """Show `snapshot`: the market as far as it is read, else read it."""
        stop = obstacle(snapshot)
        self._show_hits(snapshot)
        if stop is not None or not self.market:
            self.detail, self._body.visible = None, False
            show(self._head, stop or (NOTHING if self._search.value_input else views.welcome(snapshot)))
        elif self.detail is None:
            self._load(snapshot)
        else:
            self.detail = follow(self.detail, snapshot)
            self._chart.follow(self.detail.bars, self.interval)
            self._chart.mark(self.detail.gaps, snapshot.now)
            self._show_detail(snapshot)

    def _load(self, snapshot: Snapshot) -> None:
        wanted = (self.market, self.interval)
        if self._loading == wanted:
            return
        if self._problem is None:
            show(self._head, loading(3))
        if not self.shell.is_connected:
            return
        self._loading = wanted
        self.shell.later(lambda: _loaded(self.shell.feed, snapshot, *wanted), self._loaded, self._failed)

    def _failed(self) -> None:
        """Say so; the next snapshot tries again."""
        self._loading, self._problem = None, "failed"
        show(
            self._head, empty("This market cannot be shown", "It is tried again by itself; data/logs/app.log says why.")
        )

    def _loaded(self, answer: tuple[tuple[str, str], Detail | str]) -> None:
        wanted, found = answer
        self._loading = None
        if wanted != (self.market, self.interval):
            return
        if isinstance(found, str):
            self._problem, self.detail, self._body.visible = found, None, False
            show(self._head, empty("No such market here", found))
            return
        snapshot = self.shell.feed.snapshot
        self._problem, self.detail = None, found
        self._draw(snapshot)
        self._show_detail(snapshot)
        self._body.visible = True

    def _draw(self, snapshot: Snapshot) -> None:
        assert self.detail is not None
        if self._chart is None:
            from app.charts import MarketChart  # plotting is loaded by the first reader who sees a chart

            self._chart = MarketChart()
            self._plot.append(pn.pane.Bokeh(self._chart.layout, sizing_mode="stretch_width", margin=0))
        self._chart.draw(self.detail.bars, self.detail.history, self.detail.gaps, self.interval, snapshot.now)

    def _show_detail(self, snapshot: Snapshot) -> None:
        assert self.detail is not None
        show(self._head, views.head(self.detail))
        show(self._quote, views.quote(self.detail, snapshot))
        show(self._tape, views.tape(self.detail, snapshot))
        show(self._facts, views.facts(self.detail))

    def _show_hits(self, snapshot: Snapshot) -> None:
        text = (self._search.value_input or "").strip()
        show(self._hits, hits_html(snapshot, text[:200]) if text else NOTHING)

    def _widened(self, event: Any) -> None:
        if event.new != self.interval:
            self.interval, self.detail = event.new, None
            self.shell.browser.query = self._query()
            self.update(self.shell.feed.snapshot)

    def _addressed(self, event: Any) -> None:
        """The reader went back or forth."""
        if event.new == self._query():
            return
        self.market, self.interval = _wanted(event.new)
        self._width.value, self.detail = self.interval, None
        self.update(self.shell.feed.snapshot)

    def _query(self) -> str:
        told = {"id": self.market} | ({"bars": self.interval} if self.interval != INTERVALS[0] else {})
        return f"?{urlencode(told, safe=':')}"


def _wanted(query: str) -> tuple[str, str]:
    """The market and the width of bars that an address asks for."""
    given = parts(query)
    interval = given.get("bars", "")
    return given.get("id", "")[:300], interval if interval in INTERVALS else INTERVALS[0]


def _loaded(feed: Feed, snapshot: Snapshot, market: str, interval: str) -> tuple[tuple[str, str], Detail | str]:
    """The market, or in words why it cannot be shown."""
    try:
        return (market, interval), load(feed.lake, snapshot, market, interval)
    except MoversError as exc:
        return (market, interval), str(exc)
    except (pl.exceptions.PolarsError, OSError):
        return (market, interval), "The lake changed while it was read; this page tries again by itself."


@once
def hits_html(snapshot: Snapshot, text: str) -> Html:
    """The markets whose title or id holds `text`, in any case."""
    found = search(snapshot.catalogue, text)
    if found.is_empty():
        return empty("No market holds that text", "Title and id are searched, in any case.")
    rows = joined(views.hit(row) for row in found.head(HITS).iter_rows(named=True))
    left = found.height - HITS
    more = fill('<p class="notes">{} more; type on to narrow it down.</p>', f"{left:,}") if left > 0 else NOTHING
    return joined([fill('<div class="card hits">{}</div>', rows), more])


def search(catalogue: pl.DataFrame, text: str) -> pl.DataFrame:
    """Rows of `Lake.catalogue` whose title or market_id holds `text`, a text and no pattern; open markets first."""
    wanted = text.lower()
    fields = [pl.col(name).str.to_lowercase().str.contains(wanted, literal=True) for name in ("title", "market_id")]
    is_open = pl.col("status") == MarketStatus.ACTIVE.value
    return catalogue.filter(pl.any_horizontal(fields)).sort(is_open, "title", descending=[True, False], nulls_last=True)
