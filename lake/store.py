"""The lake's files: publish each whole, scan lazily, know what is there.

A reader, ours or a plain glob, sees a whole file or none, in a folder as in a bucket: see `lake.files`. Raw files never
change; derived files are replaced whole. This file alone decides what is written below the lake's root.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Self, TypeVar

import polars as pl
import pyarrow.parquet as pq
from pyarrow import ArrowInvalid

from lake import layout
from lake.covers import FOOTER, Cover, Ranges, holds, meet, uncovered
from lake.errors import (
    BadName,
    LakeError,
    LakeMismatch,
    LakeMissing,
    LakeUnreachable,
    LakeUnwritable,
    PublishConflict,
)
from lake.files import Files, Folder
from lake.hot import Rows
from lake.hot import read as read_hot
from lake.layout import Level, Merged, Part, SeqRange
from lake.place import Place, absolute, place
from lake.rowhash import rows_hash
from lake.schema import SCHEMA_VERSION, SEALED, SEGMENTS, TABLES, Table
from lake.vocab import Mode

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

ROW_GROUP: Final = 100_000

_RECEIVED: Final = "received_time"
_MAGIC: Final = b"PAR1"
_LEAST: Final = 12  # bytes: the mark twice, and the length of the footer

_COVERS: Final[dict[str, tuple[object, Cover | None]]] = {}
"""What the footers of merged files say, read once a version."""

T = TypeVar("T")


def files_at(root: Place) -> Files:
    """The files of the lake there."""
    if isinstance(root, Path):
        return Folder(root)
    from lake.bucket import BucketFiles  # who has a folder does without it

    return BucketFiles(root)


def _free() -> None:
    """Nobody has to be asked before a file is written."""


@dataclass(frozen=True, slots=True)
class Store:
    """One lake: `create` it to write, `open` it to read."""

    root: Place
    mode: str  # the lake's name: simulated, replay or live
    files: Files = field(compare=False, repr=False)
    require_owner: Callable[[], None] = field(default=_free, compare=False, repr=False)
    """Called before each write; raises `LakeError` if this process may not."""
    least_epoch: int = field(default=0, compare=False)
    """What a collector's next epoch is at least."""

    @classmethod
    def create(cls, root: str | Place, mode: Mode) -> Self:
        """The lake at `root`, made if it is not there. Raises `LakeUnwritable`, `LakeMismatch`, `SettingError`."""
        where = place(root)
        files, text = files_at(where), _marker({"mode": mode.lake, "schema_version": SCHEMA_VERSION})
        try:
            files.prepare()
            if files.stat(layout.MARKER) is None:
                with suppress(FileExistsError):
                    files.create(layout.MARKER, lambda path: path.write_text(text))
            else:
                _migrate(files)
            files.require_conditions(layout.MARKER)
        except OSError as exc:
            kind = "folder" if isinstance(where, Path) else "bucket"
            raise LakeUnwritable(
                f"lake {where}: {_reason(exc)}; give a {kind} that can be written as LAKE_URI"
            ) from exc
        return cls.open(where, mode)

    @classmethod
    def open(cls, root: str | Place, mode: Mode | None = None) -> Self:
        """The lake at `root`. Raises `LakeMissing`, `LakeUnreachable`; `LakeMismatch` for another mode or newer."""
        where = place(root)
        files = files_at(where)
        try:
            found = json.loads(files.read(layout.MARKER))
            name, version = str(found["mode"]), int(found["schema_version"])
        except (FileNotFoundError, NotADirectoryError):
            raise LakeMissing(
                f"lake {absolute(where)}: there is none; fill one first, with `movers up` or `movers replay PATH`"
            ) from None
        except ConnectionError as exc:
            raise LakeUnreachable(f"lake {where}: {_reason(exc)}; try again later") from exc
        except OSError as exc:
            raise LakeMissing(f"lake {absolute(where)}: cannot be read: {_reason(exc)}") from exc
        except (ValueError, KeyError, TypeError) as exc:
            marker = files.address(layout.MARKER)
            raise LakeMismatch(f"{marker}: is no lake marker; give another folder or restore that file") from exc
        if version > SCHEMA_VERSION:
            raise LakeMismatch(
                f"lake {where}: has schema {version}, this program knows {SCHEMA_VERSION}; update the program"
            )
        if mode is not None and name != mode.lake:
            raise LakeMismatch(f"lake {where}: holds {name!r} data, not {mode.lake!r}; give another folder as LAKE_URI")
        return cls(where, name, files)

    @property
    def name(self) -> str:
        """The lake's place as text that means the same from every folder."""
        return str(absolute(self.root))

    @property
    def local(self) -> Path:
        """The folder for what stays on this machine: WAL, hot rows, locks. It may have to be made."""
        return self.root if isinstance(self.root, Path) else self.root.local

    def path(self, part: Part) -> Path:
        """Where `part` lies, of a lake in a folder. Raises `LakeError` of any other."""
        if not isinstance(self.root, Path):
            raise LakeError(f"lake {self.root}: is in a bucket, where {part.path} has no path on this machine")
        return self.root / part.path

    def address(self, part: Part) -> str:
        """Where an engine finds `part`."""
        return self.files.address(str(part.path))

    def arrow(self) -> tuple["FileSystem", str]:
        """The file system of pyarrow that holds this lake, and the lake's root in it."""
        return self.files.arrow()

    def exists(self, part: Part) -> bool:
        """Whether `part` is there."""
        return self.files.stat(str(part.path)) is not None

    def published(self, parts: Iterable[Part]) -> dict[Part, int]:
        """Those of `parts` that are there, in their order, with when they were published, nanoseconds."""
        paths = {str(part.path): part for part in parts}
        return {paths[path]: stat.modified for path, stat in self.files.stats(paths).items()}

    def born(self) -> tuple[int, str] | None:
        """When the lake was made or brought up to date, nanoseconds, and which one it is; None = it is gone."""
        stat = self.files.stat(layout.MARKER)
        return None if stat is None else (stat.modified, stat.version)

    def days(self, table: Table) -> list[date]:
        """The days that have a folder in `table`, in order, without a look at the files."""
        return sorted({date.fromisoformat(_day(folder)) for folder in self._day_folders(table)})

    def mark(self, table: Table) -> tuple[int, int] | None:
        """Another one when a file came to the newest day of `table`, or left it; first, when that was, nanoseconds."""
        folders = self._day_folders(table)
        newest = max(map(_day, folders), default=None)
        marks = [mark for folder in folders if _day(folder) == newest and (mark := self.files.mark(folder))]
        return (max(time for time, _ in marks), sum(more for _, more in marks)) if marks else None

    def _day_folders(self, table: Table) -> list[str]:
        folders = self.files.folders(layout.folder(table), [None] * len(table.partitions))
        return [folder for folder in folders if _is_day(_day(folder))]

    def parts(
        self, table: Table, *, venues: Collection[str] | None = None, dates: Collection[date] | None = None
    ) -> list[Part]:
        """The table's published files in path order, of those venues and days if given; none that another one covers.

        A merged file is found by each day that it covers.
        """
        if table not in SEALED or dates is None:
            found = self.listed(table, venues=venues, dates=dates)
            return self._uncovered(found, None) if table in SEALED else found
        looked = {day for date in dates for day in (date, date.replace(day=1))}
        return self._uncovered(self.listed(table, venues=venues, dates=looked), {day.isoformat() for day in dates})

    def listed(
        self, table: Table, *, venues: Collection[str] | None = None, dates: Collection[date] | None = None
    ) -> list[Part]:
        """The files in the table's folders in path order, covered ones too; of those venues and partitions if given."""
        wanted = {"venue": venues, "date": None if dates is None else {day.isoformat() for day in dates}}
        found: list[Part] = []
        for folder, names in self.files.tree(layout.folder(table), [wanted.get(key) for key in table.partitions]):
            first = _parse(f"{folder}/x{layout.SUFFIX}")
            if first is not None:
                stems = (name.removesuffix(layout.SUFFIX) for name in sorted(names) if name.endswith(layout.SUFFIX))
                found += [Part(table, first.values, stem) for stem in stems if layout.is_name(stem)]
        return found

    def _uncovered(self, parts: list[Part], days: Collection[str] | None) -> list[Part]:
        """Of sealed and merged files those that no other one covers and that are of these days."""
        groups: dict[str | None, list[Part]] = {}
        for part in parts:
            groups.setdefault(part.partition.get("venue"), []).append(part)
        found: list[Part] = []
        for group in groups.values():
            levels = {part: merged for part in group if (merged := Merged.parse(part.name)) is not None}
            if levels:
                rank = {part: (merged.level, merged.edition) for part, merged in levels.items()}
                group.sort(key=lambda part: rank.get(part, (Level.SEGMENT, 0)))
                group = uncovered({part: self.spans(part) for part in group})
            found += (part for part in group if days is None or self._is_of(part, days))
        return sorted(found, key=lambda part: (part.values, part.name))

    def _is_of(self, part: Part, days: Collection[str]) -> bool:
        if part.partition["date"] in days and Merged.parse(part.name) is None:
            return True
        first, last = self.days_of(part)
        return any(first.isoformat() <= day <= last.isoformat() for day in days)

    def spans(self, part: Part) -> Ranges:
        """The sequence ranges of a raw table's file: of its name, or its footer; none if neither says any."""
        cover = self.cover(part)
        if cover is not None:
            return cover.ranges
        try:
            return (SeqRange.parse(part.name),)
        except BadName:
            return ()

    def days_of(self, part: Part) -> tuple[date, date]:
        """The first and the last day of which a file holds segments: its partition's, or what its footer says."""
        cover = self.cover(part)
        return (part.day, part.day) if cover is None else (cover.first_date, cover.last_date)

    def cover(self, part: Part) -> Cover | None:
        """What the footer of a merged file says, read once; None if it is no merged file, or cannot be read."""
        if part.table not in SEALED or Merged.parse(part.name) is None:
            return None
        place = self.address(part)
        try:
            stat = self.files.stat(str(part.path))
            if stat is None:
                return None
            known = _COVERS.get(place)
            if known is None or known[0] != stat:
                text = (self._footer(part).metadata or {}).get(FOOTER)
                known = _COVERS[place] = (stat, None if text is None else Cover.load(text))
            return known[1]
        except (OSError, ArrowInvalid, LakeError):  # whoever reads its rows meets the fault, and says it
            return None

    def _footer(self, part: Part) -> pq.FileMetaData:
        system, root = self.arrow()
        return pq.read_metadata(f"{root}/{part.path}", filesystem=system)

    def scan(
        self, table: Table, *, venues: Collection[str] | None = None, dates: Collection[date] | None = None
    ) -> pl.LazyFrame:
        """The table's rows, lazily, with its partition columns: published or not yet, each once."""
        fresh = self.fresh(table, venues)  # before the files are listed: what is sealed meanwhile is in one of the two
        parts = self.parts(table, venues=venues, dates=dates)
        return self.with_hot(self.scan_parts(table, parts), fresh, parts, dates)

    def fresh(self, table: Table, venues: Collection[str] | None = None) -> list[Rows]:
        """The rows of segments that were not published a moment ago; list the published files after this."""
        return read_hot(self.local, table, venues) if "venue" in table.partitions else []

    def with_hot(
        self,
        rows: pl.LazyFrame,
        fresh: Collection[Rows],
        parts: Collection[Part],
        dates: Collection[date] | None = None,
    ) -> pl.LazyFrame:
        """`rows`, and of `fresh` what none of the table's published files `parts` holds, of those days if given."""
        spans = [span for part in parts for span in self.spans(part)] if fresh else []
        found = [rows]
        for one in fresh:
            lives = (span for span in spans if (span.collector, span.epoch) == one.life)
            if not any(span.first <= one.first_seq <= span.last for span in lives):
                found.append(one.rows.lazy() if dates is None else one.rows.lazy().filter(pl.col("date").is_in(dates)))
        return pl.concat(found) if len(found) > 1 else rows

    def scan_parts(self, table: Table, parts: Collection[Part]) -> pl.LazyFrame:
        """The rows of these files of `table`, lazily; columns that an older file lacks are null.

        One scan a partition, its values as literals: an engine's own reading of `key=value` folders
        would also take those above the lake's root for partitions.
        """
        groups: dict[tuple[str, ...], list[str]] = {}
        for part in parts:
            groups.setdefault(part.values, []).append(self.address(part))
        if not groups:
            return table.empty()
        engine = self.files.polars()
        scans = [
            pl.scan_parquet(
                addresses,
                schema=dict(table.columns),
                hive_partitioning=False,
                missing_columns="insert",
                extra_columns="ignore",
                glob=False,
                **engine,
            ).with_columns(
                pl.lit(date.fromisoformat(value) if key == "date" else value).alias(key)
                for key, value in zip(table.partitions, values, strict=True)
            )
            for values, addresses in groups.items()
        ]
        return pl.concat(scans).select(*table.schema)

    def load(self, part: Part) -> pl.DataFrame:
        """One file's own columns. Raises `LakeError` if it is damaged, `LakeUnreachable`."""
        try:
            is_here = isinstance(self.root, Path)
            source = self.path(part) if is_here else BytesIO(self.files.read(str(part.path)))
            return pl.read_parquet(source, hive_partitioning=False)
        except ConnectionError as exc:
            raise LakeUnreachable(f"{self.address(part)}: {_reason(exc)}; try again later") from exc
        except (pl.exceptions.PolarsError, OSError) as exc:
            advice = "move it away and fill that day again"
            raise LakeError(f"{self.address(part)}: cannot be read ({exc}); {advice}") from exc

    def damaged(self) -> list[Part]:
        """The files of all tables that are cut, overwritten or unreadable: without Parquet's mark at both ends."""
        parts = (part for table in TABLES.values() for part in self.parts(table))
        return [part for part in parts if not self._is_whole(part)]

    def require_whole(self, exc: Exception) -> None:
        """Raise `LakeError` from `exc` if a file is damaged."""
        damaged = self.damaged()
        if damaged:
            more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
            advice = "move it away and replay or collect that day again"
            raise LakeError(f"{self.address(damaged[0])}: is damaged{more}; {advice}") from exc

    def again(self, work: Callable[[], T]) -> T:
        """What `work` returns, done again if a file was lost under it, as one is that was merged into another.

        Not more often than rows can move in one pass of maintenance: to an hour's, a day's and a month's file.
        """
        for _ in (Level.HOUR, Level.DAY, Level.MONTH):
            try:
                return work()
            except Exception as exc:  # every engine has its own
                if not _is_lost(exc):
                    raise
        return work()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Where an engine fails within this and a file is damaged, raise `LakeError` that names it.

        Raises `LakeUnreachable` where the object store does not answer.
        """
        try:
            try:
                yield
            except ConnectionError:
                raise
            except (pl.exceptions.PolarsError, OSError) as exc:
                self.require_whole(exc)
                raise
        except ConnectionError as exc:
            raise LakeUnreachable(f"lake {self.root}: {_reason(exc)}; try again later") from exc

    def strangers(self) -> list[PurePosixPath]:
        """Files below the tables' folders that are none of the lake's: reported, never read."""
        paths = (path for table in TABLES.values() for path in self.files.walk(layout.folder(table)))
        return [PurePosixPath(path) for path in paths if _parse(path) is None]

    def publish(self, part: Part, frame: pl.DataFrame) -> bool:
        """Write a file that never changes; False if it is there already with the same rows.

        Raises `PublishConflict` if it is there with other rows, `LakeUnwritable` if it cannot be written.
        """
        with self._writing(part):
            if self._is_merged(part):
                return False
        return self._publish(part, frame)

    def _publish(self, part: Part, frame: pl.DataFrame) -> bool:
        frame = part.table.conform(frame)
        with suppress(FileExistsError):
            return self.write_new(part, lambda path: _write_parquet(frame, path))
        there = self.load(part)
        known = [name for name in frame.columns if name in there.columns]  # an older program may have known fewer
        if there.select(known).equals(frame.select(known)):
            return False
        raise PublishConflict(
            f"{part.path}: is there with other rows, as after a change of the parsers; use a fresh lake folder"
        )

    def _is_merged(self, part: Part) -> bool:
        """Whether the rows of a segment are in a merged file already."""
        if part.table not in SEALED:
            return False
        month = part.day.replace(day=1).isoformat()
        for day in {part.partition["date"], month}:
            values = (*part.values[:-1], day)
            for _, names in self.files.tree(layout.folder(part.table), [{value} for value in values]):
                for name in names:
                    other = Part(part.table, values, name.removesuffix(layout.SUFFIX))
                    if Merged.parse(other.name) is not None and holds(self.spans(other), self.spans(part)):
                        return True
        return False

    def replace(self, part: Part, frame: pl.DataFrame) -> None:
        """Write a derived file over its former self, atomically; no rows removes it."""
        if frame.is_empty():
            self.remove(part)
            return
        conformed = part.table.conform(frame)
        self.write_over(part, lambda path: _write_parquet(conformed, path))

    def write_new(self, part: Part, write: Callable[[Path], object]) -> bool:
        """Publish the Parquet file that `write` makes of a local path; False if the same bytes are there already.

        Raises `FileExistsError` if other bytes may be there, `LakeUnwritable` if it cannot be written.
        """
        with self._writing(part):
            return self.files.create(str(part.path), write)

    def write_over(self, part: Part, write: Callable[[Path], object]) -> None:
        """The same, over whatever is there, atomically."""
        with self._writing(part):
            self.files.replace(str(part.path), write)

    def remove(self, part: Part) -> None:
        """Remove a file; one that is not there is no fault."""
        self.require_owner()
        self.files.remove(str(part.path))

    def move(self, part: Part, to: PurePosixPath) -> None:
        """Give a file another path below the root, as one in `_trash`. Raises `FileNotFoundError`."""
        self.require_owner()
        self.files.move(str(part.path), str(to))

    def publish_file(
        self, part: Part, write: Callable[[Path], object], check: Callable[[Path], object] = lambda path: None
    ) -> None:
        """Publish the new file that `write` makes at the path that it is given.

        `check` looks at what was written; if that raises, nothing is published. Raises `LakeUnwritable`, `LakeError`.
        """

        def checked(path: Path) -> None:
            write(path)
            check(path)

        try:
            self.write_new(part, checked)
        except FileExistsError as exc:
            raise LakeError(f"{self.address(part)}: is there already; nobody else may merge on this lake") from exc

    def metadata(self, part: Part) -> pq.FileMetaData:
        """The file's footer. Raises `LakeError` if it is damaged."""
        try:
            return self._footer(part)
        except (OSError, ArrowInvalid) as exc:
            advice = "move it away and fill that day again"
            raise LakeError(f"{self.address(part)}: cannot be read ({exc}); {advice}") from exc

    def rows(self, part: Part) -> int:
        """The file's rows by its footer; 0 if it is damaged or gone."""
        try:
            return int(self.metadata(part).num_rows)
        except LakeError:
            return 0

    def size(self, part: Part) -> int:
        """The file's bytes; 0 if it is gone."""
        stat = self.files.stat(str(part.path))
        return 0 if stat is None else stat.size

    def written(self, part: Part) -> datetime | None:
        """When the file was last written, by the disk's clock; None if it is gone."""
        stat = self.files.stat(str(part.path))
        return None if stat is None else _instant(stat.modified)

    def trash(self, parts: Collection[Part], now: datetime) -> int:
        """Move files out of the tables into the trash; their bytes. What is gone already is no fault."""
        freed = 0
        for part in parts:
            size = self.size(part)
            with suppress(FileNotFoundError):
                self.move(part, PurePosixPath(layout.TRASH, layout.stamp(now), part.path))
                freed += size
        return freed

    def empty_trash(self, before: datetime) -> int:
        """Remove what was moved to the trash before then; its bytes. A folder of another name is left alone."""
        freed, emptied = 0, set[str]()
        self.require_owner()
        for path in self.files.walk(layout.TRASH):
            folder = PurePosixPath(path).parts[1]
            moved = layout.stamped(folder)
            if moved is not None and moved < before:
                stat = self.files.stat(path)
                freed += 0 if stat is None else stat.size
                self.files.remove(path)
                emptied.add(folder)
        for folder in emptied:
            self.files.prune(f"{layout.TRASH}/{folder}")
        return freed

    def sweep(self, before: datetime) -> int:
        """Remove temporary files last written before then, of writers that were killed; how many."""
        swept = 0
        self.require_owner()
        for table in TABLES.values():
            for path in self.files.walk(layout.folder(table)):
                name = PurePosixPath(path).name
                if not (name.startswith(".") and name.endswith(".tmp")):
                    continue
                stat = self.files.stat(path)
                if stat is not None and _instant(stat.modified) < before:
                    self.files.remove(path)
                    swept += 1
        return swept

    def publish_segment(
        self,
        span: SeqRange,
        day: date,
        frames: int,
        tables: Mapping[tuple[Table, str], pl.DataFrame],
        input_digest: str | None,
        *,
        ends: tuple[int, int] | None = None,
        keep: bool = False,
    ) -> int:
        """Publish a segment's rows, one file a table and venue, then its lines in `segments`.

        `tables` maps (table, venue) to that segment's rows; empty frames leave no file. `ends` are the times of its
        first and last frame by our clock, microseconds. Returns the rows that were new. Doing it twice, or again after
        a crash in the middle, changes nothing. With `keep`, a file that is there already stands, whatever its rows.
        """
        ledger_part = layout.part(SEGMENTS, span.name, date=day)
        with self._writing(ledger_part):
            if self._is_merged(ledger_part):  # and with it, or later, the segment's files
                return 0
        added, lines, hashes = 0, [], list[int]()
        for (table, venue), frame in tables.items():
            if frame.is_empty():
                continue
            part = layout.part(table, span.name, venue=venue, date=day)
            if keep and self.exists(part):
                frame = self.load(part)
            else:
                added += frame.height if self._publish(part, frame) else 0
            size = self.size(part)
            lines.append(
                (table.name, venue, day, frame.height, size, *_ends(frame, table.time), *_ends(frame, _RECEIVED))
            )
            hashes.append(rows_hash(frame))
        head = (span.collector, span.epoch, span.first, span.last, frames)
        tail = (input_digest, *(ends or (None, None)))
        rows: list[tuple[object, ...]] = [
            (*head, *line, *tail, found) for line, found in zip(lines, hashes, strict=True)
        ]
        ledger = SEGMENTS.frame(rows or [(*head, None, None, None, 0, 0, *[None] * 4, *tail, None)])
        self._publish(ledger_part, ledger)
        return added

    def watermark(self, job: str) -> dict[str, int]:
        """How far a derived table has come: `<collector>-<epoch>` to the last `seq` that it holds."""
        return self._watermarks().get(job, {})

    def set_watermark(self, job: str, reached: Mapping[str, int]) -> None:
        """Note how far `job` has come, after its files are published: a crash before this repeats the work."""
        marks = {**self._watermarks(), job: dict(sorted(reached.items()))}
        self.require_owner()
        try:
            text = json.dumps(marks, indent=1) + "\n"
            self.files.replace(layout.WATERMARKS, lambda path: path.write_text(text))
        except OSError as exc:
            raise LakeUnwritable(f"{self.files.address(layout.WATERMARKS)}: {_reason(exc)}") from exc

    def _watermarks(self) -> dict[str, dict[str, int]]:
        try:
            found: dict[str, dict[str, int]] = json.loads(self.files.read(layout.WATERMARKS))
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            address = self.files.address(layout.WATERMARKS)
            raise LakeError(f"{address}: is damaged; remove it, and the derived tables are computed anew") from exc
        return found

    @contextmanager
    def _writing(self, part: Part) -> Iterator[None]:
        self.require_owner()
        try:
            yield
        except FileExistsError:
            raise
        except OSError as exc:
            raise LakeUnwritable(f"{self.address(part)}: {_reason(exc)}; nothing of that file was published") from exc
        except pl.exceptions.PolarsError as exc:  # what Polars makes of a disk that is full
            reason = " ".join(str(exc).split())[:300]
            raise LakeUnwritable(
                f"{self.address(part)}: cannot be written ({reason}); nothing of that file was published"
            ) from exc

    def _is_whole(self, part: Part) -> bool:
        """Whether a file begins and ends as Parquet does, its footer's length and mark; one just gone is no damage."""
        try:
            head, tail, size = self.files.edges(str(part.path), len(_MAGIC), 8)
        except FileNotFoundError:
            return True
        except ConnectionError:
            raise
        except OSError:
            return False
        return head == tail[4:] == _MAGIC and int.from_bytes(tail[:4], "little") + _LEAST <= size


def of_segments(store: Store, table: Table, parts: Iterable[Part], spans: Sequence[SeqRange]) -> pl.LazyFrame:
    """The rows that these segments left in these files: of a segment's file all, of a merged one by their `seq`."""
    found = [part for part in parts if meet(store.spans(part), spans)]
    merged = [part for part in found if store.cover(part) is not None]
    whole = store.scan_parts(table, [part for part in found if part not in merged])
    if not merged:
        return whole
    is_in = pl.any_horizontal(pl.col("seq").is_between(span.first, span.last) for span in spans)
    return pl.concat([whole, store.scan_parts(table, merged).filter(is_in)])


def _marker(facts: Mapping[str, object]) -> str:
    return json.dumps(facts) + "\n"


def _migrate(files: Files) -> None:
    """Write the present schema's number into an older lake's marker: what older files lack is read as null."""
    with suppress(ValueError, KeyError, TypeError):  # `open` says what is wrong with it
        found = json.loads(files.read(layout.MARKER))
        if int(found["schema_version"]) < SCHEMA_VERSION:
            text = _marker({**found, "schema_version": SCHEMA_VERSION})
            files.replace(layout.MARKER, lambda path: path.write_text(text))


def _parse(path: str) -> Part | None:
    try:
        return layout.parse(PurePosixPath(path))
    except BadName:
        return None


def _day(folder: str) -> str:
    return folder.rpartition("date=")[2]


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _ends(frame: pl.DataFrame, time: str | None) -> tuple[int | None, int | None]:
    """The first and the last instant in that column, microseconds; None if there is none."""
    if time is None or time not in frame.columns:
        return None, None
    column = frame[time].to_physical()
    return column.min(), column.max()  # type: ignore[return-value]


def _instant(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def _is_lost(exc: Exception) -> bool:
    """Whether an engine did not find a file that it was told to read."""
    return isinstance(exc, FileNotFoundError) or "No such file" in str(exc)


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path, compression="zstd", compression_level=3, row_group_size=ROW_GROUP)


def _reason(exc: OSError) -> str:
    text = exc.strerror or str(exc)
    return text[:1].lower() + text[1:]
