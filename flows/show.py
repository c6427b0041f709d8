"""Answers on a terminal: tables, the board of movers, progress, the processes of `movers up`.

Venue text goes through `safe_text` and into `Text`, which reads no markup. What takes long to import is not imported
here, so that the supervisor is up at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lake.text import safe_text

if TYPE_CHECKING:
    import polars as pl
    from rich.progress import TaskID

    from flows.collector.replay import ReplayReport
    from flows.jobs.backfill import BackfillReport
    from flows.jobs.maintenance import Report
    from lake.compact import Merge
    from lake.layout import Part
    from lake.verify.findings import Report as VerifyReport
    from lake.verify.plan import Step
    from lake.vocab import Venue

UP, DOWN = "dark_cyan", "dark_orange"  # told apart by colour-blind eyes too
MOST_ROWS = 200
MOST_ALIKE = 10
"""Findings of one kind that are shown each; of the others the number."""


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


@contextmanager
def steps(console: Console, name: str) -> Iterator[Callable[[int, int], None]]:
    """One bar while this lasts; call what is given with how much is done, and of how much."""
    with progress(console) as bar:
        task = bar.add_task(safe_text(name), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def backfill(report: BackfillReport) -> Text:
    """What a back-fill brought, and each thing that it could not fill on a line of its own."""
    lines = [report.brought(), *(f"not filled: {fault}" for fault in report.told())]
    return Text("\n".join(safe_text(line, 500) for line in lines))


@contextmanager
def catalogues(console: Console) -> Iterator[Callable[[Venue, int, int], None] | None]:
    """A bar a venue, counted in markets, on a terminal; None elsewhere, where lines tell it."""
    if not console.is_terminal:
        yield None
        return
    with progress(console) as bar:
        tasks: dict[Venue, TaskID] = {}

        def tell(venue: Venue, markets: int, expected: int) -> None:
            if venue not in tasks:
                tasks[venue] = bar.add_task(venue.value, total=None)
            bar.update(tasks[venue], completed=markets, total=max(markets, expected) if expected else None)

        yield tell


def accounting(reports: Iterable[ReplayReport]) -> Table:
    """What became of every message: messages = applied + ignored + duplicate + dead."""
    from flows.venues.base import Outcome

    table = _table("Every message accounted for", "recording")
    for name in ("messages", "applied", "ignored", "dup", "dead", "rows", "new", "msg/s"):
        table.add_column(name, justify="right", no_wrap=True)
    notes: list[str] = []
    for report in reports:
        counts = report.counts
        numbers = (counts.messages, *(counts.outcomes[outcome] for outcome in Outcome))
        rest = (counts.rows.total(), report.added, int(report.rate))
        table.add_row(Text(safe_text(report.name)), *(f"{number:,}" for number in (*numbers, *rest)))
        for word, kinds in (("ignored", counts.ignored), ("dead", counts.dead)):
            notes += [f"{report.name}: {count:,} {word}: {kind}" for kind, count in kinds.most_common(3)]
    table.caption = Text("\n".join(safe_text(note) for note in notes))
    return table


def upkeep(merges: Iterable[Merge], report: Report) -> Table:
    """What a pass of maintenance would merge and remove, a line a table, venue and kind."""
    table = _table("What a pass would do now; days and months follow from the hours", "table")
    table.add_column("venue")
    table.add_column("what")
    for name in ("files", "rows", "MiB"):
        table.add_column(name, justify="right")
    counts: dict[tuple[str, str, str], list[int]] = {}

    def add(part: Part, what: str, *numbers: int) -> None:
        key = part.table.name, part.partition.get("venue", ""), what
        counts[key] = [one + two for one, two in zip(counts.get(key, [0] * len(numbers)), numbers, strict=True)]

    for merge in merges:
        add(merge.target, f"merged into {merge.level.name.lower()}s", len(merge.inputs), 0, 0)
    for due in report.deleted:
        add(due.part, "removed for their age", 1, due.rows, due.bytes)
    for key, (files, rows, size) in sorted(counts.items()):
        table.add_row(*key, f"{files:,}", f"{rows:,}" if rows else "", f"{size / 2**20:,.1f}" if size else "")
    table.caption = Text("\n".join(safe_text(str(refused), 400) for refused in report.refused))
    return table


def captured(report: Mapping[str, Any]) -> Group:
    """What a capture's report says, for a person: connections, kinds, strangers, answers, open questions."""
    lanes = _table(f"Captured in {report['seconds']:,.0f} s, {report['bytes_on_disk'] / 2**20:,.1f} MiB", "connection")
    for name in ("asked", "seen", "msg/s", "bytes p50", "p99", "max", "lag p50", "p99 ms", "quiet s"):
        lanes.add_column(name, justify="right", overflow="fold")
    kinds = _table("Kinds of messages", "connection")
    for name in ("kind", "messages", "msg/s"):
        kinds.add_column(name, justify="left" if name == "kind" else "right")
    for lane in report["connections"]:
        size, lag = lane["size"], lane["lag_ms"]
        figures = (lane["asked"], lane["seen"], lane["messages_per_second"], *size.values())
        lanes.add_row(lane["name"], *map(_figure, (*figures, lag["p50"], lag["p99"], lane["longest_silence_s"])))
        for kind, each in lane["kinds"].items():
            kinds.add_row(lane["name"], Text(safe_text(kind)), _figure(each["messages"]), _figure(each["per_second"]))
    lanes.caption = Text(
        f"holes in Kalshi's numbers: {sum(row['holes'] for row in report['sequences'])}; dead letters: "
        f"{sum(report['dead'].values()):,}; our clock is behind by {_offsets(report)} ms, to half a second"
    )
    rest = _table("Answers over REST", "host")
    for name in ("path", "requests", "statuses", "ms p50", "p99"):
        rest.add_column(name, justify="left" if name in ("path", "statuses") else "right")
    for row in report["rest"]:
        codes = ", ".join(f"{code}: {n}" for code, n in row["statuses"].items())
        rest.add_row(row["host"], Text(row["path"]), *map(_figure, (row["requests"],)), codes, *_two(row["ms"]))
    strange = _table(
        "Kinds and fields that nothing here knows" if report["unknown"] else "Nothing unknown came", "wire"
    )
    for name in ("kind", "field", "count", "example"):
        strange.add_column(name, justify="right" if name == "count" else "left")
    for row in report["unknown"][:MOST_ROWS]:
        texts = (row["kind"], row["field"] or "(the kind)", f"{row['count']:,}", row["example"])
        strange.add_row(row["wire"], *(Text(safe_text(text)) for text in texts))
    open_ = _table("Open questions about the venues", "venue")
    for name in ("question", "seen"):
        open_.add_column(name)
    for row in report["questions"]:
        open_.add_row(row["venue"], row["question"], Text(safe_text(row["seen"] or "not seen")))
    return Group(lanes, kinds, rest, strange, open_)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}".removesuffix(".00")


def _two(spread: Mapping[str, float | None]) -> tuple[str, str]:
    return _figure(spread["p50"]), _figure(spread["p99"])


def _offsets(report: Mapping[str, Any]) -> str:
    return (
        ", ".join(f"{host} {_figure(value)}" for host, value in report["clock_offset_ms"].items()) or "an unknown time"
    )


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One supervised process, as the status table shows it; None = there is no process, or it is not known."""

    name: str
    state: str
    is_well: bool
    is_bad: bool
    pid: int | None
    uptime: timedelta | None
    cpu_percent: float | None  # of one core
    rss_bytes: int | None
    restarts: int
    detail: str


def processes(title: str, rows: Iterable[ProcessRow]) -> Table:
    """A line a process: what it is doing, since when, what it costs, its last word."""
    table = Table(title=Text(safe_text(title)), box=box.SIMPLE_HEAD, title_justify="left", expand=True)
    table.padding, table.pad_edge = (0, 1, 0, 0), False
    table.add_column("process", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for name in ("pid", "up", "CPU", "memory", "restarts"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last word", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        style = DOWN if row.is_bad else UP if row.is_well else "dim"
        table.add_row(
            Text(row.name),
            Text(row.state, style=style),
            _or_dash(row.pid),
            _or_dash(row.uptime),
            "–" if row.cpu_percent is None else f"{row.cpu_percent:.0f}%",
            "–" if row.rss_bytes is None else f"{row.rss_bytes / 2**20:,.0f} MiB",
            str(row.restarts),
            Text(safe_text(row.detail)),
        )
    return table


VERDICTS = {
    "ok": "moved too little",
    "insufficient_coverage": "not watched long enough",
    "gap_in_slice": "with a gap where it matters",
    "rule_changed": "priced by another rule then",
}
"""Why a market is not on a board, in words."""


def board(movers: pl.DataFrame, window: str, score: str, as_of: datetime, notes: Iterable[str] = ()) -> Table:
    """Rows of `Lake.movers` as a table: from what to what, how wide, on what volume, how well watched.

    The score of `biggest` is the move less what the two half spreads may explain, in pp.
    """
    table = _table(f"Top movers, {window}, by {score}, as of {_instant(as_of)}", "market")
    for name in ("then → now", "move", score, "spread", "24 h volume", "watched"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in movers.iter_rows(named=True):
        move = row["move_pp"]
        where = f"  {row['venue']}, across a gap" if row["is_across_gap"] else f"  {row['venue']}"
        table.add_row(
            Text.assemble(safe_text(row["title"] or row["market_id"]), (where, "dim")),
            f"{_percent(row['price_then'])} → {_percent(row['price_now'])}",
            Text(_points(move), style=UP if move and move > 0 else DOWN),
            f"{row[score]:.2f}",
            _cents(row["spread_now"]),
            _dollars(row["volume_24h_usd"], row["volume_basis"]),
            _share(row["coverage_window"]),
        )
    lines = [f"Nothing above the floor, 1 pp or two ticks: {', '.join(notes)}."] if movers.is_empty() else [*notes]
    if movers.height and movers["volume_24h_usd"].null_count() == movers.height:
        lines.append("24 h volume: unknown, as less than a day was watched and the venue told none.")
    table.caption = Text("\n".join(lines))
    return table


def names(described: pl.DataFrame) -> Table:
    """Rows of `sql.describe`, a line each: what can be asked."""
    table = _table("", "name")
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("what it holds", overflow="fold")
    for row in described.iter_rows(named=True):
        table.add_row(row["name"], "view" if row["rows"] is None else f"{row['rows']:,}", row["about"])
    return table


def frame(rows: pl.DataFrame, width: int) -> Table:
    """Any answer as a table, or a record a row where `width` columns do not hold it; a long one is cut, and says so."""
    shown = [
        ["–" if cell is None else safe_text(_cell(cell)) for cell in row] for row in rows.head(MOST_ROWS).iter_rows()
    ]
    names = [safe_text(name) for name in rows.columns]
    widths = [max(map(len, column)) for column in zip(names, *shown, strict=True)]
    is_wide = sum(widths) + 3 * len(widths) > width and len(widths) > 2
    table = Table(box=box.SIMPLE_HEAD, show_header=not is_wide)
    if is_wide:
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for cells in shown:
            for name, cell in zip(names, cells, strict=True):
                table.add_row(Text(name), Text(cell))
            table.add_section()
    else:
        for name, dtype in zip(names, rows.dtypes, strict=True):
            table.add_column(Text(name), justify="right" if dtype.is_numeric() else "left", overflow="fold")
        for cells in shown:
            table.add_row(*map(Text, cells))
    cut = f", the first {MOST_ROWS} shown; --out writes all" if rows.height > MOST_ROWS else ""
    table.caption = Text(f"{rows.height:,} row{'' if rows.height == 1 else 's'}{cut}")
    return table


def findings(report: VerifyReport) -> Table | Text:
    """What is wrong with a lake, kind by kind, the worst first, and how much was looked at."""
    whole = f"{report.hashed:,} read to the last byte" + ("" if report.is_full else "; --full reads all")
    without = f", {report.unhashed:,} without a hash to compare with" if report.unhashed else ""
    looked = Text(f"{report.files:,} files, {report.lines:,} lines of the ledger; {whole}{without}")
    if not report.findings:
        return Text("Nothing found.\n").append(looked)
    table = _table("What was found", "kind")
    for name in ("where and what", "next step"):
        table.add_column(name, overflow="fold")
    kinds: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for each in report.findings:
        alike = kinds.setdefault((each.severity.value, each.what.value), [])
        alike.append((f"{each.where}: {each.found}", each.step))
    for (severity, what), alike in kinds.items():
        head = Text(f"{what}\n{severity}, {len(alike):,}", style=_SEVERE.get(severity, ""))
        for place, (said, advice) in enumerate(alike[:MOST_ALIKE]):
            table.add_row(Text("") if place else head, Text(safe_text(said, 500)), Text(safe_text(advice)))
        if len(alike) > MOST_ALIKE:
            table.add_row("", Text(f"and {len(alike) - MOST_ALIKE:,} more of this kind"), "")
        table.add_section()
    table.caption = looked
    return table


_SEVERE = {"error": "red", "warning": "yellow"}


def step(done: Step) -> Text:
    """One thing that a repair does."""
    where = f"{done.path} -> {done.to}" if done.to and done.to != done.path else done.path
    why = f" ({done.why})" if done.why else ""
    return Text(safe_text(f"{done.verb.value}: {where}{why}", 500))


def harmless(text: str) -> str:
    """Lines for a terminal, which obeys control characters: each through `safe_text`."""
    return "".join(safe_text(line, len(line) + 1) + "\n" for line in text.splitlines())


def _table(title: str, first: str) -> Table:
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, caption_justify="left", title_justify="left")
    table.padding, table.pad_edge = (0, 1, 0, 0), False  # so that 80 columns hold it
    table.add_column(first, overflow="fold", min_width=14)
    return table


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return _instant(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _percent(price: float | None) -> str:
    return "–" if price is None else f"{price:.1%}"


def _points(move: float | None) -> str:
    return "–" if move is None else f"{move:+.1f} pp"


def _cents(spread: float | None) -> str:
    return "–" if spread is None else f"{spread * 100:.1f}c"


def _dollars(value: float | None, basis: str | None) -> str:
    """Short, with whose figure it is: seen by us, the venue's, or the venue's contracts at today's price."""
    if value is None:
        return "–"
    scale, unit = next(((scale, unit) for scale, unit in ((1e6, "M"), (1e3, "k")) if value >= scale), (1, ""))
    whose = {"observed": "seen", "venue_reported": "venue", "venue_contracts": "venue~"}.get(basis or "", "")
    return f"${value / scale:,.{1 if unit else 0}f}{unit} {whose}"


def _share(value: float | None) -> str:
    """Never rounded up to all of it."""
    return "–" if value is None else "100%" if value == 1 else f"{min(value, 0.999):.1%}"


def _instant(value: datetime) -> str:
    """As a person reads it, to the microsecond where there is one."""
    text = value.isoformat(sep=" ", timespec="milliseconds" if value.microsecond % 1000 == 0 else "microseconds")
    return text.replace(".000", "").replace("+00:00", "Z")
