"""Where things lie: table, partition and sequence range to path, and back.

    <root>/<table>/venue=<v>/date=<day>/<collector>-<epoch>-<first_seq>-<last_seq>.parquet
    <root>/bars/interval=<i>/venue=<v>/date=<day>/<name>.parquet
    <root>/_segments/date=<day>/<collector>-<epoch>-<first_seq>-<last_seq>.parquet
    <root>/_maintenance/date=<day>/passes.parquet
    <root>/_blocks/venue=<v>/date=<day>/<HH>.parquet  _carries/venue=<v>/date=<day>/<HHMM>.parquet
    <root>/<table>/venue=<v>/date=<day>/hour-<HH>.parquet  day.parquet  month.parquet          merged from segments
    <root>/_trash/<YYYYMMDDTHHMMSS>/<path below the root>  _quarantine/<path below the root>[.lost]
    <root>/_lake.json  _watermarks.json
    <wal>/<collector>-<epoch>-<number>[-<try>].wal  <collector>-<epoch>-<number>.state
    <local>/hot/<table>/venue=<v>/<collector>-<epoch>-<first_seq>.arrows

A merged file lies in the partition of its day; that of a month in the partition of the month's first day. Files never
change: what comes late makes a new edition, `hour-<HH>-2` and so on, and the former one goes.

No other file spells a directory. What this module cannot parse is not part of the lake: it is
reported by `Parts.strangers` of `lake.parts` and never read. Temporary files begin with a dot.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import IntEnum
from pathlib import PurePosixPath
from typing import Final, NamedTuple, Self

from lake.errors import BadName
from lake.schema import BLOCKS, CARRIES, MAINTENANCE, SEGMENTS, SEQ_BITS, TABLES, Table

_OWN: Final = (SEGMENTS, BLOCKS, CARRIES, MAINTENANCE)
MARKER: Final = "_lake.json"
WATERMARKS: Final = "_watermarks.json"
TRASH: Final = "_trash"
QUARANTINE: Final = "_quarantine"
SUFFIX: Final = ".parquet"
WAL: Final = ".wal"
STATE: Final = ".state"
HOT: Final = "hot"
STREAM: Final = ".arrows"
_RANGE = re.compile(r"([a-z0-9]+)-(\d+)-(\d+)-(\d+)")
_WAL_NAME = re.compile(r"([a-z0-9]+)-(\d+)-(\d+)(?:-(\d+))?\.wal")
_STATE_NAME = re.compile(r"([a-z0-9]+)-(\d+)-(\d+)\.state")
_HOT_NAME = re.compile(r"([a-z0-9]+)-(\d+)-(\d+)\.arrows")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_VALUE = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_MERGED = re.compile(r"(?:(hour)-([01]\d|2[0-3])|(day)|(month))(?:-([1-9]\d*))?")
_STAMP: Final = "%Y%m%dT%H%M%S"


class Life(NamedTuple):
    """One collector's run from its start to its end; epochs count them."""

    collector: str
    epoch: int

    def __str__(self) -> str:
        return f"{self.collector}-{self.epoch}"


@dataclass(frozen=True, slots=True, order=True)
class SeqRange:
    """The frames of one segment: first and last `seq`, both included."""

    collector: str
    epoch: int
    first: int
    last: int

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+", self.collector):
            raise BadName(f"collector {self.collector!r}: use lower-case letters and digits only")
        if not self.first <= self.last or self.first >> SEQ_BITS != self.epoch or self.last >> SEQ_BITS != self.epoch:
            raise BadName(f"sequence range {self.first}..{self.last} is not within epoch {self.epoch}")

    @property
    def name(self) -> str:
        """`<collector>-<epoch>-<first_seq>-<last_seq>`."""
        return f"{self.collector}-{self.epoch}-{self.first}-{self.last}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """The range that `name` spells; raises `BadName`."""
        found = _RANGE.fullmatch(name)
        if found is None:
            raise BadName(f"{name!r} is no sequence range")
        return cls(found[1], *(int(number) for number in found.groups()[1:]))


class Level(IntEnum):
    """How much one file of a raw table holds."""

    SEGMENT = 0
    HOUR = 1
    DAY = 2
    MONTH = 3


@dataclass(frozen=True, slots=True)
class Merged:
    """What the name of a merged file says."""

    level: Level
    hour: int | None = None
    edition: int = 1

    @property
    def name(self) -> str:
        """`hour-HH`, `day` or `month`, with the edition from the second on."""
        stem = self.level.name.lower() if self.hour is None else f"hour-{self.hour:02}"
        return stem if self.edition == 1 else f"{stem}-{self.edition}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """What `name` says, if it is that of a merged file."""
        found = _MERGED.fullmatch(name)
        if found is None:
            return None
        merged = cls(
            Level[(found[1] or found[3] or found[4]).upper()], int(found[2]) if found[2] else None, int(found[5] or 1)
        )
        return merged if merged.name == name else None


@dataclass(frozen=True, slots=True)
class Part:
    """One published file: its table, its partition values in the table's order, its name."""

    table: Table
    values: tuple[str, ...]
    name: str

    @property
    def partition(self) -> Mapping[str, str]:
        """Partition column to value, as spelled in the path."""
        return dict(zip(self.table.partitions, self.values, strict=True))

    @property
    def day(self) -> date:
        """Its partition's day."""
        return date.fromisoformat(self.partition["date"])

    @property
    def path(self) -> PurePosixPath:
        """Below the lake's root."""
        folders = (f"{key}={value}" for key, value in self.partition.items())
        return PurePosixPath(folder(self.table), *folders, self.name + SUFFIX)


def folder(table: Table) -> str:
    """The table's folder. What is the lake's own is out of the way of a glob over the tables."""
    return f"_{table.name}" if table in _OWN else table.name


def part(table: Table, name: str, **partition: str | date) -> Part:
    """The file of that name and partition; raises `BadName` on a missing, odd or unsafe value."""
    if set(partition) != set(table.partitions):
        raise BadName(f"{table.name}: wants the partitions {list(table.partitions)}, got {sorted(partition)}")
    values = tuple(_spell(key, partition[key]) for key in table.partitions)
    if not _NAME.fullmatch(name):
        raise BadName(f"{table.name}: {name!r} is no file name; use a-z, 0-9, _ and -")
    return Part(table, values, name)


def parse(path: PurePosixPath) -> Part:
    """The part that a path below the root names; raises `BadName`."""
    table = _FOLDERS.get(path.parts[0]) if path.parts else None
    if table is None or path.suffix != SUFFIX or len(path.parts) != len(table.partitions) + 2:
        raise BadName(f"{path}: is no file of a table")
    partition: dict[str, str | date] = {}
    for text, key in zip(path.parts[1:-1], table.partitions, strict=True):
        found, _, value = text.partition("=")
        if found != key:
            raise BadName(f"{path}: found {text!r} where {key}= belongs")
        partition[key] = value
    found_part = part(table, path.stem, **partition)
    if found_part.path != path:
        raise BadName(f"{path}: is spelled {found_part.path}")
    return found_part


def wal_name(life: Life, number: int, attempt: int = 0) -> str:
    """The name of a file of the write-ahead log that begins with that record; later attempts count from 1."""
    return f"{life}-{number}{f'-{attempt}' if attempt else ''}{WAL}"


def parse_wal(name: str) -> tuple[Life, int, int] | None:
    """Life, first record and attempt that `wal_name` spelled so; None if it is no such name."""
    found = _WAL_NAME.fullmatch(name)
    return None if found is None else (Life(found[1], int(found[2])), int(found[3]), int(found[4] or 0))


def state_name(life: Life, number: int) -> str:
    """The name of what was known just before that record."""
    return f"{life}-{number}{STATE}"


def parse_state(name: str) -> tuple[Life, int] | None:
    """Life and record that `state_name` spelled so; None if it is no such name."""
    found = _STATE_NAME.fullmatch(name)
    return None if found is None else (Life(found[1], int(found[2])), int(found[3]))


def hot_path(table: str, venue: str, life: Life, first_seq: int) -> PurePosixPath:
    """Where the rows of a segment that is not published lie, below the lake's local folder."""
    return PurePosixPath(HOT, table, f"venue={venue}", f"{life}-{first_seq}{STREAM}")


def parse_hot(name: str) -> tuple[Life, int] | None:
    """Life and first `seq` that the name of such a file spells; None if it is no such name."""
    found = _HOT_NAME.fullmatch(name)
    return None if found is None else (Life(found[1], int(found[2])), int(found[3]))


def stamp(now: datetime) -> str:
    """The folder within the trash of what was moved there at `now`."""
    return now.strftime(_STAMP)


def stamped(name: str) -> datetime | None:
    """When a folder of the trash was made; None = it is none."""
    try:
        found = datetime.strptime(name, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return found if stamp(found) == name else None


def is_name(name: str) -> bool:
    """Whether a file of a table can have that name, without its suffix."""
    return _NAME.fullmatch(name) is not None


def _spell(key: str, value: str | date) -> str:
    if key == "date":
        try:
            return (value if isinstance(value, date) else date.fromisoformat(value)).isoformat()
        except ValueError:
            raise BadName(f"date={value}: is no day; write YYYY-MM-DD") from None
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise BadName(f"{key}={value}: use lower-case letters, digits, ., _ and -")
    return value


_FOLDERS: Final = {folder(table): table for table in TABLES.values()}
