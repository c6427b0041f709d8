"""Recordings into a lake, with bars and boards afterwards, and what a person sees of it: `movers replay` and `demo`."""

from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import Progress, TaskID

from flows import show
from flows.collector.recordings import Recording
from flows.collector.replay import ReplayReport, replay
from flows.jobs.refresh import boards_since, refresh_bars, refresh_board
from lake.derived.slices import WINDOWS
from lake.errors import RecordingError
from lake.place import Place
from lake.query import Lake
from lake.settings import Settings
from lake.store import Store
from lake.text import safe_text
from lake.vocab import OVER, Mode

OWN_SESSION: Final = Path(__file__).parents[1] / "tests" / "frames" / "session"


def recording(settings: Settings) -> Path:
    """What a demonstration replays: REPLAY_PATH, MOVERS_RECORDINGS, or the project's own session."""
    return settings.replay_path or settings.movers_recordings or OWN_SESSION


def replay_all(
    recordings: list[Recording], root: Place, speed: float | None, err: Console
) -> tuple[Store | None, list[ReplayReport], list[RecordingError]]:
    """Replay each; one that cannot be read is left out and told of. The lake is made with the first that can."""
    store: Store | None = None
    reports: list[ReplayReport] = []
    faults: list[RecordingError] = []
    with show.progress(err) as bar:
        for found in recordings:
            task = bar.add_task(safe_text(found.name), total=None)
            try:
                survey = found.survey()
                store = store or Store.create(root, Mode.REPLAY)
                reports.append(replay(found, store, survey=survey, speed=speed, progress=partial(_advance, bar, task)))
            except RecordingError as exc:
                faults.append(exc)
            bar.remove_task(task)
    return store, reports, faults


def derive(store: Store, reports: list[ReplayReport], out: Console, err: Console) -> None:
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


def _advance(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)
