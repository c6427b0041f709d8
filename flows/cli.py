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

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from flows import show
from flows.collector.recordings import Recording, find
from flows.collector.replay import ReplayReport, replay
from flows.jobs.refresh import refresh_bars, refresh_board
from lake import export, settings, sql
from lake.clock import parse_time
from lake.derived.slices import WINDOWS
from lake.errors import LakeMissing, MoversError, RecordingError, SettingError
from lake.query import Lake
from lake.settings import Settings
from lake.store import Store
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
    Mode | None, typer.Option("--mode", help="Whose lake to read. Default: COLLECTOR_MODE.", case_sensitive=False)
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
    pace = _speed(speed)
    config = _settings(mode=Mode.REPLAY, lake=lake)
    store = Store.create(config.lake_root, Mode.REPLAY)
    recordings, strangers = find(path)
    reports = _replay_all(recordings, store, pace)
    out.print(show.accounting(reports))
    if strangers:
        out.print(f"{len(strangers)} other files below {path} are no recordings and were left alone.")
    if derive:
        _derive(store, reports)


@app.command()
def query(
    statement: Annotated[
        str, typer.Argument(metavar="[SQL]", help="One SELECT. Without it, the tables are listed.")
    ] = "",
    format: Annotated[str, typer.Option(help="table, csv or parquet.")] = "table",
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
    frame = sql.run(store, statement) if statement.strip() else sql.describe(store)
    if format == "table" and out_path is None:
        out.print(show.frame(frame if statement.strip() else frame.drop("columns"), out.width))
    else:
        text = export.write(frame, format, out_path, force=force)
        if text is not None:
            sys.stdout.write(text)
        else:
            err.print(f"{frame.height:,} rows written to {out_path}")


@app.command()
def top(
    window: Annotated[str, typer.Option(help="Look-back, as in 15m, 1h or 7d.")] = "1h",
    score: Annotated[str, typer.Option(help="classic or biggest.")] = "biggest",
    as_of: Annotated[str | None, typer.Option(help="UTC instant. Default: the newest in the lake.")] = None,
    venue: Annotated[str | None, typer.Option(help="polymarket or kalshi.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Rows to show.")] = 20,
    lake: LakeOption = None,
    mode: ModeOption = None,
) -> None:
    """Show the top movers of a window, now or at any instant of the lake.

    movers top --window 15m --as-of 2026-05-15T19:14:00Z
    """
    reader = Lake(_lake(mode, lake))
    moment = _instant(as_of) if as_of else reader.latest_time()
    movers = reader.movers(window, score, moment, venue, status_not=OVER, limit=limit)
    out.print(show.board(movers, window, score, moment))


@app.command()
def demo() -> None:
    """Replay a recording and show its top movers: REPLAY_PATH, MOVERS_RECORDINGS, or the project's own frames."""
    config = _settings(mode=Mode.REPLAY)
    path = config.replay_path or config.movers_recordings or Path(__file__).parents[1] / "tests" / "frames" / "session"
    out.print(f"Replaying {path} into {config.lake_root}")
    replay_command(path, lake=config.lake_root)
    out.print("\nAsk on: [bold].venv/bin/movers query[/] and [bold].venv/bin/movers top --help[/], with --mode replay.")


def main() -> None:
    """The console script."""
    try:
        app()
    except MoversError as exc:
        err.print(f"movers: {exc}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _replay_all(recordings: list[Recording], store: Store, speed: float | None) -> list[ReplayReport]:
    """Replay each; one that cannot be read is said and left out, unless it is the only one."""
    reports: list[ReplayReport] = []
    failed: list[RecordingError] = []
    with show.progress(err) as bar:
        for recording in recordings:
            task = bar.add_task(recording.name, total=None)
            try:
                reports.append(replay(recording, store, speed=speed, progress=partial(_advance, bar, task)))
            except RecordingError as exc:
                failed.append(exc)
            bar.remove_task(task)
    for fault in failed:
        err.print(f"movers: {fault}", style="red", markup=False, highlight=False, soft_wrap=True)
    if failed:
        raise RecordingError(f"{len(failed)} of {len(recordings)} recordings could not be read; the others are in")
    return reports


def _advance(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def _derive(store: Store, reports: list[ReplayReport]) -> None:
    """Bars of what came in, and a board at the end of each recording; the one that lists most is shown."""
    with err.status("bars and movers"):
        refresh_bars(store)
        boards = [
            (refresh_board(store, report.last), report.name)
            for report in reports
            if report.last - report.first >= min(WINDOWS.values())
        ]
    if not boards:
        out.print("Too short a recording for a move: even the shortest window needs five minutes.")
        return
    best, name = max(boards, key=lambda pair: sum(pair[0].listed.values()))
    for window in WINDOWS:
        movers = Lake(store).movers(window, "biggest", best.as_of, status_not=OVER, limit=10)
        if not movers.is_empty():
            out.print(show.board(movers, window, "biggest", best.as_of))
    if not any(best.listed.values()):
        out.print(
            f"Nothing above the floor at the end of any recording; {name} ended at {best.as_of:%Y-%m-%d %H:%M:%S}."
        )


def _settings(*, mode: Mode | None = None, lake: Path | None = None) -> Settings:
    given: dict[str, object] = {} if mode is None else {"collector_mode": mode}
    if lake is not None:
        given["lake_uri"] = str(lake)
    return settings.load(**given)


def _lake(mode: Mode | None, folder: Path | None) -> Store:
    """The lake to read; when there is none, the message names those of the other modes."""
    config = _settings(mode=mode, lake=folder)
    wanted = None if folder is not None and mode is None else config.collector_mode
    try:
        return Store.open(config.lake_root, wanted)
    except LakeMissing as exc:
        others = [name for name in Mode if (settings.load(collector_mode=name, lake_uri=None).lake_root).is_dir()]
        if folder is not None or config.lake_uri or not others:
            raise
        hint = ", ".join(f"--mode {name}" for name in others)
        raise LakeMissing(f"{exc}; or read one that is there: {hint}") from exc


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
