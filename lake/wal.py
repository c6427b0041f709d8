"""The write-ahead log: what came in, on disk before anything is made of it.

    <folder>/<collector>-<epoch>-<number>[-<try>].wal   records from `number` on
    <folder>/<collector>-<epoch>-<number>.state         what was known just before that record (`lake.checkpoint`)
    <folder>/aside/                                     tails and damaged files, kept to be looked at

A record is its CRC32, which covers every other byte of it, then length, epoch, number, two times, kind, name and
payload. The numbers of a life (an epoch of a collector) follow one another, so of a file whatever stands before the
first record that is cut, flipped, blank or out of turn is true, and nothing behind it is. What was written is
*accepted* when its fsync has returned. After an error nothing more is written to that file: the batch goes into a new
one, and whoever reads takes each number once.

What kinds and payloads mean is `flows.collector.journal`'s.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple
from zlib import compress, crc32, decompress

from lake import layout
from lake.errors import LakeUnwritable
from lake.files import fsync
from lake.layout import Life

_CRC: Final = Struct("<I")
_HEAD: Final = Struct("<IIQqqBH")
"""Length of all that follows the CRC; epoch, number, received (wall, µs), monotonic (µs), kind, name."""

LEAST: Final = _CRC.size + _HEAD.size
MOST: Final = 128 << 20  # bytes of a record; a length above it is damage

TITLE: Final = 0
"""Kind of a file's first record: who writes, since which boot of the machine, and the names so far."""

NAME: Final = 1
"""Kind of a record that says which text a name's number stands for."""

FIRST_KIND: Final = 16
"""From here on kinds are the caller's, and their records are numbered one after the other."""

ASIDE: Final = "aside"
_TEMP: Final = ".tmp"
_FORMAT: Final = 1


class Record(NamedTuple):
    """One thing that came in; `number` is its place in the life."""

    number: int
    kind: int
    name: str
    received: int  # our wall clock, microseconds
    monotonic: int  # microseconds of a clock that nobody sets, since the boot
    payload: bytes
    boot_id: str


class Flaw(NamedTuple):
    """Where a file stops being true: at byte `offset` of `size`."""

    path: Path
    offset: int
    size: int
    reason: str
    is_tail: bool  # nothing that is true follows: a write that was broken off


@dataclass(slots=True)
class Piece:
    """Records for one file, from `number` on; a new file if `is_new`."""

    number: int
    is_new: bool
    records: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """Records on their way to the disk."""

    pieces: list[Piece]
    last: int  # number of the last record


class Log:
    """What one life appends: `append` never waits, `take` hands over what is to be written, `write` writes it.

    `append`, `cut` and `take` are one thread's; `write` may be another's, one batch after the other.
    """

    def __init__(self, folder: Path, life: Life, boot_id: str) -> None:
        self.folder = folder
        self.life = life
        self.number = 0  # of the next record
        self.waiting = 0  # bytes that `take` has not handed over
        self._boot_id = boot_id
        self._names: dict[str, int] = {}
        self._pieces = [Piece(0, True)]
        self._handle = -1
        self._path = folder

    def append(self, kind: int, name: str, received: int, monotonic: int, payload: bytes = b"") -> int:
        """Take a record; its number."""
        number, put = self.number, self._pieces[-1].records.append
        place = self._names.get(name)
        if place is None:
            place = self._names[name] = len(self._names)
            put(encode(self.life.epoch, number, NAME, place, received, monotonic, name.encode()))
        record = encode(self.life.epoch, number, kind, place, received, monotonic, payload)
        put(record)
        self.number = number + 1
        self.waiting += len(record)
        return number

    def cut(self) -> None:
        """What is appended from now on lies in a new file."""
        self._pieces.append(Piece(self.number, True))

    def take(self) -> Batch | None:
        """What is to be written, for `write`; None if there is nothing."""
        pieces = [piece for piece in self._pieces if piece.records]
        if not pieces:
            return None
        is_new = self._pieces[-1].is_new and not self._pieces[-1].records
        self._pieces, self.waiting = [Piece(self.number, is_new)], 0
        return Batch(pieces, self.number - 1)

    def write(self, batch: Batch) -> None:
        """Write and fsync; then the batch is accepted. Raises `LakeUnwritable`: write the same batch again, later.

        What was tried then stays in a file of its own, for a failed fsync may have dropped what the next would pass.
        """
        for piece in batch.pieces:
            is_fresh = piece.is_new or self._handle < 0
            try:
                if is_fresh:
                    self._open(piece.number)
                _write_all(self._handle, b"".join(piece.records))
                os.fsync(self._handle)
            except OSError as exc:
                self.close()
                if is_fresh:
                    with suppress(OSError):
                        self._path.unlink()
                reason = (exc.strerror or str(exc)).lower()
                raise LakeUnwritable(f"{self._path}: {reason}; what comes in is kept in memory") from exc

    def close(self) -> None:
        """Let go of the open file."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with suppress(OSError):
                os.close(handle)

    def _open(self, number: int) -> None:
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        attempt = 0
        while (path := self.folder / layout.wal_name(self.life, number, attempt)).exists():
            attempt += 1
        self._path = path
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        told = {"format": _FORMAT, "boot_id": self._boot_id, "names": list(self._names)}
        _write_all(self._handle, encode(self.life.epoch, number, TITLE, 0, 0, 0, json.dumps(told).encode()))
        os.fsync(self._handle)
        fsync(self.folder)


def encode(epoch: int, number: int, kind: int, place: int, received: int, monotonic: int, payload: bytes) -> bytes:
    """A record as it lies on disk."""
    head = _HEAD.pack(_HEAD.size + len(payload), epoch, number, received, monotonic, kind, place)
    return _CRC.pack(crc32(payload, crc32(head))) + head + payload


def lives(folder: Path) -> list[Life]:
    """The lives that have files there, in order."""
    return sorted({life for path in _entries(folder) if (life := _life(path)) is not None})


def files(folder: Path, life: Life) -> list[Path]:
    """The life's files in the order of their records; of those that begin alike the first try first."""
    found = [(parsed, path) for path in _entries(folder) if (parsed := layout.parse_wal(path.name)) is not None]
    return [path for (whose, _, _), path in sorted(found) if whose == life]


def read(folder: Path, life: Life, flaws: list[Flaw]) -> Iterator[Record]:
    """The life's true records, each number once and rising; where numbers are missing, they are damaged.

    What stands in the way is added to `flaws` before the record that follows it. Raises OSError.
    """
    last = -1
    for path in files(folder, life):
        for record in read_file(path, life.epoch, flaws):
            if record.number > last:
                last = record.number
                yield record


def read_file(path: Path, epoch: int, flaws: list[Flaw]) -> Iterator[Record]:
    """The true records of a file: the longest prefix of which every record is whole and in turn."""
    return records(path.read_bytes(), epoch, path, flaws)


def records(data: bytes, epoch: int, path: Path, flaws: list[Flaw]) -> Iterator[Record]:
    """The same of a file's bytes; `path` is what a flaw calls it."""
    names: dict[int, str] = {}
    offset, size, expected, boot_id = 0, len(data), None, ""
    while offset < size:
        found = _record(data, offset, epoch, expected)
        if isinstance(found, str):
            flaws.append(Flaw(path, offset, size, found, is_tail=not _goes_on(data, offset + 1, epoch)))
            return
        end, number, received, monotonic, kind, place = found
        payload = data[offset + LEAST : end]
        offset, expected = end, number
        if kind == TITLE:
            told = json.loads(payload)
            boot_id, names = told["boot_id"], dict(enumerate(told["names"]))
        elif kind == NAME:
            names[place] = payload.decode()
        else:
            expected = number + 1
            yield Record(number, kind, names[place], received, monotonic, payload, boot_id)


def _record(data: bytes, offset: int, epoch: int, expected: int | None) -> tuple[int, int, int, int, int, int] | str:
    """End, number, received, monotonic, kind and name of the record at `offset`, or what is wrong there."""
    if len(data) - offset < LEAST:
        return "a record is cut"
    length, its_epoch, number, received, monotonic, kind, place = _HEAD.unpack_from(data, offset + _CRC.size)
    end: int = offset + _CRC.size + length
    if not _HEAD.size <= length <= MOST:
        return "a length is impossible"
    if end > len(data):
        return "a record is cut"
    if crc32(memoryview(data)[offset + _CRC.size : end]) != _CRC.unpack_from(data, offset)[0]:
        return "a checksum is wrong"
    if its_epoch != epoch or (expected is None) != (kind == TITLE) or (expected is not None and number != expected):
        return "a record is out of turn"
    return end, number, received, monotonic, kind, place


def _goes_on(data: bytes, offset: int, epoch: int) -> bool:
    """Whether a true record of the life stands anywhere behind `offset`."""
    mark = epoch.to_bytes(4, "little")
    while (at := data.find(mark, offset + 2 * 4)) >= 0:
        start = at - 2 * 4
        length = _HEAD.unpack_from(data, start + 4)[0] if len(data) - start >= LEAST else 0
        end = start + 4 + length
        is_possible = _HEAD.size <= length <= MOST and end <= len(data)
        if is_possible and crc32(memoryview(data)[start + 4 : end]) == _CRC.unpack_from(data, start)[0]:
            return True
        offset = start + 1
    return False


def write_state(folder: Path, life: Life, number: int, state: bytes) -> None:
    """Keep what was known just before that record; there whole or not at all. Raises OSError."""
    path = folder / layout.state_name(life, number)
    temp = path.with_name(f".{path.name}{_TEMP}")
    packed = compress(state, 1)
    try:
        with temp.open("wb") as file:
            file.write(_CRC.pack(crc32(packed)) + packed)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(path)
        fsync(folder)
    finally:
        temp.unlink(missing_ok=True)


def read_state(folder: Path, life: Life, number: int) -> bytes | None:
    """What `write_state` kept; None if there is none, or it is damaged."""
    try:
        data = (folder / layout.state_name(life, number)).read_bytes()
    except FileNotFoundError:
        return None
    packed = data[_CRC.size :]
    return decompress(packed) if data[: _CRC.size] == _CRC.pack(crc32(packed)) else None


def states(folder: Path, life: Life) -> list[int]:
    """The records before which something is kept of what was known, in order."""
    found = (layout.parse_state(path.name) for path in _entries(folder))
    return sorted(state[1] for state in found if state is not None and state[0] == life)


def forget(folder: Path, life: Life, before: int) -> None:
    """Remove the files of which every record is before that one, and the states of before it.

    The last file stays, unless `before` is behind its last record as well: call `forget_all` for a life that is over.
    """
    found = files(folder, life)
    starts = [parsed[1] for path in found if (parsed := layout.parse_wal(path.name)) is not None]
    for path, following in zip(found, starts[1:], strict=False):
        if following <= before:
            path.unlink(missing_ok=True)
    for number in states(folder, life):
        if number < before:
            (folder / layout.state_name(life, number)).unlink(missing_ok=True)


def forget_all(folder: Path, life: Life) -> None:
    """Remove all of a life that is over and in the lake; from its end, so that what a kill leaves has its beginning."""
    for path in reversed(files(folder, life)):
        path.unlink(missing_ok=True)
    for path in _entries(folder):
        if _life(path) == life:
            path.unlink(missing_ok=True)


def set_aside(flaw: Flaw) -> Path:
    """Keep what is behind the flaw to be looked at: a tail, or the whole of a file that is damaged in the middle."""
    folder = flaw.path.parent / ASIDE
    folder.mkdir(exist_ok=True)
    copy = folder / f"{flaw.path.name}.{flaw.offset}"
    with flaw.path.open("rb") as file:
        if flaw.is_tail:
            file.seek(flaw.offset)
        copy.write_bytes(file.read())
    return copy


def boot_id() -> str:
    """Which boot of the machine this is: monotonic times of one boot can be compared."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _life(path: Path) -> Life | None:
    """Whose file it is: records, a state, or what a kill has left of one."""
    name = path.name.removeprefix(".").removesuffix(_TEMP)
    parsed = layout.parse_wal(name) or layout.parse_state(name)
    return None if parsed is None else parsed[0]
