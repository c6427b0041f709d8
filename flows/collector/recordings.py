"""Recorded venue frames as the frames that they were, in the order in which they came.

Files of a folder that tell one session in parts (a file a kind of event, a file a poll) are one
recording. Times are the recorder's; where it noted none, the venue's own time in the frame stands in.
How a file is read is `flows.collector.formats`'s.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from heapq import merge
from pathlib import Path
from statistics import median_low

from flows.collector.formats import Item, format_of, guarded
from lake.errors import RecordingError


@dataclass(frozen=True, slots=True)
class Survey:
    """What a whole recording holds, learned by reading it to its end before anything is written."""

    digest: str  # of the items, so a copy under another name is the same recording
    frames: int
    bytes: int
    first: int
    last: int
    poll_every: dict[str, int]  # connection to the usual pause between its polls


@dataclass(frozen=True, slots=True)
class Recording:
    """One session: its name, its files, and how to read them."""

    name: str
    paths: tuple[Path, ...]
    read: Callable[[Path], Iterator[Item]]
    is_ours: bool = False  # connections are named and subscribed as the collector does

    def items(self) -> Iterator[Item]:
        """Everything in order of receipt. Raises `RecordingError`, naming file and line."""
        streams = [guarded(path, self.read) for path in self.paths]
        return merge(*streams, key=lambda item: item[:2])

    def survey(self) -> Survey:
        """Read it all once. Raises `RecordingError` if a part cannot be read, or it holds no frame."""
        digest, frames, size = blake2b(digest_size=16), 0, 0
        first = last = None
        polls: dict[str, list[int]] = {}
        for item in self.items():
            digest.update(f"{item.received} {item.connection} {item.wire} ".encode())
            digest.update(b"opened" if item.payload is None else item.payload)
            if item.payload is None:
                continue
            frames, size = frames + 1, size + len(item.payload)
            first = item.received if first is None else min(first, item.received)
            last = item.received if last is None else max(last, item.received)
            if item.wire.is_poll:
                polls.setdefault(item.connection, []).append(item.received)
        if first is None or last is None:
            raise RecordingError(f"{self.name}: holds no frame")
        every = {name: pause for name, times in polls.items() if (pause := _pause(times))}
        return Survey(digest.hexdigest(), frames, size, first, last, every)


def find(path: Path) -> tuple[list[Recording], list[Path]]:
    """The recordings at `path`, a file or a folder with any below it, and the files that are none.

    Raises `RecordingError` if there is nothing at `path`, or a single file is no recording.
    """
    if not path.exists():
        raise RecordingError(f"{path}: there is no such file or folder; give a recording's path")
    if path.is_file():
        found = format_of(path)
        if found is None:
            raise RecordingError(f"{path}: is no recording in a known format; see docs/recordings.md for those")
        return [Recording(_name(path), (path,), found.read, found.is_ours)], []
    parts: dict[tuple[Path, str], list[Path]] = {}
    strangers: list[Path] = []
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        form = format_of(file)
        if form is None:
            strangers.append(file)
        else:
            parts.setdefault((file.parent, form.name if form.is_in_parts else file.name), []).append(file)
    recordings = [_recording(folder, files) for (folder, _), files in parts.items()]
    if not recordings:
        raise RecordingError(f"{path}: holds no recording in a known format; see docs/recordings.md for those")
    return recordings, strangers


def _pause(times: list[int]) -> int | None:
    """The usual pause between polls: the median one; None for a single poll."""
    instants = sorted(set(times))
    return median_low([b - a for a, b in zip(instants, instants[1:], strict=False)]) if len(instants) > 1 else None


def _name(path: Path) -> str:
    return path.name.partition(".")[0]


def _recording(folder: Path, files: list[Path]) -> Recording:
    form = format_of(files[0])
    if form is None:  # it was one a moment ago
        raise RecordingError(f"{files[0]}: changed while it was read; try again")
    return Recording(folder.name if len(files) > 1 else _name(files[0]), tuple(files), form.read, form.is_ours)
