"""The files of one lake, to be read: which there are, what they hold, their rows lazily.

A reader, ours or a plain glob, sees a whole file or none, in a folder as in a bucket: see `lake.files`. What a merged
file covers is left out, and rows that are in no file yet are added, so that each row is read once.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import polars as pl
import pyarrow.parquet as pq

from lake import layout, parquet
from lake.covers import FOOTER, Cover, Ranges, meet, uncovered
from lake.errors import BadName, LakeError, LakeMismatch, LakeMissing, LakeUnreachable
from lake.files import Files, Folder
from lake.hot import Rows
from lake.hot import read as read_hot
from lake.layout import Level, Merged, Part, SeqRange
from lake.place import Place, absolute, place
from lake.schema import SCHEMA_VERSION, SEALED, TABLES, Table
from lake.vocab import Mode

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_COVERS: Final[dict[str, tuple[object, Cover | None]]] = {}
"""What the footers of merged files say, read once a version."""

AGAIN: Final = 20
"""How often a reader looks again after a file was lost under it."""

T = TypeVar("T")


def files_at(root: Place) -> Files:
    """The files of the lake there."""
    if isinstance(root, Path):
        return Folder(root)
    from lake.bucket import BucketFiles  # who has a folder does without it

    return BucketFiles(root)


@dataclass(frozen=True, slots=True)
class Parts:
    """One lake, to be read: `open` it."""

    root: Place
    mode: str  # the lake's name: simulated, replay or live
    files: Files = field(compare=False, repr=False)

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
            raise LakeUnreachable(f"lake {where}: {reason(exc)}; try again later") from exc
        except OSError as exc:
            raise LakeMissing(f"lake {absolute(where)}: cannot be read: {reason(exc)}") from exc
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
        """What the footer of a merged file says, read once; None if it is no merged file, gone or damaged.

        Raises `OSError` where it cannot be had now: taken for no cover, its rows would be read twice.
        """
        if part.table not in SEALED or Merged.parse(part.name) is None:
            return None
        place = self.address(part)
        stat = self.files.stat(str(part.path))
        known = _COVERS.get(place)
        if stat is None or (known is not None and known[0] == stat):
            return None if stat is None or known is None else known[1]
        try:
            text = (parquet.footer(self.files, str(part.path)).metadata or {}).get(FOOTER)
            cover = None if text is None else Cover.load(text)
        except (LakeError, FileNotFoundError):  # whoever reads its rows meets the fault, and says it
            return None
        _COVERS[place] = (stat, cover)
        return cover

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
        """The rows of these files of `table`, lazily, in their order; columns that an older file lacks are null.

        One scan takes the partition values from the paths. Where a folder above the lake has a column's name, as in
        date=x/lake, an engine cannot tell the two apart: then it is a scan a partition, its values as literals.
        """
        if not parts:
            return table.empty()
        above = [name.partition("=")[0] for name in self.files.address("").split("/") if "=" in name]
        if not table.schema.keys() & above:
            types = dict.fromkeys(above, pl.String()) | {key: table.schema[key] for key in table.partitions}
            return self._scan(table, parts, hive_partitioning=True, hive_schema=types).select(*table.schema)
        groups: dict[tuple[str, ...], list[Part]] = {}
        for part in parts:
            groups.setdefault(part.values, []).append(part)
        scans = [
            self._scan(table, group, hive_partitioning=False).with_columns(
                pl.lit(date.fromisoformat(value) if key == "date" else value).alias(key)
                for key, value in zip(table.partitions, values, strict=True)
            )
            for values, group in groups.items()
        ]
        return pl.concat(scans).select(*table.schema)

    def _scan(self, table: Table, parts: Iterable[Part], **options: Any) -> pl.LazyFrame:
        return pl.scan_parquet(
            [self.address(part) for part in parts],
            schema=dict(table.columns),
            missing_columns="insert",
            extra_columns="ignore",
            glob=False,
            **options,
            **self.files.polars(),
        )

    def load(self, part: Part) -> pl.DataFrame:
        """One file's own columns. Raises `LakeError` if it is damaged, `LakeUnreachable`."""
        with self._opening(part):
            is_here = isinstance(self.root, Path)
            source = self.path(part) if is_here else BytesIO(self.files.read(str(part.path)))
            return pl.read_parquet(source, hive_partitioning=False)

    @contextmanager
    def _opening(self, part: Part) -> Iterator[None]:
        """What goes wrong with that file within this, as an error that names it."""
        try:
            yield
        except ConnectionError as exc:
            raise LakeUnreachable(f"{self.address(part)}: {reason(exc)}; try again later") from exc
        except (pl.exceptions.PolarsError, LakeError, OSError) as exc:
            advice = "move it away and fill that day again"
            raise LakeError(f"{self.address(part)}: cannot be read ({exc}); {advice}") from exc

    def metadata(self, part: Part) -> pq.FileMetaData:
        """The file's footer. Raises `LakeError` if it is damaged, `LakeUnreachable`."""
        with self._opening(part):
            return parquet.footer(self.files, str(part.path))

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
        return None if stat is None else instant(stat.modified)

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

    def _is_whole(self, part: Part) -> bool:
        """Whether a file begins and ends as Parquet does; one just gone is no damage."""
        try:
            return parquet.is_whole(self.files, str(part.path))
        except FileNotFoundError:
            return True
        except ConnectionError:
            raise
        except OSError:
            return False

    def again(self, work: Callable[[], T]) -> T:
        """What `work` returns, done again if a file was lost under it, as one is that was merged into another.

        Each time what is there is listed anew; a reader slower than several passes of maintenance needs it often.
        """
        for _ in range(AGAIN):
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
            raise LakeUnreachable(f"lake {self.root}: {reason(exc)}; try again later") from exc

    def strangers(self) -> list[PurePosixPath]:
        """Files below the tables' folders that are none of the lake's: reported, never read."""
        paths = (path for table in TABLES.values() for path in self.files.walk(layout.folder(table)))
        return [PurePosixPath(path) for path in paths if _parse(path) is None]

    def watermark(self, job: str) -> dict[str, int]:
        """How far a derived table has come: `<collector>-<epoch>` to the last `seq` that it holds."""
        return self._watermarks().get(job, {})

    def _watermarks(self) -> dict[str, dict[str, int]]:
        try:
            found: dict[str, dict[str, int]] = json.loads(self.files.read(layout.WATERMARKS))
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            address = self.files.address(layout.WATERMARKS)
            raise LakeError(f"{address}: is damaged; remove it, and the derived tables are computed anew") from exc
        return found


def of_segments(store: Parts, table: Table, parts: Iterable[Part], spans: Sequence[SeqRange]) -> pl.LazyFrame:
    """The rows that these segments left in these files: of a segment's file all, of a merged one by their `seq`."""
    found = [part for part in parts if meet(store.spans(part), spans)]
    merged = [part for part in found if store.cover(part) is not None]
    whole = store.scan_parts(table, [part for part in found if part not in merged])
    if not merged:
        return whole
    is_in = pl.any_horizontal(pl.col("seq").is_between(span.first, span.last) for span in spans)
    return pl.concat([whole, store.scan_parts(table, merged).filter(is_in)])


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


def instant(nanoseconds: int) -> datetime:
    """As a file's time is told."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def _is_lost(exc: Exception) -> bool:
    """Whether an engine, or who told of its error, did not find a file that it was told to read."""
    is_said = any(isinstance(each, FileNotFoundError) for each in (exc, exc.__cause__))
    return is_said or "No such file" in str(exc)


def reason(exc: OSError) -> str:
    """Why, as the middle of a sentence."""
    text = exc.strerror or str(exc)
    return text[:1].lower() + text[1:]
