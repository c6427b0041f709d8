"""What can be done about findings without inventing anything. This decides it and changes nothing.

Nothing is deleted but temporary files: what is damaged goes to `_quarantine`, what is merged already to `_trash`. Rows
that are still in `_trash` come back; what nothing can bring back is noted, in the quarantine, and in `gaps` where
prices rest on it. A repaired lake has nothing to repair.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from lake import layout
from lake.clock import to_us
from lake.covers import coalesced, holds
from lake.layout import QUARANTINE, TRASH, SeqRange
from lake.schema import SEGMENTS, Table
from lake.store import Store
from lake.verify import contents
from lake.verify.apart import Apart
from lake.verify.findings import Finding, Line, Severity, What
from lake.verify.inventory import NOTE, File, look
from lake.verify.known import (
    PRICED,
    YOUNG_US,
    covered,
    is_gap,
    is_on_record,
    is_retired,
    place,
    ranges,
    span_us,
)
from lake.verify.survey import Survey

_BAD: Final = (What.DAMAGED, What.WRONG_ROWS, What.WRONG_HASH, What.WRONG_COVERS)


class Verb(StrEnum):
    """What a step does, in the order in which it is done."""

    QUARANTINE = "quarantine"
    RESTORE = "restore"
    LIST = "list"
    NOTE = "note"
    RECORD = "record a gap"
    TRASH = "move to trash"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    verb: Verb
    path: str  # below the root, where it lies now; of a gap its venue
    to: str = ""  # where it goes
    why: str = ""
    span: SeqRange | None = None  # whose line is written
    is_whole: bool = True  # whether the files of that segment are known to be all that it had
    start_us: int = 0  # of a gap
    end_us: int = 0


def plan(store: Store, survey: Survey, now: datetime, processes: Apart) -> list[Step]:
    """The steps that the findings ask for; nothing is changed. Reads what is in `_trash`, and may read merged files."""
    found = survey.report.findings
    bad = {finding.where: finding for finding in found if finding.what in _BAD and finding.part is not None}
    steps = [
        Step(Verb.QUARANTINE, path, f"{QUARANTINE}/{path}", finding.found)
        for path, finding in bad.items()
        if path in survey.known.inventory.files
    ]
    whole = {path: file for path, file in survey.known.inventory.files.items() if path not in bad and not file.damage}
    trashed = [] if survey.report.is_sound else _trashed(store, survey)
    back = _ledger_back(survey, whole, trashed, bad)
    if back:  # what else is wrong will be known when these are read
        return [step for step in steps if step.path.startswith(layout.folder(SEGMENTS))] + back
    lost, restored = _lost(survey, whole, trashed)
    listed = _unlisted(survey, bad)
    steps += restored + listed + _noted(survey, bad, lost) + _gaps(survey, lost, listed)
    return steps + _tidied(store, survey, whole, now, processes)


def _trashed(store: Store, survey: Survey) -> list[tuple[str, File]]:
    """The files in `_trash` that can be read, and where they lie."""
    found = ((path, look(store, path, part)) for path, part in survey.known.inventory.trash.items())
    return [(path, file) for path, file in found if file is not None and file.damage is None]


def _ledger_back(
    survey: Survey, whole: dict[str, File], trashed: list[tuple[str, File]], bad: dict[str, Finding]
) -> list[Step]:
    """Files of the ledger that come back from the trash, if lines are missing."""
    is_short = any(finding.part is not None and finding.part.table is SEGMENTS for finding in bad.values()) or any(
        finding.what in (What.HOLE, What.UNLISTED) and finding.severity is Severity.ERROR
        for finding in survey.report.findings
    )
    if not is_short:
        return []
    there = [span for file in whole.values() if file.part.table is SEGMENTS for span in ranges(file)]
    known = coalesced(there)
    steps = []
    for path, file in trashed:
        if file.part.table is SEGMENTS and not holds(known, ranges(file)) and file.path not in whole:
            steps.append(Step(Verb.RESTORE, path, file.path, "lines of the ledger that are missing"))
            known = coalesced([*known, *ranges(file)])
    return steps


def _lost(survey: Survey, whole: dict[str, File], trashed: list[tuple[str, File]]) -> tuple[list[Line], list[Step]]:
    """The lines whose rows nothing holds that is whole, and the steps that bring back others from the trash."""
    held: dict[tuple[Table, str], list[SeqRange]] = defaultdict(list)
    for file in whole.values():
        if file.cover is not None:
            held[file.part.table, file.part.values[0]] += file.cover.ranges
    merged = {where: coalesced(spans) for where, spans in held.items()}
    lost, steps, taken = list[Line](), list[Step](), set[str]()
    for line in survey.known.ledger.lines:
        where = (line.table, line.part.values[0])
        if line.path in whole or holds(merged.get(where, ()), (line.span,)):
            continue
        if is_retired(survey.known, line) or is_on_record(survey.known, line):
            continue
        path = _copy(line, trashed)
        if path is None:
            lost.append(line)
        elif path not in taken:
            taken.add(path)
            former = str(survey.known.inventory.trash[path].path)
            steps.append(Step(Verb.RESTORE, path, former, f"holds {line.rows:,} rows that are missing"))
    return lost, steps


def _copy(line: Line, trashed: list[tuple[str, File]]) -> str | None:
    """Where in the trash the rows of a line lie: in the file itself, or in one merged from it."""
    for path, file in trashed:
        if file.part == line.part and file.rows == line.rows:
            return path
    for path, file in trashed:
        same = (file.part.table, file.part.values[0]) == (line.table, line.part.values[0])
        if same and file.cover is not None and holds(file.cover.ranges, (line.span,)):
            return path
    return None


def _unlisted(survey: Survey, bad: dict[str, Finding]) -> list[Step]:
    """Lines to be written again for segments that have files and no line; what else they had is unknown."""
    spans: dict[SeqRange, set[str]] = defaultdict(set)
    sealed = {segment.span for segment in survey.known.ledger.segments}
    for finding in survey.report.findings:
        if finding.what is not What.UNLISTED or finding.span is None or finding.part is None:
            continue
        if finding.span not in sealed and finding.where not in bad:
            spans[finding.span].add(finding.part.partition["date"])
    steps = []
    for span, days in spans.items():
        if len(days) == 1:
            path = layout.part(SEGMENTS, span.name, date=min(days)).path.as_posix()
            is_whole = path in bad or path in survey.known.inventory.quarantine  # the line was there: the seal was over
            why = "its files are there, and its line is not" + ("" if is_whole else "; its time goes to gaps as well")
            steps.append(Step(Verb.LIST, path, path, why, span, is_whole))
    return steps


def _noted(survey: Survey, bad: dict[str, Finding], lost: list[Line]) -> list[Step]:
    """A note for each file that is lost without a trace."""
    known = survey.known.inventory.quarantine
    paths = {line.path: line for line in lost}
    return [
        Step(Verb.NOTE, path, f"{QUARANTINE}/{path}{NOTE}", f"{path}: {line.rows:,} rows of the ledger are lost")
        for path, line in paths.items()
        if path not in known and path not in bad
    ]


def _gaps(survey: Survey, lost: list[Line], listed: list[Step]) -> list[Step]:
    """One gap for each stretch of time of a venue whose rows are lost, and for each hole in a collector's life."""
    times: dict[str, list[tuple[SeqRange, int, int]]] = defaultdict(list)
    for line in lost:
        if line.table in PRICED:
            times[line.part.values[0]].append((line.span, *span_us(line)))
    for finding in survey.report.findings:
        if finding.what is What.HOLE and finding.span is not None and not _meets(finding.span, listed):
            for venue, first, last in _around(survey, finding.span):
                times[venue].append((finding.span, first, last))
    steps = []
    for venue, spans in times.items():
        for start, end in _joined(sorted(spans)):
            if not is_gap(survey.known, venue, start, end):
                steps.append(Step(Verb.RECORD, venue, "gaps", "rows are lost", start_us=start, end_us=end))
    return steps


def _meets(hole: SeqRange, listed: list[Step]) -> bool:
    """Whether a line that will be written again fills some of that hole: what is left of it will be seen then."""
    spans = [step.span for step in listed if step.span is not None and step.span.collector == hole.collector]
    return any(span.first <= hole.last and hole.first <= span.last for span in spans)


def _around(survey: Survey, hole: SeqRange) -> list[tuple[str, int, int]]:
    """By venue of that collector's life: the time between the segments before and after a hole."""
    life = [each for each in survey.known.ledger.segments if each.span.collector == hole.collector]
    before = [each.last_us for each in life if each.span.last == hole.first - 1]
    after = [each.first_us for each in life if each.span.first == hole.last + 1]
    last = after[0] if after else None
    first = before[0] if before else last
    if first is None or last is None:
        return []
    of_life = (line for line in survey.known.ledger.lines if line.span.epoch == hole.epoch)
    venues = {line.part.values[0] for line in of_life if line.span.collector == hole.collector}
    return [(venue, min(first, last), max(first, last)) for venue in sorted(venues)]


def _joined(spans: list[tuple[SeqRange, int, int]]) -> list[tuple[int, int]]:
    """Stretches of time, those of segments that follow one another as one."""
    found: list[tuple[SeqRange, int, int]] = []
    for span, start, end in spans:
        last = found[-1] if found else None
        if last is not None and last[0].epoch == span.epoch and span.first <= last[0].last + 1:
            found[-1] = (max(last[0], span, key=lambda each: each.last), min(last[1], start), max(last[2], end))
        else:
            found.append((span, start, end))
    return [(start, end) for _, start, end in found]


def _tidied(store: Store, survey: Survey, whole: dict[str, File], now: datetime, processes: Apart) -> list[Step]:
    """Old temporary files go, and old files that a merged one holds, once that is read to its last byte."""
    steps = [
        Step(Verb.REMOVE, finding.where, "", finding.found)
        for finding in survey.report.findings
        if finding.what is What.LEFTOVER and finding.severity is Severity.WARNING
    ]
    old = [file for file in covered(survey.known.inventory) if to_us(now) - file.modified_us >= YOUNG_US]
    if not old:
        return steps
    sound = _sound(store, [file for file in whole.values() if file.cover is not None], processes)
    stamp = layout.stamp(now)
    for file in old:
        same = (other for other in sound if place(other) == place(file) and other is not file)
        if any(other.cover is not None and holds(other.cover.ranges, ranges(file)) for other in same):
            steps.append(Step(Verb.TRASH, file.path, f"{TRASH}/{stamp}/{file.path}", "a merged file holds its rows"))
    return steps


def _sound(store: Store, merged: list[File], processes: Apart) -> list[File]:
    """Those merged files whose rows are what their footers say."""
    answers = processes.run(store.root, contents.hashed, [[file.path] for file in merged])
    found = {each.file: each.rows_hash for answer in answers.given for each in answer}
    return [file for file in merged if file.cover is not None and found.get(file.path) == file.cover.rows_hash]
