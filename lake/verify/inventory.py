"""What lies below the lake's root, and what the footers of its files say: each is read once, none of the rows.

This file alone of `lake.verify` knows how files are listed, opened and moved.
"""

import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from lake import layout
from lake.covers import FOOTER, Cover
from lake.errors import BadName, LakeError
from lake.layout import Life, Part, SeqRange
from lake.schema import (
    DEAD_LETTERS,
    DEPTH,
    EVENTS,
    FEED_HEALTH,
    GAPS,
    HISTORY,
    MARKETS,
    QUOTES,
    RAW,
    SEGMENTS,
    SEQ_BITS,
    TABLES,
    TRADES,
    VENUE_STATS,
    Table,
)
from lake.store import Store
from lake.wal import ASIDE

SEALED: Final = (
    QUOTES, TRADES, DEPTH, HISTORY, VENUE_STATS, MARKETS, EVENTS, GAPS, DEAD_LETTERS, FEED_HEALTH, RAW, SEGMENTS,
)  # fmt: skip
"""The tables whose files are segments, or merged from them; all others are computed from these."""

TRASH: Final = "_trash"
QUARANTINE: Final = "_quarantine"
NOTE: Final = ".lost"
"""The suffix of a note in the quarantine about a file that was not there any more."""

_MERGED: Final = re.compile(r"(?:hour-\d\d|day|month)(?:-\d+)?")
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
        return self.part.table in SEALED and _MERGED.fullmatch(self.part.name) is not None


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
    trash: dict[str, list[str]] = field(default_factory=dict)  # former path to where it lies now
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


def _root(store: Store) -> Path:
    if not isinstance(store.root, Path):
        raise LakeError(f"lake {store.root}: is in a bucket, which `movers verify` cannot look through yet")
    return store.root


def take(store: Store, wal: Path, tell: Tell) -> Inventory:
    """The inventory of the lake and of its log. Raises `OSError` where a folder cannot be listed."""
    found, parts = Inventory(), list[tuple[Part, Loose]]()
    for table in TABLES.values():
        for loose in _walk(store, layout.folder(table)):
            name = PurePosixPath(loose.path).name
            try:
                parts.append((layout.parse(PurePosixPath(loose.path)), loose))
            except BadName:
                (found.temps if name.startswith(".") else found.strangers).append(loose)
    batches = [parts[start : start + _BATCH] for start in range(0, len(parts), _BATCH)]
    with ThreadPoolExecutor(_THREADS) as pool:
        done = 0
        for batch in pool.map(lambda pairs: [_look(store, *pair) for pair in pairs], batches):
            found.files |= {file.path: file for file in batch if file is not None}
            done += len(batch)
            tell("reading footers", done, len(parts))
    for loose in _walk(store, TRASH):
        found.trash.setdefault("/".join(loose.path.split("/")[2:]), []).append(loose.path)
    found.quarantine = {loose.path.partition("/")[2].removesuffix(NOTE) for loose in _walk(store, QUARANTINE)}
    _take_log(found, wal)
    return found


def _take_log(found: Inventory, wal: Path) -> None:
    if not wal.is_dir():
        return
    for path in sorted(wal.iterdir()):
        named = layout.parse_wal(path.name)
        if named is not None:
            life, number, _ = named
            log = Log(path, (life.epoch << SEQ_BITS) + number, path.stat().st_size)
            found.wal.setdefault(life, []).append(log)
    for logs in found.wal.values():
        logs.sort(key=lambda log: log.first_seq)
    found.aside = sorted((wal / ASIDE).iterdir()) if (wal / ASIDE).is_dir() else []


def look(store: Store, path: str) -> File | None:
    """A file that lies anywhere below the root, as the part that its former path names; None if it is gone."""
    former = path.split("/", 2)[2] if path.startswith(f"{TRASH}/") else path
    part = layout.parse(PurePosixPath(former))
    with suppress(FileNotFoundError):
        status = (_root(store) / path).stat()
        return _look(store, part, Loose(path, status.st_size, status.st_mtime_ns // 1_000))
    return None


def move(store: Store, path: str, to: str) -> None:
    """Give a file another path below the root; one that is there already is not overwritten but gets company."""
    target, number = _root(store) / to, 0
    while target.exists():
        number += 1
        target = _root(store) / f"{to}.{number}"
    target.parent.mkdir(parents=True, exist_ok=True)
    (_root(store) / path).rename(target)


def remove(store: Store, path: str) -> None:
    """Remove a temporary file."""
    (_root(store) / path).unlink(missing_ok=True)


def write_note(store: Store, path: str, text: str) -> None:
    """A small text file below the root."""
    place = _root(store) / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text + "\n")


def address(store: Store, path: str) -> str:
    """Where an engine finds a file."""
    return str(_root(store) / path)


def _walk(store: Store, folder: str) -> list[Loose]:
    """Every file below a folder, in path order; none if it is not there."""
    found, folders = [], [folder]
    while folders:
        above = folders.pop()
        try:
            entries = sorted(os.scandir(_root(store) / above), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            path = f"{above}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
                continue
            with suppress(FileNotFoundError):
                status = entry.stat()
                found.append(Loose(path, status.st_size, status.st_mtime_ns // 1_000))
    return sorted(found)


def _look(store: Store, part: Part, loose: Loose) -> File | None:
    """The file with what its footer says; None if it went away meanwhile."""
    span = None
    with suppress(BadName):
        span = SeqRange.parse(part.name)
    file = File(part, part.path.as_posix(), span, loose.size, loose.modified_us)
    try:
        return _with_footer(file, _footer(store, loose))
    except FileNotFoundError:
        return None
    except (pa.ArrowException, LakeError, OSError, ValueError) as exc:
        return replace(file, damage=" ".join(str(exc).split())[:200])


def _footer(store: Store, loose: Loose) -> pq.FileMetaData:
    """Mark and length first: a parser is given nothing that is not at least shaped like a footer."""
    with (_root(store) / loose.path).open("rb") as source:
        head = source.read(4)
        source.seek(max(0, loose.size - 8))
        length, mark = int.from_bytes(source.read(4), "little"), source.read()
        if not (head == mark == b"PAR1" and length + 12 <= loose.size):
            raise ValueError(f"{loose.size:,} bytes that do not begin and end as Parquet does")
        return pq.read_metadata(source)


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
