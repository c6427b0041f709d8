"""`movers`: the command line, and with `app` the one place where settings and the clock are read.

Errors that a person can act on are one line on standard error and exit code 2; anything else is a
fault of ours and shows its traceback.
"""

import os
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.text import Text

from flows import show
from flows.collector.recordings import Recording, find
from flows.collector.replay import ReplayReport, replay
from flows.jobs.refresh import boards_since, refresh_bars, refresh_board
from lake import export, settings, sql
from lake.clock import parse_time
from lake.derived.slices import WINDOWS
from lake.errors import LakeMissing, MoversError, RecordingError, SettingError
from lake.query import Lake
from lake.settings import Settings
from lake.store import Store
from lake.text import safe_text
from lake.vocab import MarketStatus, Mode

app = typer.Typer(
    name="movers",
    help="What just moved on Polymarket and Kalshi, is it real, and what was not seen.",
    epilog="Settings come from the environment and .env; .env.example explains each of them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
out = Console()
err = Console(stderr=True)

OVER = (MarketStatus.CLOSED, MarketStatus.PROPOSED, MarketStatus.DISPUTED, MarketStatus.RESOLVED)
"""A market that is settling jumps to 0 or 1, which is no move."""

LakeOption = Annotated[Path | None, typer.Option("--lake", help="The lake's folder. Default: that of the mode.")]
ModeOption = Annotated[
    str | None, typer.Option("--mode", help="Whose lake to read: replay, live ... Default: COLLECTOR_MODE.")
]


@app.command("replay")
def replay_command(
    path: Annotated[Path, typer.Argument(help="A recording, or a folder of recordings.")],
    speed: Annotated[str, typer.Option(help="Times the recorded pace, or max.")] = "max",
    lake: LakeOption = None,
    derive: Annotated[bool, typer.Option(help="Compute bars and movers afterwards.")] = True,
) -> None:
    """Take recorded venue frames through the collector's own parsers, books and writer into the replay lake.

    The same recording twice adds nothing. A damaged one is refused before anything is written.

        movers replay recordings/monday.jsonl.gz
        movers replay recordings/ --speed 60
    """
    pace, config = _speed(speed), _settings(mode=Mode.REPLAY.value, lake=lake)
    recordings, strangers = find(path)
    try:
        store, reports, faults = _replay_all(recordings, config.lake_root, pace)
    except KeyboardInterrupt:
        say("broken off; what was published stays, and the same command goes on from there")
        raise typer.Exit(130) from None
    if store is not None and reports:
        out.print(show.accounting(reports))
        if derive:
            _derive(store, reports)
    if strangers:
        say(f"{len(strangers)} other files below {path} are no recordings and were left alone")
    for fault in faults[1:]:
        say(str(fault), "red")
    if faults:
        raise faults[0]


@app.command()
def query(
    statement: Annotated[
        str, typer.Argument(metavar="[SQL]", help="One SELECT. Without it, the tables are listed.")
    ] = "",
    format: Annotated[
        str | None, typer.Option(help="table, csv or parquet. Default: by the suffix of --out, else table.")
    ] = None,
    out_path: Annotated[Path | None, typer.Option("--out", help="Write to this file instead.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite that file.")] = False,
    lake: LakeOption = None,
    mode: ModeOption = None,
) -> None:
    """Ask the lake in SQL: its tables, and the original's views (snapshots, ohlc_1m, movers_cache and the rest).

    movers query "SELECT venue, count(*) FROM quotes GROUP BY venue"
    movers query "SELECT * FROM markets" --format csv --out markets.csv
    """
    store = _lake(mode, lake)
    frame = sql.run(store, statement) if statement.strip() else sql.describe(store).drop("columns")
    if out_path is None and format in (None, "table"):
        out.print(show.frame(frame, out.width) if statement.strip() else show.names(frame))
        return
    text = export.write(frame, format, out_path, force=force)
    if text is None:
        say(f"{frame.height:,} rows written to {out_path}")
    else:
        sys.stdout.write(show.harmless(text) if sys.stdout.isatty() else text)


@app.command()
def top(
    window: Annotated[str, typer.Option(help="Look-back, as in 15m, 1h or 7d.")] = "1h",
    score: Annotated[str, typer.Option(help="classic or biggest.")] = "biggest",
    as_of: Annotated[str | None, typer.Option(help="UTC instant. Default: the newest in the lake.")] = None,
    venue: Annotated[str | None, typer.Option(help="polymarket or kalshi.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Rows to show.")] = 20,
    everything: Annotated[
        bool, typer.Option("--all", help="Markets that are settling too: their jump is no move.")
    ] = False,
    lake: LakeOption = None,
    mode: ModeOption = None,
) -> None:
    """Show the top movers of a window, now or at any instant of the lake.

    movers top --window 15m --as-of 2026-05-15T19:14:00Z
    """
    reader = Lake(_lake(mode, lake))
    moment = _instant(as_of) if as_of else None
    found = reader.movers(window, score, moment, venue, limit=None)
    shown = found if everything else found.filter(~pl.col("status").is_in(OVER).fill_null(False))
    at = found["as_of"][0] if found.height else moment or reader.latest_time()
    notes = (
        [f"{found.height - shown.height} settling left out; --all shows them"] if found.height > shown.height else []
    )
    if shown.is_empty():
        verdicts = reader.moves_at(window, moment)["verdict"].value_counts(sort=True)
        notes += [
            ", ".join(f"{count} {show.VERDICTS[verdict]}" for verdict, count in verdicts.iter_rows()) or "no market"
        ]
    out.print(show.board(shown.head(limit), window, score, at, notes))


@app.command()
def demo() -> None:
    """Replay a recording and show its top movers: REPLAY_PATH, MOVERS_RECORDINGS, or the project's own frames."""
    config = _settings(mode=Mode.REPLAY.value)
    path = config.replay_path or config.movers_recordings or Path(__file__).parents[1] / "tests" / "frames" / "session"
    out.print(Text(safe_text(f"Replaying {path} into {config.lake_root.absolute()}")))
    replay_command(path, lake=config.lake_root)
    out.print(Text("\nAsk on: .venv/bin/movers top --help, and .venv/bin/movers query"))


def main() -> None:
    """The console script."""
    try:
        app()
    except MoversError as exc:
        say(str(exc), "red")
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as exc:
        say(f"{exc.filename or 'output'}: {(exc.strerror or str(exc)).lower()}", "red")
        sys.exit(2)


def say(text: str, style: str = "") -> None:
    """One line for a person, on standard error."""
    err.print(Text(f"movers: {safe_text(text, 2_000)}", style=style), soft_wrap=True)


def _replay_all(
    recordings: list[Recording], root: Path, speed: float | None
) -> tuple[Store | None, list[ReplayReport], list[RecordingError]]:
    """Replay each; one that cannot be read is left out and told of. The lake is made with the first that can."""
    store: Store | None = None
    reports: list[ReplayReport] = []
    faults: list[RecordingError] = []
    with show.progress(err) as bar:
        for recording in recordings:
            task = bar.add_task(safe_text(recording.name), total=None)
            try:
                survey = recording.survey()
                store = store or Store.create(root, Mode.REPLAY)
                reports.append(
                    replay(recording, store, survey=survey, speed=speed, progress=partial(_advance, bar, task))
                )
            except RecordingError as exc:
                faults.append(exc)
            bar.remove_task(task)
    return store, reports, faults


def _advance(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def _derive(store: Store, reports: list[ReplayReport]) -> None:
    """Bars of what came in, and a board at the end of each recording; the one that lists most is shown.

    Boards of before that the new rows may have changed are computed again.
    """
    with err.status("bars and movers"):
        since = refresh_bars(store).since
        ends = {report.last for report in reports if report.last - report.first >= min(WINDOWS.values())}
        again = {} if since is None else set(boards_since(store, since)) - ends
        boards = {instant: refresh_board(store, instant) for instant in sorted({*ends, *again})}
    if not ends:
        out.print("Too short for a move: even the shortest window needs five minutes.")
        return
    best = max((boards[end] for end in ends), key=lambda board: (sum(board.listed.values()), board.as_of))
    for window in WINDOWS:
        movers = Lake(store).movers(window, "biggest", best.as_of, status_not=OVER, limit=10)
        if not movers.is_empty():
            out.print(show.board(movers, window, "biggest", best.as_of))
    if not any(best.listed.values()):
        out.print(
            f"Nothing above the floor at the end of any recording, the last of them {best.as_of:%Y-%m-%d %H:%M:%S}."
        )


def _settings(*, mode: str | None = None, lake: Path | None = None) -> Settings:
    given: dict[str, object] = {} if mode is None else {"collector_mode": mode.lower()}
    if lake is not None:
        given["lake_uri"] = str(lake)
    return settings.load(**given)


def _lake(mode: str | None, folder: Path | None) -> Store:
    """The lake to read. Where nobody chose a mode and its lake is not there, the only other one is."""
    config = _settings(mode=mode, lake=folder)
    is_chosen = mode is not None or "collector_mode" in config.model_fields_set
    wanted = None if folder is not None and not mode else config.collector_mode
    try:
        return Store.open(config.lake_root, wanted)
    except LakeMissing as exc:
        others = [] if config.lake_uri else [name for name in Mode if _default_root(name).is_dir()]
        if len(others) == 1 and not is_chosen:
            say(f"reading {_default_root(others[0])}, the only lake here")
            return Store.open(_default_root(others[0]), others[0])
        hint = ", ".join(f"--mode {name}" for name in others)
        raise LakeMissing(f"{exc}; or read one that is there: {hint}" if hint else str(exc)) from exc


def _default_root(mode: Mode) -> Path:
    return settings.load(collector_mode=mode, lake_uri=None).lake_root


def _speed(text: str) -> float | None:
    try:
        pace = None if text == "max" else float(text)
    except ValueError:
        pace = 0.0
    if pace is not None and not 0 < pace < 1e9:
        raise SettingError(f"--speed {text}: is neither max nor a number above 0")
    return pace


def _instant(text: str) -> datetime:
    try:
        return parse_time(text).astimezone(UTC)
    except ValueError:
        raise SettingError(f"--as-of {text}: is no instant; write it as 2026-05-15T19:14:00Z") from None
