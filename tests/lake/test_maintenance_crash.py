"""A pass of maintenance that is killed at any file operation: nothing is lost or doubled, and the next one ends it."""

import os
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from shutil import copytree

import pytest

from flows.jobs.maintenance import maintain
from lake.schema import QUOTES, SEALED, SEGMENTS
from lake.store import Store
from tests.lake.crashes import Killed, killed_at
from tests.lake.lakes import new_lake
from tests.lake.merging import names, segment, sums

NOW = datetime(2026, 4, 8, tzinfo=UTC)
HOUR = ("2026-03-02 10:00", "2026-03-02 10:01"), (QUOTES, SEGMENTS), 80
MONTHS = (
    ("2026-02-10 09:00", "2026-02-10 09:01", "2026-02-10 10:00", "2026-02-11 09:00", "2026-03-20 09:00"),
    (QUOTES, SEGMENTS), 400,
)  # fmt: skip


@pytest.mark.parametrize(
    ("times", "tables", "least", "now"),
    [
        pytest.param(*HOUR, datetime(2026, 3, 2, 12, tzinfo=UTC), id="an hour"),
        pytest.param(*MONTHS, NOW, id="hours, days and a month", marks=pytest.mark.soak),
    ],
)
def test_every_crash_point_recovers(tmp_path, no_fsync, times, tables, least, now):
    """Before and after each operation on files, until a pass has none left: a fresh reader sees the same rows, and
    the next pass leaves what an undisturbed one would."""
    lake = new_lake(tmp_path / "first")
    for text in times:
        segment(lake, text, 2, only=tables)
    before = sums(lake, tables)
    undisturbed = _copy(lake, tmp_path / "undisturbed")
    maintain(undisturbed, now, {}, reserve=0)
    final, points = names(undisturbed), 0
    for place in count():
        copy = _copy(lake, tmp_path / f"{place}")
        try:
            with killed_at(place // 2, is_done=place % 2 == 1) as done:
                maintain(copy, now, {}, reserve=0)
        except Killed:
            points += 1
        else:
            break
        assert len(done) == (place + 1) // 2
        fresh = Store.open(copy.root)
        assert sums(fresh, tables) == before, done
        maintain(fresh, now + timedelta(hours=2), {}, reserve=0)
        assert (sums(fresh, tables), names(fresh)) == (before, final), done
    assert points > least


def test_leftovers_of_the_killed_are_swept(tmp_path):
    """A temporary file goes once nobody can be writing it any more; one that is young stays."""
    lake = new_lake(tmp_path)
    segment(lake, "10:00")
    folder = lake.path(lake.parts(SEALED[0])[0]).parent
    old, young = folder / ".day.parquet.1.tmp", folder / ".day.parquet.2.tmp"
    for path, age in ((old, 3_700), (young, 3_500)):
        path.write_bytes(b"PAR1")
        os.utime(path, (NOW.timestamp() - age,) * 2)
    assert maintain(lake, NOW, {}, reserve=0).swept == 1
    assert not old.exists() and young.exists()


def _copy(lake: Store, folder: Path) -> Store:
    return Store.open(copytree(lake.root, folder))
