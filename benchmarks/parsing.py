"""CPU per message of parsing and books, beside a bare loop over the same bytes.

The yardsticks: the bare loop touches each frame and throws it away; `json` decodes it into objects and
throws them away, which is what any collector has to do at the least. The frames are those of the
recorded Kalshi sessions where MOVERS_RECORDINGS is set, else the project's own session.
"""

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from flows.collector.pipeline import Pipeline
from flows.collector.recordings import Recording, find
from flows.collector.replay import adapters
from flows.collector.segments import Segment
from flows.venues.base import Frame, Opened, frame_seq
from lake import settings

OWN = Path(__file__).parents[1] / "tests" / "frames" / "session"
RUNS = 5


def main() -> dict[str, float]:
    """Microseconds of CPU a message for each way, by recording; prints a table; returns the ratios to json."""
    table = Table("recording", "messages", "way", "µs a message", "x bare loop", "x json", title="parsing and books")
    ratios = {}
    for recording in _recordings():
        items = _frames(recording)
        frames = [item for item in items if isinstance(item, Frame)]
        ways: dict[str, Callable[[], object]] = {
            "bare loop": lambda frames=frames: _bare(frames),
            "json": lambda frames=frames: _decode(frames, json.loads),
            "msgspec, untyped": lambda frames=frames: _decode(frames, msgspec.json.decode),
            "parse": lambda items=items: _parse(items),
            "parse, books, rows": lambda items=items: _pipeline(items, columns=False),
            "parse, books, rows, columns": lambda items=items: _pipeline(items, columns=True),
        }
        took = {name: _cpu(way) / len(frames) * 1e6 for name, way in ways.items()}
        for name, cost in took.items():
            first = name == "bare loop"
            table.add_row(
                recording.name if first else "",
                f"{len(frames):,}" if first else "",
                name,
                f"{cost:.2f}",
                f"{cost / took['bare loop']:.0f}",
                f"{cost / took['json']:.2f}",
            )
        ratios[recording.name] = took["parse, books, rows"] / took["json"]
    Console().print(table)
    return ratios


def _recordings() -> list[Recording]:
    folder = settings.load().movers_recordings
    if folder is None:
        return find(OWN)[0]
    return [find(path)[0][0] for path in sorted((folder / "kalshi").glob("ws_btc15m_*"))]


def _frames(recording: Recording) -> list[Frame | Opened]:
    return [
        Opened(item.connection, item.received, item.wire)
        if item.payload is None
        else Frame(frame_seq(0, number), item.connection, item.received, item.payload, item.wire)
        for number, item in enumerate(recording.items())
    ]


def _bare(frames: list[Frame]) -> int:
    size = 0
    for frame in frames:
        size += len(frame.payload)
    return size


def _decode(frames: list[Frame], decode: Callable[[bytes], object]) -> None:
    for frame in frames:
        try:
            decode(frame.payload)
        except ValueError:
            continue


def _parse(items: list[Frame | Opened]) -> None:
    venues = adapters()
    for item in items:
        if isinstance(item, Frame):
            venues[item.wire.venue].parse(item)
        else:
            venues[item.wire.venue].opened(item)


def _pipeline(items: list[Frame | Opened], *, columns: bool) -> None:
    def seal(segment: Segment) -> None:
        if columns:
            for (table, _), rows in segment.rows.items():
                table.frame(rows)

    pipeline = Pipeline(adapters(), seal)
    for item in items:
        if isinstance(item, Frame):
            pipeline.feed(item)
        else:
            pipeline.opened(item)
    pipeline.finish(items[-1].received)


def _cpu(way: Callable[[], object]) -> float:
    """Median seconds of CPU of several runs."""
    took = []
    for _ in range(RUNS):
        gc.collect()
        start = time.process_time()
        way()
        took.append(time.process_time() - start)
    return median(took)


if __name__ == "__main__":
    main()
