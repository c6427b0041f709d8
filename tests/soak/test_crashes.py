"""Sealing, recovering and telling a day again, killed at any operation on files: seen is the old or the new, and done
again it is what it would have been.

Merging and retention have that in `tests.lake.test_maintenance_crash`.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from shutil import copytree

import polars as pl
import pytest

from flows.collector.segments import Segment
from flows.jobs.refresh import refresh_bars
from flows.jobs.reparse import reparse
from flows.venues.polymarket import Polymarket
from lake import hot
from lake.clock import SECOND_US, to_us
from lake.errors import BadFrame
from lake.schema import BARS, QUOTES, RAW, SEALED, SEGMENTS, TRADES, Table
from lake.store import Store
from lake.vocab import Mode
from tests.flows.collector.lived import without_known
from tests.lake.crashes import Killed, killed_at
from tests.lake.merging import names
from tests.soak.feeder import FIRST
from tests.soak.lives import Collector, make, start_again

BEGAN = to_us(datetime(2026, 3, 2, 10, tzinfo=UTC))
SHOWN = tuple(table for table in SEALED if table not in (RAW, SEGMENTS))

FEW = pytest.param(11, id="some")
ALL = pytest.param(1, id="all", marks=pytest.mark.soak)

Rows = dict[str, pl.DataFrame]


def rows(store: Store, tables: Iterable[Table]) -> Rows:
    found = {}
    for table in tables:
        frame = store.scan(table).collect()
        if table is RAW:
            frame = without_known(frame)
        found[table.name] = frame.drop("bytes", strict=False).sort(pl.all())
    return found


def same(found: Rows, wanted: Rows) -> bool:
    return all(found[name].equals(frame) for name, frame in wanted.items())


def crashes(
    prepare: Callable[[Path], Callable[[], Store]], check: Callable[[Store], None], folder: Path, step: int
) -> int:
    """Kill what `prepare` returns before or after each `step`th operation, until there is none; how often it was."""
    points = 0
    for place in count(0, step):
        work = prepare(folder / f"{place}")
        try:
            with killed_at(place // 2, is_done=place % 2 == 1):
                work()
        except Killed:
            points += 1
            check(Store.open(folder / f"{place}" / "lake"))
        else:
            return points
    raise AssertionError


# --- sealing and recovering ----------------------------------------------------------------------


class Clock:
    now = BEGAN


def lived(folder: Path) -> Collector:
    """A life of three segments, all of it shown: two that are closed and one that is open."""
    store, clock = Store.create(folder / "lake", Mode.SIMULATED), Clock()
    collector = Collector(store, 3, lambda: clock.now)
    number = FIRST
    for _ in range(3):
        for _ in range(4):
            collector.send(range(number, number + 5))
            number += 5
            clock.now += 14 * SECOND_US
            collector.tick()
        clock.now += 10 * SECOND_US
    collector.show()
    return collector


LATER = BEGAN + 1_000 * SECOND_US


def all_files(store: Store) -> tuple[list[str], list[str]]:
    """All files of the tables, and all others that are there to stay."""
    kept = [path.name for path in (store.local / "wal").rglob("*") if path.is_file()]
    return names(store), sorted(kept) + sorted(map(str, hot.lives(store.local)))


@pytest.mark.parametrize("step", [FEW, ALL])
def test_seal(tmp_path, no_fsync, capsys, step):
    """A segment that is published, its state kept and its log removed: a reader sees each row throughout."""

    def prepare(folder: Path) -> Callable[[], Segment]:
        collector = lived(folder)
        log = collector.store.local / "wal"
        for path in log.glob("*.state"):  # so that it is written while it may be killed
            path.unlink()
        return collector.seal

    whole = lived(tmp_path / "whole")
    before = rows(whole.store, SHOWN)
    whole.seal()
    assert same(rows(whole.store, SHOWN), before) and before["quotes"].height > 30 and before["trades"].height == 30
    whole.die()
    start_again(whole.store, LATER)
    wanted, files = rows(whole.store, SEALED), all_files(whole.store)

    def check(store: Store) -> None:
        assert same(rows(store, SHOWN), before)
        start_again(store, LATER)
        assert same(rows(store, SEALED), wanted) and all_files(store) == files

    points = crashes(prepare, check, tmp_path, step)
    tell(capsys, step, "seal", points)
    assert points > 60 // step


@pytest.mark.parametrize("step", [FEW, ALL])
def test_recover(tmp_path, no_fsync, capsys, step):
    """A life that left two segments and a torn tail: what was shown is seen throughout, and none of it twice."""

    def left(folder: Path) -> Store:
        collector = lived(folder)
        collector.seal()
        collector.send(range(500, 510))
        collector.die(0.7)
        return collector.store

    def prepare(folder: Path) -> Callable[[], None]:
        store = left(folder)
        return lambda: start_again(store, LATER)

    whole = left(tmp_path / "whole")
    before = rows(whole, (QUOTES, TRADES))
    start_again(whole, LATER)
    wanted, files = rows(whole, SEALED), all_files(whole)

    def check(store: Store) -> None:
        found = rows(store, (QUOTES, TRADES))
        for name, frame in before.items():
            assert found[name].join(frame, on=frame.columns, how="semi", nulls_equal=True).height == frame.height
            assert found[name].n_unique() == found[name].height <= wanted[name].height
        start_again(store, LATER)
        assert same(rows(store, SEALED), wanted) and all_files(store) == files

    points = crashes(prepare, check, tmp_path, step)
    tell(capsys, step, "recover", points)
    assert points > 100 // step


# --- telling a day again --------------------------------------------------------------------------


@pytest.mark.parametrize("step", [pytest.param(61, id="some"), ALL])
def test_reparse(tmp_path, no_fsync, monkeypatch, capsys, step):
    """A day whose parser was mended: its trades are the old or the new ones, its quotes stay, its bars follow."""
    monkeypatch.setattr("flows.jobs.reparse.MARKETS_AT_ONCE", 4)  # there are few
    with monkeypatch.context() as patch:
        break_trades(patch)
        collector = lived(tmp_path / "broken")
        collector.end()
    broken, now = collector.store, datetime(2026, 3, 3, 1, tzinfo=UTC)
    refresh_bars(broken)
    day, tables = datetime(2026, 3, 2, tzinfo=UTC).date(), (QUOTES, TRADES, BARS, SEGMENTS)
    old = rows(broken, tables)
    whole = Store.open(copytree(broken.root, tmp_path / "whole"))
    reparse(whole, day, make, now)
    new = rows(whole, tables)
    assert new["trades"].height == 30 > old["trades"].height and not new["bars"].equals(old["bars"])

    def prepare(folder: Path) -> Callable[[], object]:
        store = Store.open(copytree(broken.root, folder / "lake"))
        return lambda: reparse(store, day, make, now)

    def check(store: Store) -> None:
        found = rows(store, (QUOTES, TRADES))
        assert found["quotes"].equals(old["quotes"])
        assert any(found["trades"].equals(either["trades"]) for either in (old, new))
        reparse(store, day, make, now)
        again = rows(store, tables)
        for name in new:
            assert again[name].equals(new[name]), name
        assert names(store) == names(whole) and not list(store.local.glob("reparse-*"))

    points = crashes(prepare, check, tmp_path, step)
    tell(capsys, step, "reparse", points)
    assert points > 100 // step


def break_trades(patch: pytest.MonkeyPatch) -> None:
    """A parser with a fault: it takes every third trade for a dead letter."""
    read = Polymarket._last_trade

    def fail(self, wire, frame):
        if int(wire.transaction_hash, 16) % 3 == 0:
            raise BadFrame("a fault that will be mended")
        return read(self, wire, frame)

    patch.setattr(Polymarket, "_last_trade", fail)


def tell(capsys: pytest.CaptureFixture[str], step: int, what: str, points: int) -> None:
    if step == 1:
        with capsys.disabled():
            print(f"\n{what}: {points:,} crash points, before and after each operation on files: all pass")
