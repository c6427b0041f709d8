"""Look at a whole lake and say what is wrong with it; nothing is changed.

In this order: list and read footers; read the ledger, the gaps and the sums of messages, in other processes; hold all
of it against one another; then read a sample of the files, or all of them, to the last byte.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, TypeVar

import polars as pl

from lake import layout
from lake.clock import to_us
from lake.covers import uncovered
from lake.derived.prices import distinct_gaps
from lake.errors import LakeError
from lake.schema import FEED_HEALTH, GAPS, MARKETS, SEALED, SEGMENTS, TRADES, Table
from lake.store import Store
from lake.verify import checks, contents
from lake.verify.apart import WORKERS, Apart, Fault, Work
from lake.verify.findings import Finding, Report, Severity, What
from lake.verify.inventory import File, Inventory, Tell, is_changed, take
from lake.verify.known import Known, ledger_of, ranges

_Answer = TypeVar("_Answer")

SAMPLE: Final = 100
"""Files that are read to the last byte unless all are."""

DAYS: Final = 2
"""Days of a table and venue in which keys are compared unless all are."""

_JOB: Final = 500  # files
_LOOKS: Final = 4
"""How often a lake is looked at in which files are merged meanwhile, so that what was seen of it may not fit."""

_KEYLESS: Final = (GAPS, SEGMENTS)  # a gap is written again with its end; of lines the checks see to that


@dataclass(slots=True)
class Survey:
    """A lake as it was found, and what is wrong with it."""

    known: Known
    report: Report
    is_torn: bool = False  # files were gone before they were read


def silent(what: str, done: int, of: int) -> None:
    """Tell nobody."""


def survey(
    store: Store,
    processes: Apart,
    *,
    now: datetime,
    seed: int = 0,
    full: bool = False,
    kept: Mapping[str, timedelta | None] | None = None,
    wal: Path | None = None,
    tell: Tell = silent,
) -> Survey:
    """What is wrong with the lake, the worst first.

    `seed` chooses the sample; `full` reads every file to its last byte and compares every key. `kept` says how long
    each table is kept (`lake.retain.kept`), so that what is older may be gone; `wal` is the folder of the log, if it
    has a place of its own. Raises `OSError` where something cannot be listed or had.
    """
    for _ in range(_LOOKS):
        inventory = take(store, wal or store.local / "wal", tell)
        found = _survey(store, inventory, processes, to_us(now), None if full else Random(seed), kept or {}, tell)
        wrong = {finding.where for finding in found.report.findings if finding.severity is Severity.ERROR}
        if not found.is_torn and not (wrong and is_changed(store, inventory, wrong)):
            break
    return found


def _survey(
    store: Store,
    inventory: Inventory,
    processes: Apart,
    now_us: int,
    rng: Random | None,
    kept: Mapping[str, timedelta | None],
    tell: Tell,
) -> Survey:
    report = Report(files=len(inventory.files), is_full=rng is None)
    reader = _Reader(store, inventory, report, processes, tell)
    rows = pl.concat([_none(SEGMENTS), *reader.read(contents.ledger_lines, SEGMENTS)])
    known = Known(inventory, ledger_of(rows), _wide(reader), kept, now_us)
    report.lines = rows.height
    report.add(checks.damaged(known))
    for check in (checks.listed, checks.ranged, checks.contiguous, checks.merged, checks.loose):
        report.add(list(check(known)))
    report.add(_watermarks(store, known))
    report.add(_sums(reader))
    _hash(reader, known, rng)
    _keys(reader, rng)
    report.add([checks.damage(known, file, reason) for file, reason in reader.faults])
    order = {severity: place for place, severity in enumerate(Severity)}
    report.findings.sort(key=lambda finding: (order[finding.severity], finding.what, finding.where))
    return Survey(known, report, reader.is_torn)


class _Reader:
    """Reads rows in other processes, and remembers which files were at fault."""

    def __init__(self, store: Store, inventory: Inventory, report: Report, processes: Apart, tell: Tell) -> None:
        self.inventory = inventory
        self.report = report
        self.faults: list[tuple[File, str]] = []
        self.is_torn = False
        self._store = store
        self._processes = processes
        self._tell = tell

    def read(self, work: Work[_Answer], table: Table) -> list[_Answer]:
        """The work on all files of a table that another does not cover."""
        files = _uncovered(self.inventory.of(table))
        return self.on(work, [files[start : start + _JOB] for start in range(0, len(files), _JOB)], table.name)

    def on(self, work: Work[_Answer], jobs: Sequence[Sequence[File]], what: str) -> list[_Answer]:
        """The work on these files; those at fault from now on count as damaged."""
        named = [[file.path for file in job] for job in jobs]
        tell = partial(self._tell, f"reading {what}")
        answers = self._processes.run(self._store.root, work, named, lambda done: tell(done, len(jobs)))
        self._note(answers.faults)
        return answers.given

    def _note(self, faults: Iterable[Fault]) -> None:
        """One that is gone meanwhile is not damaged."""
        for path, reason in faults:
            file = self.inventory.files[path]
            if self._store.exists(file.part):
                self.faults.append((file, reason))
            else:
                self.is_torn = True


def _none(table: Table) -> pl.DataFrame:
    return pl.DataFrame(schema=dict(table.columns))


def _uncovered(files: Sequence[File]) -> list[File]:
    """Of files of one table those that are read."""
    by_venue: dict[str, dict[File, tuple[layout.SeqRange, ...]]] = defaultdict(dict)
    for file in files:
        by_venue[file.part.partition.get("venue", "")][file] = ranges(file)
    return [file for spans in by_venue.values() for file in uncovered(spans)]


def _wide(reader: _Reader) -> list[tuple[str, int, int | None]]:
    """The gaps of whole venues, each once: venue, start and end."""
    venues = {file.path: file.part.values[0] for file in reader.inventory.of(GAPS)}
    found = reader.read(contents.gap_rows, GAPS)
    if not found:
        return []
    rows = pl.concat(found).with_columns(venue=pl.col("file").replace_strict(venues)).lazy()
    wide = distinct_gaps(rows).filter(pl.col("market_key").is_null())
    times = (pl.col(name).to_physical() for name in ("start_time", "end_time"))
    return wide.select("venue", *times).collect().rows()


def _watermarks(store: Store, known: Known) -> list[Finding]:
    jobs = ("blocks",)
    try:
        marks = {job: store.watermark(job) for job in jobs}
    except LakeError as exc:
        step = "remove it, and the derived tables are computed anew"
        return [Finding(Severity.ERROR, What.DAMAGED, layout.WATERMARKS, str(exc), step)]
    return list(checks.watermarks(known, marks))


def _sums(reader: _Reader) -> list[Finding]:
    """Minutes of a connection in which messages = applied + ignored + duplicate + dead does not hold."""
    found = []
    for wrong in reader.read(contents.wrong_sums, FEED_HEALTH):
        for row in wrong.iter_rows(named=True):
            file = reader.inventory.files[row["file"]]
            said = (
                f"{row['connection']}, {row['minute']:%Y-%m-%d %H:%M}: {row['messages']} messages, {row['sum']} told of"
            )
            step = "replay or re-parse that day, and report it: no message may go without a word"
            found.append(Finding(Severity.ERROR, What.MESSAGES, file.path, said, step, file.part, file.span))
    return found


def _hash(reader: _Reader, known: Known, rng: Random | None) -> None:
    """Read files to the last byte and compare their rows with what was said of them when they were written."""
    told = {line.path: line.rows_hash for line in known.ledger.lines}
    bad = {file.path for file, _ in reader.faults}
    whole = [file for file in reader.inventory.files.values() if file.damage is None and file.path not in bad]
    files = whole if rng is None else rng.sample(whole, min(SAMPLE, len(whole)))
    size = max(1, min(50, len(files) // (4 * WORKERS)))
    jobs = [files[start : start + size] for start in range(0, len(files), size)]
    for answer in reader.on(contents.hashed, jobs, "rows"):
        for path, rows, rows_hash in answer:
            file = reader.inventory.files[path]
            expected = told.get(file.path) if file.cover is None else file.cover.rows_hash
            if rows != file.rows:
                reader.faults.append((file, f"holds {rows:,} rows, and its footer tells of {file.rows:,}"))
            elif expected is None:
                reader.report.unhashed += file.path in told
            elif rows_hash != expected:
                step = "somebody or something changed it: run with --repair, which treats it as damaged"
                found = "its rows are not those that were written, by their hash"
                changed = Finding(Severity.ERROR, What.WRONG_HASH, file.path, found, step, file.part, file.span)
                reader.report.add([changed])
            reader.report.hashed += 1


def _keys(reader: _Reader, rng: Random | None) -> None:
    """Compare the keys of a day's rows, table and venue by table and venue."""
    bad = {file.path for file, _ in reader.faults}
    for table in SEALED:
        if table in _KEYLESS:
            continue
        days: dict[tuple[str, ...], list[File]] = defaultdict(list)
        for file in _uncovered([file for file in reader.inventory.of(table) if file.path not in bad]):
            days[file.part.values].append(file)
        jobs = list(days.values())
        chosen = jobs if rng is None else rng.sample(jobs, min(DAYS, len(jobs)))
        reader.report.keyed += len(chosen)
        severity = Severity.WARNING if table in (TRADES, MARKETS) else Severity.ERROR
        for answer in reader.on(partial(contents.repeats, table=table.name), chosen, f"keys of {table.name}"):
            if answer.repeated:
                file = reader.inventory.files[answer.files[0]]
                where = file.part.path.parent.as_posix()
                said = f"{answer.repeated:,} rows have the key of another, as {answer.example}"
                step = "look for a file that is there twice; trades are counted once all the same"
                reader.report.add([Finding(severity, What.REPEATED, where, said, step)])
