"""Writing a lake: publish each file whole, merge, move to the trash; this file alone decides what lies below its root.

Raw files never change; derived files are replaced whole.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Final, Self

import polars as pl

from lake import layout
from lake.covers import holds
from lake.errors import LakeError, LakeUnwritable, PublishConflict
from lake.files import Files
from lake.layout import Merged, Part, SeqRange
from lake.parts import Parts, files_at, instant, reason
from lake.place import Place, place
from lake.rowhash import rows_hash
from lake.schema import SCHEMA_VERSION, SEALED, SEGMENTS, TABLES, Table
from lake.vocab import Mode

ROW_GROUP: Final = 100_000
_RECEIVED: Final = "received_time"


def _free() -> None:
    """Nobody has to be asked before a file is written."""


@dataclass(frozen=True, slots=True)
class Store(Parts):
    """One lake: `create` it to write, `open` it to read."""

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
            raise LakeUnwritable(f"lake {where}: {reason(exc)}; give a {kind} that can be written as LAKE_URI") from exc
        return cls.open(where, mode)

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
                if stat is not None and instant(stat.modified) < before:
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

    def set_watermark(self, job: str, reached: Mapping[str, int]) -> None:
        """Note how far `job` has come, after its files are published: a crash before this repeats the work."""
        marks = {**self._watermarks(), job: dict(sorted(reached.items()))}
        self.require_owner()
        try:
            text = json.dumps(marks, indent=1) + "\n"
            self.files.replace(layout.WATERMARKS, lambda path: path.write_text(text))
        except OSError as exc:
            raise LakeUnwritable(f"{self.files.address(layout.WATERMARKS)}: {reason(exc)}") from exc

    @contextmanager
    def _writing(self, part: Part) -> Iterator[None]:
        self.require_owner()
        try:
            yield
        except FileExistsError:
            raise
        except OSError as exc:
            raise LakeUnwritable(f"{self.address(part)}: {reason(exc)}; nothing of that file was published") from exc
        except pl.exceptions.PolarsError as exc:  # what Polars makes of a disk that is full
            said = " ".join(str(exc).split())[:300]
            raise LakeUnwritable(
                f"{self.address(part)}: cannot be written ({said}); nothing of that file was published"
            ) from exc


def _marker(facts: Mapping[str, object]) -> str:
    return json.dumps(facts) + "\n"


def _migrate(files: Files) -> None:
    """Write the present schema's number into an older lake's marker: what older files lack is read as null."""
    with suppress(ValueError, KeyError, TypeError):  # `open` says what is wrong with it
        found = json.loads(files.read(layout.MARKER))
        if int(found["schema_version"]) < SCHEMA_VERSION:
            text = _marker({**found, "schema_version": SCHEMA_VERSION})
            files.replace(layout.MARKER, lambda path: path.write_text(text))


def _ends(frame: pl.DataFrame, time: str | None) -> tuple[int | None, int | None]:
    """The first and the last instant in that column, microseconds; None if there is none."""
    if time is None or time not in frame.columns:
        return None, None
    column = frame[time].to_physical()
    return column.min(), column.max()  # type: ignore[return-value]


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path, compression="zstd", compression_level=3, row_group_size=ROW_GROUP)
