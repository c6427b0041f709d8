"""The truth on disk: `truth-<seed>.jsonl`, a line for each run, each stretch of subscriptions and each fault.

Times are microseconds UTC. Tops of books and trades are not written: they follow from seed, markets, rate and time
(`load` gives the whole `Truth`), and `export` writes those of a window for readers that do not run our code.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from flows.simulator import truth_frames
from flows.simulator.truth import Truth
from flows.simulator.wire import encode
from flows.simulator.world import SimulatedWorld
from lake.errors import SettingError


class TruthFile:
    """Lines are noted as they come and written a few times a second."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.path = folder / f"truth-{seed}.jsonl"
        self._seed = seed
        self._lines: list[bytes] = []
        self._is_failing = False

    def begin(self, start: int, markets: int, rate: float) -> None:
        """A run begins. Raises `SettingError` if the file cannot be written."""
        run = {"line": "run", "seed": self._seed, "markets": markets, "rate": rate, "start": start}
        self._lines.insert(0, encode(run) + b"\n")
        try:
            self._write()
        except OSError as exc:
            raise SettingError(f"{self.path}: cannot be written ({exc.strerror}); set SIMULATOR_DIR anew") from None

    def note(self, line: dict[str, Any]) -> None:
        """A line, to be written soon."""
        self._lines.append(encode(line) + b"\n")

    def flush(self, say: Callable[[str], None]) -> None:
        """Write what was noted; a disk that takes none is told of once and stops nothing."""
        try:
            self._write()
        except OSError as exc:
            self._lines.clear()
            if not self._is_failing:
                say(f"{self.path}: cannot be written ({exc.strerror}); the venues go on without a truth log")
            self._is_failing = True

    def _write(self) -> None:
        if self._lines:
            with self.path.open("ab") as file:
                file.write(b"".join(self._lines))
            self._lines.clear()


def load(path: Path) -> Truth:
    """The truth of the last runs of one world in the file. Raises `SettingError` if it holds none."""
    try:
        lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    except (OSError, msgspec.DecodeError) as exc:
        raise SettingError(f"{path}: is no truth log ({exc}); `movers simulate` writes one") from None
    starts = [place for place, line in enumerate(lines) if line.get("line") == "run"]
    if not starts:
        raise SettingError(f"{path}: holds no run; `movers simulate` writes one")
    first = starts[-1]
    for place in reversed(starts):
        if _world(lines[place]) != _world(lines[starts[-1]]):
            break
        first = place
    truth = Truth(SimulatedWorld(*_world(lines[first])), lines[first]["start"])
    for line in lines[first:]:
        truth.read(line)
    return truth


def export(truth: Truth, folder: Path, start: int, end: int) -> list[Path]:
    """Write `quotes.jsonl`, `trades.jsonl`, `lives.jsonl`, `faults.jsonl` of start < time <= end; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return list(_exported(truth, folder, start, end))


def _exported(truth: Truth, folder: Path, start: int, end: int) -> Iterator[Path]:
    for name, frame in (
        ("quotes", truth_frames.quotes(truth, start, end)),
        ("trades", truth_frames.trades(truth, start, end)),
        ("lives", truth_frames.lives(truth, start, end)),
        ("faults", truth_frames.faults(truth)),
    ):
        path = folder / f"{name}.jsonl"
        frame.write_ndjson(path)
        yield path


def _world(run: dict[str, Any]) -> tuple[int, int, float]:
    return run["seed"], run["markets"], run["rate"]
