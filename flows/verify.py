"""`movers verify`: survey a lake, repair it if that was asked for, and say what was found."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.text import Text

from flows import show
from lake import retain
from lake.settings import Settings
from lake.store import Store
from lake.verify.apart import Apart
from lake.verify.plan import Step, plan
from lake.verify.repair import repair as mend
from lake.verify.survey import survey

SOUND, UNSOUND = 0, 1


def run(
    store: Store,
    config: Settings,
    out: Console,
    err: Console,
    *,
    full: bool = False,
    seed: int = 0,
    repair: bool = False,
    dry_run: bool = False,
) -> int:
    """The exit code: 0 sound, 1 where an error was found and is not mended. Raises `LakeError`, `OSError`."""
    now, kept = datetime.now(UTC), retain.kept(config.retention_days, config.raw_retention_hours)
    with Apart() as processes:
        with show.progress(err) as bar:
            ask = partial(survey, store, processes, now=now, kept=kept, wal=config.wal_dir, tell=_teller(bar))
            look = partial(ask, seed=seed, full=full)
            is_done = repair and not dry_run
            found = mend(store, look, now, processes, partial(_say, bar.console)) if is_done else look()
        out.print(show.findings(found.report))
        if dry_run:
            _foretell(out, plan(store, found, now, processes))
    return SOUND if found.report.is_sound else UNSOUND


def _teller(bar: Progress) -> Callable[[str, int, int], None]:
    """A line of `bar` for each thing that is done."""
    tasks: dict[str, TaskID] = {}

    def tell(what: str, done: int, of: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what)
        bar.update(tasks[what], completed=done, total=of)

    return tell


def _say(console: Console, step: Step) -> None:
    console.print(show.step(step), soft_wrap=True)


def _foretell(out: Console, steps: list[Step]) -> None:
    """What a repair would begin with: what comes back may show what else is missing."""
    out.print(Text(f"--repair would begin with {len(steps):,} steps:" if steps else "--repair would do nothing"))
    for step in steps:
        _say(out, step)
