"""A pass of maintenance that is killed at any file operation: nothing is lost or doubled, and the next one ends it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from flows.jobs.maintenance import maintain
from lake.schema import QUOTES, SEALED
from lake.store import Store
from tests.lake.lakes import new_lake
from tests.lake.merging import names, segment, sums

OPERATIONS = ("replace", "rename", "unlink", "rmdir", "mkdir", "fsync", "open")
NOW = datetime(2026, 4, 8, tzinfo=UTC)


class Killed(BaseException):
    """The process is no more."""


@contextmanager
def killed_at(place: int, *, is_done: bool) -> Iterator[list[str]]:
    """Dies before or after the `place`-th operation on files; a dead process does nothing more. Yields those done."""
    done: list[str] = []
    real = {name: getattr(os, name) for name in OPERATIONS}
    dead = False

    def hooked(name: str) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            nonlocal dead
            if dead:
                raise Killed
            if len(done) == place and not is_done:
                dead = True
                raise Killed
            found = real[name](*args, **kwargs)
            done.append(name)
            if len(done) == place + 1 and is_done:
                dead = True
                raise Killed
            return found

        return operation

    with pytest.MonkeyPatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, hooked(name))
        yield done


HOUR = ("2026-03-02 10:00", "2026-03-02 10:01"), (QUOTES,), 40
MONTHS = (
    ("2026-02-10 09:00", "2026-02-10 09:01", "2026-02-10 10:00", "2026-02-11 09:00", "2026-03-20 09:00"), SEALED, 200
)  # fmt: skip


@pytest.mark.parametrize(
    ("times", "tables", "least", "now"),
    [
        pytest.param(*HOUR, datetime(2026, 3, 2, 12, tzinfo=UTC), id="an hour"),
        pytest.param(*MONTHS, NOW, id="hours, days and a month", marks=pytest.mark.soak),
    ],
)
def test_every_crash_point_recovers(tmp_path, times, tables, least, now):
    """Before and after each operation on files, until a pass has none left: a fresh reader sees the same rows, and
    the next pass leaves what an undisturbed one would."""
    lake = new_lake(tmp_path / "first")
    for text in times:
        segment(lake, text, 2, only=tables)
    before = sums(lake)
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
        assert sums(fresh) == before, done
        maintain(fresh, now + timedelta(hours=2), {}, reserve=0)
        assert (sums(fresh), names(fresh)) == (before, final), done
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
