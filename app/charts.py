"""The chart of a market: candles of the reference price within its quotes, what was traded, what was not seen.

A minute without a quote or a trade has no bar, and none is invented. Frames in, columns and figures out.
"""

from datetime import datetime
from typing import Any, Final

import polars as pl
from bokeh.layouts import column
from bokeh.models import (
    ColumnDataSource,
    CrosshairTool,
    DatetimeTickFormatter,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from app.look import BAND, DOWN, HISTORY, UP
from lake.schema import BAR_INTERVALS

SHOWN: Final = {"1m": 120, "5m": 144, "1h": 168}  # bars in view at first
MOST: Final = 5_000  # bars a browser keeps
HEIGHT, VOLUME_HEIGHT = 320, 110

_PRICES: Final = ("open", "high", "low", "close")
_CANDLE: Final = ("x", *_PRICES, "bid", "ask", "dollars", "buys", "trades", "watched", "color")
_FLOATS: Final = (*_PRICES, "bid", "ask", "dollars", "buys", "watched")
_TIPS: Final = [
    ("", "@x{%d %b %H:%M} UTC"), ("open", "@open{0.0%}"), ("high", "@high{0.0%}"), ("low", "@low{0.0%}"),
    ("close", "@close{0.0%}"), ("bid / ask", "@bid{0.0%} / @ask{0.0%}"), ("traded", "$@dollars{0,0}"),
    ("trades", "@trades{0,0}"), ("watched", "@watched{0%}"),
]  # fmt: skip

Columns = dict[str, list[Any]]


def candles(bars: pl.DataFrame, interval: str) -> Columns:
    """`schema.BARS` as columns of the candles: x is the middle of a bar, ms; an unknown price is NaN, not drawn."""
    half = BAR_INTERVALS[interval] * 500
    is_up = pl.col("close") >= pl.col("open")
    told = bars.select(
        (pl.col("bar_start").dt.epoch("ms") + half).alias("x"),
        *_PRICES,
        pl.col("bid_close").alias("bid"),
        pl.col("ask_close").alias("ask"),
        pl.col("notional_usd").alias("dollars"),
        pl.col("buy_notional_usd").alias("buys"),
        "trades",
        pl.col("coverage").alias("watched"),
        pl.when(is_up).then(pl.lit(UP)).otherwise(pl.lit(DOWN)).alias("color"),
    )
    return told.with_columns(pl.col(_FLOATS).fill_null(float("nan"))).to_dict(as_series=False)


def backfilled(history: pl.DataFrame | None) -> Columns:
    """`schema.HISTORY` as columns: x is the middle of a bar, width in ms; a missing part of a bar is its close.

    `top` and `bottom` are those of the body, which is hollow: a wick ends there.
    """
    if history is None or history.is_empty():
        return {name: [] for name in ("x", "width", *_PRICES, "top", "bottom")}
    width = pl.col("interval").replace_strict(dict(BAR_INTERVALS), default=300, return_dtype=pl.Int64) * 1000
    told = history.select(
        (pl.col("bar_start").dt.epoch("ms") + width / 2).alias("x"),
        (width * 0.7).alias("width"),
        *(pl.coalesce(name, "close").alias(name) for name in _PRICES),
    ).with_columns(top=pl.max_horizontal("open", "close"), bottom=pl.min_horizontal("open", "close"))
    return told.to_dict(as_series=False)


def unseen(gaps: pl.DataFrame, until: datetime) -> Columns:
    """Gaps as stretches of time, ms; one without an end lasts until then."""
    ends = pl.col("end_time").fill_null(until)
    told = gaps.select(pl.col("start_time").dt.epoch("ms").alias("left"), ends.dt.epoch("ms").alias("right"))
    return told.to_dict(as_series=False)


class MarketChart:
    """The figures and their sources. `draw` shows other bars; `follow` patches the last and streams later ones."""

    def __init__(self) -> None:
        self.bars: Any = ColumnDataSource({name: [] for name in _CANDLE})
        self.history: Any = ColumnDataSource(backfilled(None))
        self.gaps: Any = ColumnDataSource({"left": [], "right": []})
        self._x: Any = Range1d()
        self._y: Any = Range1d()
        self._step = 60_000.0  # ms from bar to bar
        price, volume = self._price(), self._volume()
        self._link(price, volume)
        self.layout: Any = column(price, volume, sizing_mode="stretch_width", spacing=0)

    def draw(self, bars: pl.DataFrame, history: pl.DataFrame, gaps: pl.DataFrame, interval: str, now: datetime) -> None:
        """Show these bars, the newest at the right edge."""
        self._step = BAR_INTERVALS[interval] * 1000.0
        self._band.glyph.width = self._step
        for body in self._bodies:
            body.glyph.width = self._step * 0.72
        self.bars.data, self.history.data = candles(bars, interval), backfilled(history)
        self.mark(gaps, now)
        ends = [source.data["x"][-1] for source in (self.bars, self.history) if len(source.data["x"])]
        end = max(ends, default=now.timestamp() * 1000) + 2 * self._step
        self._x.update(start=end - SHOWN[interval] * self._step, end=end)
        self._fit()

    def mark(self, gaps: pl.DataFrame, now: datetime) -> None:
        """Shade what was not seen."""
        found = unseen(gaps, now)
        if found != self.gaps.data:
            self.gaps.data = found

    def follow(self, bars: pl.DataFrame, interval: str) -> None:
        """Bring the chart up to `bars`, which go on from those that it shows."""
        fresh, drawn = candles(bars, interval), self.bars.data["x"]
        if not len(drawn) or drawn[-1] not in fresh["x"]:
            self.bars.data = fresh
        else:
            last, at = len(drawn) - 1, fresh["x"].index(drawn[-1])
            changes = {
                name: [(last, values[at])]
                for name, values in fresh.items()
                if not _same(self.bars.data[name][last], values[at])
            }
            if changes:
                self.bars.patch(changes)
            if len(fresh["x"]) > at + 1:
                self.bars.stream({name: values[at + 1 :] for name, values in fresh.items()}, rollover=MOST)
        self._shift()

    def _shift(self) -> None:
        """Go with the newest bar, unless the reader looks at another time."""
        drawn = self.bars.data["x"]
        late = drawn[-1] + 2 * self._step - self._x.end if len(drawn) else 0
        if 0 < late <= 10 * self._step:
            self._x.update(start=self._x.start + late, end=self._x.end + late)
        self._fit()

    def _fit(self) -> None:
        """All prices in view, with some air."""
        sides = [(self.bars, ("low", "high", "bid", "ask")), (self.history, ("low", "high"))]
        values = [
            value
            for source, names in sides
            for name in names
            for x, value in zip(source.data["x"], source.data[name], strict=True)
            if self._x.start <= x <= self._x.end and value == value
        ]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        air = max(0.12 * (high - low), 0.01)
        self._y.update(start=max(-0.005, low - air), end=min(1.005, high + air))

    def _price(self) -> Any:
        plot = self._figure(HEIGHT, y_range=self._y)
        plot.vstrip("left", "right", source=self.gaps, fill_color=HISTORY, fill_alpha=0.15, line_alpha=0,
                    hatch_pattern="/", hatch_color=HISTORY, hatch_alpha=0.3)  # fmt: skip
        band = {"source": self.bars, "fill_color": BAND, "fill_alpha": 0.22, "line_alpha": 0}
        self._band = plot.vbar("x", self._step, "ask", "bid", **band)
        plot.segment("x", "low", "x", "bottom", source=self.history, line_color=HISTORY)
        plot.segment("x", "top", "x", "high", source=self.history, line_color=HISTORY)
        plot.vbar("x", "width", "open", "close", source=self.history, fill_alpha=0, line_color=HISTORY)
        plot.segment("x", "low", "x", "high", source=self.bars, line_color="color", line_width=1.2)
        colors = {"fill_color": "color", "line_color": "color"}
        self._bodies = [plot.vbar("x", self._step, "open", "close", source=self.bars, **colors)]
        hover: Any = HoverTool(renderers=self._bodies, tooltips=_TIPS, formatters={"@x": "datetime"}, mode="vline")
        plot.add_tools(hover)
        plot.xaxis.visible = False
        plot.yaxis.formatter = NumeralTickFormatter(format="0.[0]%")
        return plot

    def _volume(self) -> Any:
        plot = self._figure(VOLUME_HEIGHT, min_border_top=10)
        all_of_it = {"source": self.bars, "fill_color": DOWN, "fill_alpha": 0.75, "line_alpha": 0}
        bought = {"source": self.bars, "fill_color": UP, "line_alpha": 0}
        self._bodies.append(plot.vbar("x", self._step, "dollars", 0, **all_of_it))
        self._bodies.append(plot.vbar("x", self._step, "buys", 0, **bought))
        plot.y_range.start = 0
        plot.yaxis.formatter = NumeralTickFormatter(format="$0.[0]a")
        plot.yaxis.ticker.desired_num_ticks = 2
        plot.xaxis.formatter = DatetimeTickFormatter(
            minutes="%H:%M", hourmin="%H:%M", hours="%H:%M", days="%d %b", months="%b %Y"
        )
        return plot

    def _figure(self, height: int, **params: Any) -> Any:
        plot: Any = figure(
            height=height, x_axis_type="datetime", x_range=self._x, sizing_mode="stretch_width", toolbar_location=None,
            tools="xpan,xwheel_zoom", active_scroll=None, outline_line_color=None, min_border_left=58,
            min_border_right=14, **params,
        )  # fmt: skip
        plot.xgrid.grid_line_color = None
        return plot

    def _link(self, *plots: Any) -> None:
        """One hair line through all of them."""
        line: Any = Span(dimension="height", line_alpha=0.4, line_width=1, line_color=HISTORY)
        for plot in plots:
            plot.add_tools(CrosshairTool(overlay=line))


def _same(old: Any, new: Any) -> bool:
    return bool(old == new or (old != old and new != new))
