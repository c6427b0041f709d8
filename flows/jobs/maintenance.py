"""Keep a lake small and quick: merge closed hours, days and months, remove what is too old, and say what was done.

One at a time (`lake.lease`). Killed at any moment, the next pass goes on; a second pass changes nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final

import polars as pl

from lake import disk, retain
from lake.compact import Done, Ledger, Merge, Plan, merge, plan
from lake.errors import LakeError, LakeUnwritable, LeaseLost
from lake.layout import Level, part
from lake.lease import UPKEEP, sole
from lake.retain import Due, Refused
from lake.schema import MAINTENANCE, SEALED, SEGMENTS, TABLES, Table
from lake.store import Store

TEMP_AGE: Final = timedelta(hours=1)
"""How old a temporary file is that nobody writes any more."""

LEVELS: Final = (Level.HOUR, Level.DAY, Level.MONTH)

_COUNTED: Final = (
    "files", "bytes", "files_merged", "files_made", "files_deleted", "rows_deleted", "bytes_freed",
)  # fmt: skip

Progress = Callable[[int, int, str], None]
"""Steps done, steps in all, and what is done next."""


@dataclass(slots=True)
class Report:
    """What a pass did, or would do."""

    as_of: datetime
    merged: list[Done] = field(default_factory=list)
    deleted: list[Due] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    leftovers: int = 0
    swept: int = 0
    freed: int = 0  # bytes of the trash

    def __str__(self) -> str:
        inputs = sum(len(done.merge.inputs) for done in self.merged)
        words = [f"{inputs:,} files merged into {len(self.merged):,}", f"{len(self.deleted):,} moved to the trash"]
        words += [f"{self.freed / 2**20:,.0f} MiB of trash removed"] if self.freed else []
        words += [str(refused) for refused in self.refused] + self.faults[:3]
        return "; ".join(words)


def maintain(
    store: Store,
    now: datetime,
    keep: Mapping[str, timedelta | None],
    *,
    trash_age: timedelta = retain.LEAST_AGE,
    reserve: int | None = None,
    confirmed: bool = False,
    progress: Progress = lambda done, total, what: None,
    timer: Callable[[], float] = monotonic,
) -> Report:
    """One pass as of `now`. Raises `LakeError` if another one is at work, `LakeUnwritable` if it cannot write."""
    with sole(store, UPKEEP) as store:
        started, report = timer(), Report(now)
        report.freed = store.empty_trash(now - trash_age)
        report.swept = store.sweep(now - TEMP_AGE)
        report.deleted, report.refused = retain.plan(store, keep, now, confirmed=confirmed)
        store.trash([due.part for due in report.deleted], now)
        _merge_all(store, now, keep, reserve, progress, report)
        _write(store, report, timer() - started)
    return report


def look_ahead(store: Store, now: datetime, keep: Mapping[str, timedelta | None]) -> tuple[list[Merge], Report]:
    """What a pass as of `now` would merge and delete, from the files that are there; touches nothing."""
    report = Report(now)
    report.deleted, report.refused = retain.plan(store, keep, now)
    known, gone = Ledger(store), {due.part for due in report.deleted}
    plans = [found for level in LEVELS for _, found in _plans(store, known, level, keep, now)]
    return [each for found in plans for each in found.merges if not gone.issuperset(each.inputs)], report


def _plans(
    store: Store, known: Ledger, level: Level, keep: Mapping[str, timedelta | None], now: datetime
) -> Iterator[tuple[Table, Plan]]:
    for table in (SEGMENTS, *(each for each in SEALED if each is not SEGMENTS)):  # whose line is merged, is merged
        if level <= retain.deepest(table, keep.get(table.name)):
            yield table, plan(store, known, table, level, now)


def _merge_all(
    store: Store,
    now: datetime,
    keep: Mapping[str, timedelta | None],
    reserve: int | None,
    progress: Progress,
    report: Report,
) -> None:
    """Hours first, then days of hours, then months of days; what cannot be merged is said, and the rest goes on."""
    known = Ledger(store)
    for level in LEVELS:
        plans = list(_plans(store, known, level, keep, now))
        for _, found in plans:
            report.leftovers += len(found.leftovers)
            store.trash(found.leftovers, now)
        merges = [each for _, found in plans for each in found.merges]
        for place, each in enumerate(merges):
            progress(place, len(merges), str(each.target.path))
            if disk.is_low(store.local, reserve):
                report.faults.append(f"{store.root}: the disk is nearly full; merging waits until there is more room")
                return
            try:
                done = merge(store, known, each, now)
            except (LakeUnwritable, LeaseLost):
                raise
            except LakeError as exc:
                report.faults.append(str(exc))
                continue
            report.faults += done.skipped
            if done.rows:
                report.merged.append(done)
        progress(len(merges), len(merges), level.name.lower())


def _write(store: Store, report: Report, seconds: float) -> None:
    """Add the pass to the table `maintenance`, a file a day."""
    lines: dict[tuple[str, str | None], dict[str, Any]] = {}

    def line(name: str, venue: str | None) -> dict[str, Any]:
        empty = dict.fromkeys(_COUNTED, 0) | {"rows": None, "note": None, "seconds": seconds, "as_of": report.as_of}
        return lines.setdefault((name, venue), empty | {"table": name, "venue": venue})

    for table in TABLES.values():
        for held in store.parts(table):
            found, cover = line(retain.key(held), held.partition.get("venue")), store.cover(held)
            found["files"] += 1
            found["bytes"] += store.size(held)
            if table in SEALED:
                found["rows"] = (found["rows"] or 0) + (store.rows(held) if cover is None else cover.rows)
    for done in report.merged:
        target = done.merge.target
        found = line(target.table.name, target.partition.get("venue"))
        found["files_merged"] += len(done.merge.inputs)
        found["files_made"] += 1
    for due in report.deleted:
        found = line(retain.key(due.part), due.part.partition.get("venue"))
        found["files_deleted"] += 1
        found["rows_deleted"] += due.rows
        found["bytes_freed"] += due.bytes
    for refused in report.refused:
        line(refused.table, refused.venue)["note"] = str(refused)
    for fault in report.faults:
        line(fault.partition("/")[0], None)["note"] = fault
    told = pl.DataFrame(list(lines.values()), schema=dict(MAINTENANCE.columns)).sort(*MAINTENANCE.order)
    there = part(MAINTENANCE, "passes", date=report.as_of.date())
    before = [store.load(there)] if store.size(there) else []
    store.replace(there, pl.concat([*before, told]))
