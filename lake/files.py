"""Named files below a lake's root, each there whole or not at all: what a folder and a bucket have in common.

A file in a folder is written beside its place under a name with a leading dot, fsynced, renamed, and the folder
fsynced; `lake.bucket` has the other place. Paths are text relative to the root, with / between, and any method may
raise `OSError`.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

Write: TypeAlias = Callable[[Path], object]
"""Fills a local file with that name."""

Wanted: TypeAlias = Sequence[Collection[str] | None]
"""By level of `key=value` folders the values that count; None = all."""


_LISTINGS: Final = 5


class Stat(NamedTuple):
    """What is known of a file without reading it."""

    size: int  # bytes
    modified: int  # nanoseconds
    version: str  # another one when it was written anew


class Files(Protocol):
    """What the lake asks of the place that holds it."""

    def prepare(self) -> None:
        """Make sure that the root is there and can be written."""

    def require_conditions(self, path: str) -> None:
        """Raise `LakeUnwritable` if this place cannot tell two writers apart; `path` is a file that is there."""

    def folders(self, folder: str, wanted: Wanted) -> list[str]:
        """The folders of the wanted values below `folder`, in path order."""

    def tree(self, folder: str, wanted: Wanted) -> list[tuple[str, list[str]]]:
        """The same, each with the names in it."""

    def walk(self, folder: str) -> list[str]:
        """Every file below `folder`, in path order."""

    def stats(self, paths: Collection[str]) -> dict[str, Stat]:
        """What is known of each of these that is there."""

    def mark(self, folder: str) -> tuple[int, int] | None:
        """Another one when a file came to `folder` or left it; first, when that was, nanoseconds."""

    def stat(self, path: str) -> Stat | None:
        """What is known of a file; None if it is not there."""

    def read(self, path: str) -> bytes:
        """Its bytes. Raises `FileNotFoundError`."""

    def edges(self, path: str, first: int, last: int) -> tuple[bytes, bytes, int]:
        """Its first and last bytes, so many, and its size. Raises `FileNotFoundError`."""

    def create(self, path: str, write: Write) -> bool:
        """Write a file that is not there; False if one with the same bytes is. `FileExistsError` if another may be."""

    def replace(self, path: str, write: Write) -> None:
        """Write a file over its former self, if there is one."""

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no fault."""

    def move(self, path: str, to: str) -> None:
        """Give a file another path. Raises `FileNotFoundError`."""

    def prune(self, folder: str) -> None:
        """Remove `folder` and those below it that hold nothing."""

    def address(self, path: str) -> str:
        """Where an engine finds it."""

    def polars(self) -> Mapping[str, Any]:
        """What `polars.scan_parquet` has to be given besides an address."""

    def arrow(self) -> tuple["FileSystem", str]:
        """The file system of pyarrow that holds the root, and the root's path in it."""


def descend(folder: str, wanted: Wanted, names: Callable[[str], Collection[str]]) -> list[str]:
    """The folders of the wanted values below `folder`, in path order; `names` lists what is in one."""
    level = [folder]
    for values in wanted:
        level = [
            f"{above}/{name}"
            for above in level
            for name in sorted(names(above))
            if values is None or name.partition("=")[2] in values
        ]
    return level


class Folder:
    """Files in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root: Final = root

    def prepare(self) -> None:
        """Make the folder if it is not there."""
        self._root.mkdir(parents=True, exist_ok=True)
        if not os.access(self._root, os.W_OK):
            raise PermissionError(13, "no permission to write")

    def require_conditions(self, path: str) -> None:
        """Nothing: one writer at a time is the lock's business."""

    def folders(self, folder: str, wanted: Wanted) -> list[str]:
        """By listing each level."""
        return descend(folder, wanted, self._names)

    def tree(self, folder: str, wanted: Wanted) -> list[tuple[str, list[str]]]:
        """By listing each folder, the last first; none of the files is looked at.

        What is merged goes from a day to the first of its month: whoever misses it in the one finds it in the other.
        """
        return [(found, self._names(found)) for found in reversed(self.folders(folder, wanted))][::-1]

    def walk(self, folder: str) -> list[str]:
        """Temporary files are among them."""
        found = os.walk(self._root / folder, onerror=_unless_gone)
        paths = (Path(above, name) for above, _, names in found for name in names)
        return [path.relative_to(self._root).as_posix() for path in sorted(paths)]

    def stats(self, paths: Collection[str]) -> dict[str, Stat]:
        """One look-up each."""
        return {path: found for path in paths if (found := self.stat(path)) is not None}

    def mark(self, folder: str) -> tuple[int, int] | None:
        """The folder's own time says it."""
        try:
            return os.stat(self.address(folder)).st_mtime_ns, 0  # noqa: PTH116 - text, as everywhere in this class
        except OSError:
            return None

    def stat(self, path: str) -> Stat | None:
        """A file's version is its inode."""
        try:
            found = os.stat(self.address(path))  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stat(found.st_size, found.st_mtime_ns, str(found.st_ino))

    def read(self, path: str) -> bytes:
        """All of it."""
        return (self._root / path).read_bytes()

    def edges(self, path: str, first: int, last: int) -> tuple[bytes, bytes, int]:
        """Two short reads."""
        with (self._root / path).open("rb") as file:
            head, size = file.read(first), file.seek(0, os.SEEK_END)
            file.seek(max(0, size - last))
            return head, file.read(), size

    def create(self, path: str, write: Write) -> bool:
        """Never looks into a file that is there: the caller knows better what makes two the same."""
        if (self._root / path).exists():
            raise FileExistsError(17, "is there", path)
        self.replace(path, write)
        return True

    def replace(self, path: str, write: Write) -> None:
        """The bytes reach the disk before their name, and the name before this returns."""
        place = self._root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        temp = place.with_name(f".{place.name}.{os.getpid()}.tmp")
        try:
            write(temp)
            fsync(temp)
            temp.replace(place)
            fsync(place.parent)
        finally:
            temp.unlink(missing_ok=True)

    def remove(self, path: str) -> None:
        """Not fsynced: what comes back after a crash is removed again."""
        (self._root / path).unlink(missing_ok=True)

    def move(self, path: str, to: str) -> None:
        """A rename; both folders are fsynced, the new one first."""
        source, target = self._root / path, self._root / to
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        fsync(target.parent)
        fsync(source.parent)

    def prune(self, folder: str) -> None:
        """The deepest first; one that holds something stays."""
        root = self._root / folder
        for place in (*sorted(root.rglob("*/"), reverse=True), root):
            with suppress(OSError):
                place.rmdir()

    def address(self, path: str) -> str:
        """Its path, relative if the root's is."""
        return f"{self._root}/{path}"

    def polars(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def arrow(self) -> tuple["FileSystem", str]:
        """This machine's."""
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem(), str(self._root.absolute())

    def _names(self, folder: str) -> list[str]:
        """The names in a folder; none if it is not there, or no folder.

        While files come and go, one listing may miss both what was merged and what it was merged into: it is done
        again.
        """
        names: list[str] = []
        place = self.address(folder)
        with suppress(FileNotFoundError, NotADirectoryError):
            for _ in range(_LISTINGS):
                changed = os.stat(place).st_mtime_ns  # noqa: PTH116
                names = os.listdir(place)  # noqa: PTH208 - names alone, of thousands of files
                if os.stat(place).st_mtime_ns == changed:  # noqa: PTH116
                    break
        return names


def _unless_gone(exc: OSError) -> None:
    """A folder that cannot be listed is not empty."""
    if not isinstance(exc, FileNotFoundError | NotADirectoryError):
        raise exc


def fsync(path: Path) -> None:
    """What was written to a file, or which names a folder has, outlasts a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
