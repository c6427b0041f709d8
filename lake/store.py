"""The lake on disk: publish by rename, scan lazily, know what is there.

A file is written beside its place under a name with a leading dot, fsynced, renamed, and its folder
fsynced, so a reader, ours or a plain glob, sees a whole file or none. Raw files never change;
derived files are replaced whole. This file alone touches the disk below the lake's root.
"""

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Final, Self

import polars as pl

from lake import layout
from lake.errors import (
    BadName,
    LakeError,
    LakeMismatch,
    LakeMissing,
    LakeUnwritable,
    PublishConflict,
)
from lake.hot import Rows
from lake.hot import read as read_hot
from lake.layout import Part, SeqRange
from lake.rowhash import rows_hash
from lake.schema import SCHEMA_VERSION, SEGMENTS, TABLES, Table
from lake.vocab import Mode

ROW_GROUP: Final = 100_000

_RECEIVED: Final = "received_time"
_MAGIC: Final = b"PAR1"
_LEAST: Final = 12  # bytes: the mark twice, and the length of the footer


@dataclass(frozen=True, slots=True)
class Store:
    """One lake in a folder: `create` it to write, `open` it to read."""

    root: Path
    mode: str  # the lake's name: simulated, replay or live

    @classmethod
    def create(cls, root: Path, mode: Mode) -> Self:
        """The lake at `root`, made if it is not there. Raises `LakeUnwritable`, `LakeMismatch`."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            marker = root / layout.MARKER
            if not marker.exists():
                text = json.dumps({"mode": mode.lake, "schema_version": SCHEMA_VERSION})
                _write_by_rename(marker, lambda path: path.write_text(text + "\n"))
            elif not os.access(root, os.W_OK):
                raise PermissionError(13, "no permission to write")
            else:
                _migrate(marker)
        except OSError as exc:
            raise LakeUnwritable(f"lake {root}: {_reason(exc)}; give a folder that can be written as LAKE_URI") from exc
        return cls.open(root, mode)

    @classmethod
    def open(cls, root: Path, mode: Mode | None = None) -> Self:
        """The lake at `root`. Raises `LakeMissing`; `LakeMismatch` if it is of another mode or newer."""
        marker = root / layout.MARKER
        try:
            found = json.loads(marker.read_text())
            name, version = str(found["mode"]), int(found["schema_version"])
        except (FileNotFoundError, NotADirectoryError):
            raise LakeMissing(
                f"lake {root.absolute()}: there is none; fill one first, with `movers up` or `movers replay PATH`"
            ) from None
        except OSError as exc:
            raise LakeMissing(f"lake {root.absolute()}: cannot be read: {_reason(exc)}") from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise LakeMismatch(f"{marker}: is no lake marker; give another folder or restore that file") from exc
        if version > SCHEMA_VERSION:
            raise LakeMismatch(
                f"lake {root}: has schema {version}, this program knows {SCHEMA_VERSION}; update the program"
            )
        if mode is not None and name != mode.lake:
            raise LakeMismatch(f"lake {root}: holds {name!r} data, not {mode.lake!r}; give another folder as LAKE_URI")
        return cls(root, name)

    @property
    def local(self) -> Path:
        """The folder of what is this machine's alone: locks, hot rows, the write-ahead log."""
        return self.root

    def path(self, part: Part) -> Path:
        """Where `part` lies."""
        return self.root / part.path

    def parts(
        self, table: Table, *, venues: Collection[str] | None = None, dates: Collection[date] | None = None
    ) -> list[Part]:
        """The table's published files in path order, of those venues and days if given."""
        days = None if dates is None else {day.isoformat() for day in dates}
        wanted = {"venue": venues, "date": days}
        found: list[Part] = []
        for folder in _folders(self.root / layout.folder(table), [wanted.get(key) for key in table.partitions]):
            names = sorted(entry for entry in _listed(folder) if entry.endswith(layout.SUFFIX))
            first = self._parse(folder / f"x{layout.SUFFIX}")
            if first is not None:
                stems = (name.removesuffix(layout.SUFFIX) for name in names)
                found += [Part(table, first.values, stem) for stem in stems if layout.is_name(stem)]
        return found

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
        spans = [SeqRange.parse(part.name) for part in parts] if fresh else []
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
        groups: dict[tuple[str, ...], list[Path]] = {}
        for part in parts:
            groups.setdefault(part.values, []).append(self.path(part))
        if not groups:
            return table.empty()
        scans = [
            pl.scan_parquet(
                paths,
                schema=dict(table.columns),
                hive_partitioning=False,
                missing_columns="insert",
                extra_columns="ignore",
                glob=False,
            ).with_columns(
                pl.lit(date.fromisoformat(value) if key == "date" else value).alias(key)
                for key, value in zip(table.partitions, values, strict=True)
            )
            for values, paths in groups.items()
        ]
        return pl.concat(scans).select(*table.schema)

    def load(self, part: Part) -> pl.DataFrame:
        """One file's own columns. Raises `LakeError` if it is damaged."""
        try:
            return pl.read_parquet(self.path(part), hive_partitioning=False)
        except (pl.exceptions.PolarsError, OSError) as exc:
            raise LakeError(f"{self.path(part)}: cannot be read ({exc}); move it away and fill that day again") from exc

    def damaged(self) -> list[Path]:
        """The files of all tables that are cut, overwritten or unreadable: without Parquet's mark at both ends."""
        parts = (part for table in TABLES.values() for part in self.parts(table))
        return [path for path in map(self.path, parts) if not _is_whole(path)]

    def require_whole(self, exc: Exception) -> None:
        """Raise `LakeError` from `exc` if a file is damaged."""
        damaged = self.damaged()
        if damaged:
            more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
            advice = "move it away and replay or collect that day again"
            raise LakeError(f"{damaged[0]}: is damaged{more}; {advice}") from exc

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Where an engine fails within this and a file is damaged, raise `LakeError` that names it."""
        try:
            yield
        except (pl.exceptions.PolarsError, OSError) as exc:
            self.require_whole(exc)
            raise

    def strangers(self) -> list[PurePosixPath]:
        """Files below the tables' folders that are none of the lake's: reported, never read."""
        folders = [self.root / layout.folder(table) for table in TABLES.values()]
        paths = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
        return [PurePosixPath(path.relative_to(self.root)) for path in paths if self._parse(path) is None]

    def publish(self, part: Part, frame: pl.DataFrame) -> bool:
        """Write a file that never changes; False if it is there already with the same rows.

        Raises `PublishConflict` if it is there with other rows, `LakeUnwritable` if it cannot be written.
        """
        frame = part.table.conform(frame)
        if self.path(part).exists():
            there = self.load(part)
            known = [name for name in frame.columns if name in there.columns]  # an older program may have known fewer
            if there.select(known).equals(frame.select(known)):
                return False
            raise PublishConflict(
                f"{part.path}: is there with other rows, as after a change of the parsers; use a fresh lake folder"
            )
        self._write(part, frame)
        return True

    def replace(self, part: Part, frame: pl.DataFrame) -> None:
        """Write a derived file over its former self, atomically; no rows removes it."""
        if frame.is_empty():
            self.remove(part)
            return
        self._write(part, part.table.conform(frame))

    def remove(self, part: Part) -> None:
        """Remove a derived file; one that is not there is no fault."""
        with suppress(FileNotFoundError):
            self.path(part).unlink()

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
        added, lines, hashes = 0, [], list[int]()
        for (table, venue), frame in tables.items():
            if frame.is_empty():
                continue
            part = layout.part(table, span.name, venue=venue, date=day)
            if keep and self.path(part).exists():
                frame = self.load(part)
            else:
                added += frame.height if self.publish(part, frame) else 0
            size = self.path(part).stat().st_size
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
        self.publish(layout.part(SEGMENTS, span.name, date=day), ledger)
        return added

    def watermark(self, job: str) -> dict[str, int]:
        """How far a derived table has come: `<collector>-<epoch>` to the last `seq` that it holds."""
        return self._watermarks().get(job, {})

    def set_watermark(self, job: str, reached: Mapping[str, int]) -> None:
        """Note how far `job` has come, after its files are published: a crash before this repeats the work."""
        marks = {**self._watermarks(), job: dict(sorted(reached.items()))}
        path = self.root / layout.WATERMARKS
        try:
            _write_by_rename(path, lambda temp: temp.write_text(json.dumps(marks, indent=1) + "\n"))
        except OSError as exc:
            raise LakeUnwritable(f"{path}: {_reason(exc)}") from exc

    def _watermarks(self) -> dict[str, dict[str, int]]:
        path = self.root / layout.WATERMARKS
        try:
            found: dict[str, dict[str, int]] = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            raise LakeError(f"{path}: is damaged; remove it, and the derived tables are computed anew") from exc
        return found

    def _write(self, part: Part, frame: pl.DataFrame) -> None:
        path = self.path(part)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_by_rename(path, lambda temp: _write_parquet(frame, temp))
        except OSError as exc:
            raise LakeUnwritable(f"{path}: {_reason(exc)}; nothing of that file was published") from exc
        except pl.exceptions.PolarsError as exc:  # what Polars makes of a disk that is full
            reason = " ".join(str(exc).split())[:300]
            raise LakeUnwritable(f"{path}: cannot be written ({reason}); nothing of that file was published") from exc

    def _parse(self, path: Path) -> Part | None:
        try:
            return layout.parse(PurePosixPath(path.relative_to(self.root)))
        except BadName:
            return None


def _migrate(marker: Path) -> None:
    """Write the present schema's number into an older lake's marker: what older files lack is read as null."""
    with suppress(ValueError, KeyError, TypeError):  # `open` says what is wrong with it
        found = json.loads(marker.read_text())
        if int(found["schema_version"]) < SCHEMA_VERSION:
            text = json.dumps({**found, "schema_version": SCHEMA_VERSION})
            _write_by_rename(marker, lambda path: path.write_text(text + "\n"))


def _ends(frame: pl.DataFrame, time: str | None) -> tuple[int | None, int | None]:
    """The first and the last instant in that column, microseconds; None if there is none."""
    if time is None or time not in frame.columns:
        return None, None
    column = frame[time].to_physical()
    return column.min(), column.max()  # type: ignore[return-value]


def _folders(root: Path, wanted: Sequence[Collection[str] | None]) -> list[Path]:
    """The folders of the wanted partition values, in path order; None = all values of that level."""
    level = [root]
    for values in wanted:
        level = [
            folder / name
            for folder in level
            for name in sorted(_listed(folder))
            if values is None or name.partition("=")[2] in values
        ]
    return level


def _listed(folder: Path) -> list[str]:
    """The names in a folder; none if it is not there, or no folder."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - names alone, of thousands of files
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_whole(path: Path) -> bool:
    """Whether a file begins and ends as Parquet does, its footer's length and mark; one just gone is no damage."""
    try:
        with path.open("rb") as file:
            head, size = file.read(len(_MAGIC)), file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 8))
            footer, tail = int.from_bytes(file.read(4), "little"), file.read()
            return head == tail == _MAGIC and footer + _LEAST <= size
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path, compression="zstd", compression_level=3, row_group_size=ROW_GROUP)


def _write_by_rename(path: Path, write: Callable[[Path], object]) -> None:
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temp)
        _fsync(temp)
        temp.replace(path)
        _fsync(path.parent)
    finally:
        temp.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()
