"""What the model did on purpose, as lines of JSON in a file: the truth to compare what was detected with."""

from collections.abc import Callable
from pathlib import Path

from flows.simulator.base import Label, World
from flows.simulator.wire import encode, iso
from lake.clock import DAY_US, SECOND_US
from lake.errors import SettingError


class LabelsFile:
    """`labels-<seed>.jsonl`: each label once, also after a restart."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._path = folder / f"labels-{seed}.jsonl"
        self._until = 0
        self._is_failing = False

    def begin(self, world: World, at: int, back: int = DAY_US) -> None:
        """Append those of the time before, a day of it, that are not there yet. Raises `SettingError`."""
        self._until = at - back
        known = self._known()
        try:
            self._write([line for line in self._lines(world, at) if line not in known])
        except OSError as exc:
            raise SettingError(f"{self._path}: cannot be written ({exc.strerror}); set SIMULATOR_DIR anew") from None

    def append(self, world: World, at: int, say: Callable[[str], None]) -> None:
        """Append those up to `at`, once a second; a disk that takes none is told of once and stops nothing."""
        if at < self._until + SECOND_US:
            return
        try:
            self._write(self._lines(world, at))
        except OSError as exc:
            if not self._is_failing:
                say(f"{self._path}: cannot be written ({exc.strerror}); the venues go on without labels")
            self._is_failing = True

    def _known(self) -> set[bytes]:
        try:
            return set(self._path.read_bytes().splitlines())
        except FileNotFoundError:
            return set()

    def _lines(self, world: World, at: int) -> list[bytes]:
        found = [_line(label) for label in world.labels(self._until, at)] if at > self._until else []
        self._until = max(self._until, at)
        return found

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        with self._path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))


def _line(label: Label) -> bytes:
    return encode(
        {
            "kind": label.kind.value,
            "venue": label.venue.value,
            "native_id": label.native_id,
            "start": iso(label.start),
            "end": iso(label.end),
            "size": label.size,
        }
    )
