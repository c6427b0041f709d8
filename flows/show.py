"""Answers on a terminal: tables, the board of movers, progress.

Venue text goes through `safe_text` and into `Text`, which reads no markup.
"""

from collections.abc import Iterable
from datetime import datetime

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from flows.collector.replay import ReplayReport
from flows.venues.base import Outcome
from lake.text import safe_text

UP, DOWN = "dark_cyan", "dark_orange"  # told apart by colour-blind eyes too
MOST_ROWS = 200


def progress(console: Console) -> Progress:
    """A bar a recording, counted in frames."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def accounting(reports: Iterable[ReplayReport]) -> Table:
    """What became of every message: messages = applied + ignored + duplicate + dead."""
    table = Table(title="Every message accounted for", caption_justify="left")
    table.add_column("recording", overflow="fold")
    for name in ("frames", "messages", *Outcome, "rows", "new", "msg/s"):
        table.add_column(name, justify="right")
    notes: list[str] = []
    for report in reports:
        counts = report.counts
        numbers = (counts.frames, counts.messages, *(counts.outcomes[outcome] for outcome in Outcome))
        rest = (counts.rows.total(), report.added, int(report.rate))
        table.add_row(Text(safe_text(report.name)), *(f"{number:,}" for number in (*numbers, *rest)))
        for word, kinds in (("ignored", counts.ignored), ("dead", counts.dead)):
            notes += [f"{report.name}: {count:,} {word}: {kind}" for kind, count in kinds.most_common(3)]
    table.caption = Text("\n".join(safe_text(note) for note in notes))
    return table


def board(movers: pl.DataFrame, window: str, score: str, as_of: datetime, *, title: str = "") -> Table:
    """Rows of `Lake.movers` as a table: from what to what, how wide, on what volume, how well watched."""
    heading = f"Top movers, {window}, by {score}, as of {as_of:%Y-%m-%d %H:%M:%S} UTC"
    table = Table(title=Text(f"{heading} · {safe_text(title)}" if title else heading))
    table.add_column("#", justify="right")
    table.add_column("market", overflow="fold", min_width=24)
    for name in ("venue", "then", "now", "move", "effective", "spread", "vol 24h", "basis", "watched", score):
        table.add_column(name, justify="left" if name in ("venue", "basis") else "right", no_wrap=True)
    for row in movers.iter_rows(named=True):
        move = row["move_pp"]
        table.add_row(
            str(row[f"{score}_rank"]),
            Text(safe_text(row["title"] or row["market_id"] or str(row["market_key"]))),
            row["venue"],
            _percent(row["price_then"]),
            _percent(row["price_now"]),
            Text(_points(move), style=UP if move and move > 0 else DOWN),
            _points(row["effective_move_pp"]),
            _cents(row["spread_now"]),
            _dollars(row["volume_24h_usd"]),
            row["volume_basis"] or "–",
            _share(row["coverage_window"]),
            f"{row[score]:.2f}",
        )
    if movers.is_empty():
        table.caption = "Nothing above the floor."
    return table


def frame(rows: pl.DataFrame) -> Table:
    """Any answer as a table; long ones are cut, and say so."""
    table = Table()
    for name, dtype in rows.schema.items():
        table.add_column(Text(safe_text(name)), justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in rows.head(MOST_ROWS).iter_rows():
        table.add_row(*(Text("–" if cell is None else safe_text(_cell(cell))) for cell in row))
    cut = f", the first {MOST_ROWS} shown; --out writes all" if rows.height > MOST_ROWS else ""
    table.caption = Text(f"{rows.height:,} rows{cut}")
    return table


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="microseconds" if value.microsecond else "seconds")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _percent(price: float | None) -> str:
    return "–" if price is None else f"{price:.1%}"


def _points(move: float | None) -> str:
    return "–" if move is None else f"{move:+.1f} pp"


def _cents(spread: float | None) -> str:
    return "–" if spread is None else f"{spread * 100:.1f}c"


def _dollars(value: float | None) -> str:
    return "–" if value is None else f"${value:,.0f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
