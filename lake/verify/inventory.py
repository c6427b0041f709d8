"""What lies below the lake's root, and what the footers of its files say: each is read once, none of the rows."""

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import pyarrow.parquet as pq

from lake import layout, parquet, wal
from lake.covers import FOOTER, Cover
from lake.errors import BadName, LakeError
from lake.files import Files, Stat
from lake.layout import Life, Merged, Part, SeqRange
from lake.schema import SEALED, SEGMENTS, SEQ_BITS, TABLES, Table
from lake.store import Store

NOTE: Final = ".lost"
"""The suffix of a note in the quarantine about a file that was not there any more."""

_THREADS: Final = 8
_BATCH: Final = 200  # files

Tell = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a table."""

    part: Part
    path: str  # below the root
    span: SeqRange | None  # the range that its name spells; None if it spells none
    size: int  # bytes
    modified_us: int
    rows: int = 0
    first_seq: int | None = None  # of its rows, by its statistics; None = no rows, or not told
    last_seq: int | None = None
    cover: Cover | None = None  # None = not merged
    damage: str | None = None  # why it cannot be read

    @property
    def is_merged(self) -> bool:
        """Whether its name is that of a merged file."""
        return _is_merged(self.part)


class Loose(NamedTuple):
    """A file that is none of a table."""

    path: str
    size: int
    modified_us: int


class Log(NamedTuple):
    """A file of the write-ahead log, which begins with that number."""

    path: Path
    first_seq: int
    size: int


@dataclass(slots=True)
class Inventory:
    """All of the lake but its rows."""

    files: dict[str, File] = field(default_factory=dict)  # by path
    temps: list[Loose] = field(default_factory=list)
    strangers: list[Loose] = field(default_factory=list)
    trash: dict[str, Part] = field(default_factory=dict)  # by path, what each was
    quarantine: set[str] = field(default_factory=set)  # former paths
    wal: dict[Life, list[Log]] = field(default_factory=dict)  # by life, in order
    aside: list[Path] = field(default_factory=list)  # pieces of the log that could not be read

    def of(self, table: Table) -> list[File]:
        """The files of a table that can be read, in path order."""
        return [file for file in self.files.values() if file.part.table is table and file.damage is None]

    def has_wal(self, span: SeqRange) -> bool:
        """Whether the log still holds that segment: it goes from the front."""
        logs = self.wal.get(Life(span.collector, span.epoch), [])
        return any(log.first_seq <= span.first for log in logs)


def take(store: Store, folder: Path, tell: Tell) -> Inventory:
    """The inventory of the lake and of its log in `folder`. Raises `OSError` where something cannot be listed.

    First the log, then the ledger, then all else: what goes on meanwhile goes the other way.
    """
    found, parts = Inventory(wal=_logs(folder)), list[tuple[Part, Stat]]()
    found.aside = sorted((folder / wal.ASIDE).glob("*"))
    for table in (SEGMENTS, *(table for table in TABLES.values() if table is not SEGMENTS)):
        paths = store.files.walk(layout.folder(table))
        for path, stat in store.files.stats(paths).items():
            part = _part(path)
            if part is not None:
                parts.append((part, stat))
            else:
                is_temp = PurePosixPath(path).name.startswith(".")
                (found.temps if is_temp else found.strangers).append(Loose(path, stat.size, stat.modified // 1_000))
    batches = [parts[start : start + _BATCH] for start in range(0, len(parts), _BATCH)]
    with ThreadPoolExecutor(_THREADS) as pool:
        done = 0
        for batch in pool.map(
            lambda pairs: [_look(store.files, part, str(part.path), at) for part, at in pairs], batches
        ):
            found.files |= {file.path: file for file in batch if file is not None}
            done += len(batch)
            tell("reading footers", done, len(parts))
    trash = {path: _part(path.split("/", 2)[-1]) for path in store.files.walk(layout.TRASH)}
    found.trash = {path: part for path, part in trash.items() if part is not None}
    quarantine = store.files.walk(layout.QUARANTINE)
    found.quarantine = {path.partition("/")[2].removesuffix(NOTE) for path in quarantine}
    return found


def look(store: Store, path: str, part: Part) -> File | None:
    """A file that lies at `path` below the root, as the part that it was; None if it is gone."""
    stat = store.files.stat(path)
    return None if stat is None else _look(store.files, part, path, stat)


def is_changed(store: Store, inventory: Inventory, paths: Collection[str]) -> bool:
    """Whether a sealed file, or one of `paths`, is gone or another one since, or a merged one has come."""
    now = dict[str, Stat]()
    for table in TABLES.values():
        now |= store.files.stats(store.files.walk(layout.folder(table)))
    for path, file in inventory.files.items():
        stat = now.get(path)
        is_same = stat is not None and (stat.size, stat.modified // 1_000) == (file.size, file.modified_us)
        if not is_same and (file.part.table in SEALED or path in paths):
            return True
    new = (_part(path) for path in now.keys() - inventory.files.keys())
    return any(part is not None and _is_merged(part) for part in new)


def _is_merged(part: Part) -> bool:
    return part.table in SEALED and Merged.parse(part.name) is not None


def _part(path: str) -> Part | None:
    with suppress(BadName):
        return layout.parse(PurePosixPath(path))
    return None


def _logs(folder: Path) -> dict[Life, list[Log]]:
    """The files of the log by life, in the order of their records."""
    found: dict[Life, list[Log]] = {}
    for life in wal.lives(folder):
        for path in wal.files(folder, life):
            named = layout.parse_wal(path.name)
            with suppress(FileNotFoundError):  # sealed meanwhile
                if named is not None:
                    log = Log(path, (life.epoch << SEQ_BITS) + named[1], path.stat().st_size)
                    found.setdefault(life, []).append(log)
    return found


def _look(files: Files, part: Part, path: str, stat: Stat) -> File | None:
    """The file at `path` with what its footer says; None if it went away meanwhile."""
    span = None
    with suppress(BadName):
        span = SeqRange.parse(part.name)
    file = File(part, str(part.path), span, stat.size, stat.modified // 1_000)
    try:
        return _with_footer(file, parquet.footer(files, path))
    except FileNotFoundError:
        return None
    except (ConnectionError, PermissionError):  # says nothing against the file
        raise
    except (LakeError, OSError, ValueError) as exc:
        return replace(file, damage=" ".join(str(exc).split())[:200])


def _with_footer(file: File, footer: pq.FileMetaData) -> File:
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    if sum(group.num_rows for group in groups) != footer.num_rows:
        raise ValueError("its row groups do not hold the rows that its footer tells of")
    end = max((_end(group) for group in groups), default=4)
    if end > file.size - 8:
        raise ValueError(f"{file.size:,} bytes, and its columns reach to byte {end:,}")
    names = ("seq", "seq") if file.part.table is not SEGMENTS else ("first_seq", "last_seq")
    lows, highs = (_bounds(footer, groups, name) for name in names)
    cover = Cover.load((footer.metadata or {}).get(FOOTER, b"")) if file.is_merged else None
    first, last = min((low for low, _ in lows), default=None), max((high for _, high in highs), default=None)
    return replace(file, rows=footer.num_rows, first_seq=first, last_seq=last, cover=cover)


def _end(group: pq.RowGroupMetaData) -> int:
    """Where the last column of a row group ends."""
    if not group.num_columns:
        return 4
    last = group.column(group.num_columns - 1)
    start = last.dictionary_page_offset if last.has_dictionary_page else None
    return int((start or last.data_page_offset) + last.total_compressed_size)


def _bounds(footer: pq.FileMetaData, groups: Iterable[pq.RowGroupMetaData], name: str) -> list[tuple[int, int]]:
    """The least and the largest value of a column of numbers in each row group that tells them."""
    names = footer.schema.names
    if name not in names:
        return []
    told = [group.column(names.index(name)).statistics for group in groups]
    return [(each.min, each.max) for each in told if each is not None and each.has_min_max]
