"""The write-ahead log: what was accepted comes back, whatever became of the end of the file, and nothing else does."""

import os
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake import layout, wal
from lake.errors import LakeUnwritable
from lake.layout import Life
from lake.wal import FIRST_KIND, Flaw, Log, Record
from tests.lake.crashes import Killed, killed_at

LIFE = Life("main", 3)
Told = tuple[int, str, int, int, bytes]


def told(count: int, size: int = 40) -> list[Told]:
    return [
        (FIRST_KIND + n % 5, f"c{n % 3} w", 1_000 + n, 50 + n, bytes([n % 251]) * (n * 7 % size)) for n in range(count)
    ]


def written(folder: Path, records: list[Told], *, every: int = 10, cut: int = 0) -> Log:
    """A log of these, committed `every` so many records and with a new file after each `cut`."""
    log = Log(folder, LIFE, "boot")
    for place, record in enumerate(records, 1):
        log.append(*record)
        if cut and place % cut == 0:
            log.cut()
        if place % every == 0 and (batch := log.take()) is not None:
            log.write(batch)
    if (batch := log.take()) is not None:
        log.write(batch)
    return log


def back(folder: Path, life: Life = LIFE) -> tuple[list[Record], list[Flaw]]:
    flaws: list[Flaw] = []
    return list(wal.read(folder, life, flaws)), flaws


def plain(records: list[Record]) -> list[Told]:
    return [(r.kind, r.name, r.received, r.monotonic, r.payload) for r in records]


def test_what_was_written_comes_back(tmp_path):
    """Every record in order with its number, name, both times and the machine's boot, over several files."""
    records = told(57)
    written(tmp_path, records, cut=20)
    found, flaws = back(tmp_path)
    assert plain(found) == records and not flaws
    assert [r.number for r in found] == list(range(57)) and {r.boot_id for r in found} == {"boot"}
    assert [path.name for path in wal.files(tmp_path, LIFE)] == ["main-3-0.wal", "main-3-20.wal", "main-3-40.wal"]
    assert wal.lives(tmp_path) == [LIFE] and back(tmp_path, Life("main", 4)) == ([], [])


@given(records=st.lists(st.tuples(
    st.integers(FIRST_KIND, 255), st.text(max_size=5), st.integers(-(2**60), 2**60), st.integers(-(2**60), 2**60),
    st.binary(max_size=300),
), max_size=30), every=st.integers(1, 9), cut=st.integers(0, 9))  # fmt: skip
def test_any_record(tmp_path_factory, records, every, cut):
    """Whatever the bytes, names and times are."""
    folder = tmp_path_factory.mktemp("wal")
    written(folder, records, every=every, cut=cut)
    found, flaws = back(folder)
    assert plain(found) == records and not flaws


def test_every_cut(tmp_path):
    """A file cut at any byte gives back the records before it, whole, and says that a tail is missing."""
    records = told(60)
    written(tmp_path, records)
    (path,) = wal.files(tmp_path, LIFE)
    whole = path.read_bytes()
    found = []
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        got, flaws = back(tmp_path)
        assert plain(got) == records[: len(got)], size
        assert len(got) < len(records) and len(flaws) <= 1 and all(flaw.is_tail for flaw in flaws), size
        found.append(len(got))
    assert found == sorted(found) and found[-1] == len(records) - 1


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bit(tmp_path, seed):
    """One wrong bit anywhere ends what is true at its record; what follows is told from a tail that was broken off."""
    rng, records = Random(seed), told(60)
    written(tmp_path, records)
    (path,) = wal.files(tmp_path, LIFE)
    data = bytearray(path.read_bytes())
    place = rng.randrange(len(data))
    data[place] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    got, flaws = back(tmp_path)
    assert plain(got) == records[: len(got)] and len(got) < len(records)
    assert len(flaws) == 1 and flaws[0].offset <= place
    assert flaws[0].is_tail is (len(got) >= len(records) - 1)


@pytest.mark.parametrize("blank", [1, 7, 500, 4096])
def test_blank_tail(tmp_path, blank):
    """After a power cut a file may end in zeros: they are no records."""
    records = told(20)
    written(tmp_path, records)
    (path,) = wal.files(tmp_path, LIFE)
    path.write_bytes(path.read_bytes() + bytes(blank))
    got, flaws = back(tmp_path)
    assert plain(got) == records and flaws[0].is_tail


def test_empty_file(tmp_path):
    """A file of no bytes is legal."""
    (tmp_path / layout.wal_name(LIFE, 0)).touch()
    assert back(tmp_path) == ([], [])


def test_record_of_another_place(tmp_path):
    """A true record in the wrong place (an old block that comes back) is not taken for the one that belongs there."""
    records = told(20, size=1)
    written(tmp_path, records, every=1)
    (path,) = wal.files(tmp_path, LIFE)
    data, size = path.read_bytes(), wal.LEAST
    path.write_bytes(data[:-size] + data[-2 * size : -size])
    got, flaws = back(tmp_path)
    assert plain(got) == records[:-1] and "out of turn" in flaws[0].reason


def test_file_of_another_life(tmp_path):
    """A file that was copied under another life's name is not read as that life's."""
    written(tmp_path, told(5))
    other = Life("main", 9)
    (tmp_path / layout.wal_name(other, 0)).write_bytes(wal.files(tmp_path, LIFE)[0].read_bytes())
    got, flaws = back(tmp_path, other)
    assert not got and "out of turn" in flaws[0].reason


def test_failed_fsync_is_final_for_the_file(tmp_path, monkeypatch):
    """The batch whose fsync failed is written again, into a new file; each record comes back once."""
    records, real, failing = told(30), os.fsync, [False]
    handles: list[int] = []

    def fsync(handle: int) -> None:
        if failing[0]:
            handles.append(handle)
            raise OSError(5, "Input/output error")
        assert handle not in handles, "an fsync that failed was asked again"
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    log = written(tmp_path, records[:20])
    for record in records[20:]:
        log.append(*record)
    batch = log.take()
    assert batch is not None
    failing[0] = True
    with pytest.raises(LakeUnwritable, match="input/output error"):
        log.write(batch)
    failing[0] = False
    blocker = os.open(os.devnull, os.O_RDONLY)  # so that the new file does not get the same handle
    log.write(batch)
    os.close(blocker)
    got, _ = back(tmp_path)
    assert plain(got) == records
    assert [path.name for path in wal.files(tmp_path, LIFE)] == ["main-3-0.wal", "main-3-20.wal"]


def test_disk_that_is_full(tmp_path, monkeypatch):
    """What was written in part is no harm: the batch is written again when there is room, and none of it is lost."""
    records, real, room = told(30), os.write, [10_000]

    def write(handle: int, data: bytes) -> int:
        if room[0] <= 0:
            raise OSError(28, "No space left on device")
        done = real(handle, data[: room[0]])
        room[0] -= done
        return done

    log = written(tmp_path, records[:10])
    monkeypatch.setattr(os, "write", write)
    for record in records[10:]:
        log.append(*record)
    batch = log.take()
    assert batch is not None
    for less in (300, 0, 40):
        room[0] = less
        with pytest.raises(LakeUnwritable, match="no space left"):
            log.write(batch)
    room[0] = 1 << 20
    log.write(batch)
    got, _ = back(tmp_path)
    assert plain(got) == records
    assert len(wal.files(tmp_path, LIFE)) == 2, "tries that hold nothing are not left behind"


def test_what_was_known(tmp_path):
    """What is kept beside the log comes back, or not at all if it is damaged."""
    wal.write_state(tmp_path, LIFE, 20, b"known")
    assert wal.read_state(tmp_path, LIFE, 20) == b"known" and wal.states(tmp_path, LIFE) == [20]
    assert wal.read_state(tmp_path, LIFE, 10) is None
    path = tmp_path / layout.state_name(LIFE, 20)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert wal.read_state(tmp_path, LIFE, 20) is None


def test_forget(tmp_path):
    """What is in the lake goes, file by file and state by state; what may be needed yet stays."""
    written(tmp_path, told(60), cut=20)
    for number in (20, 40, 60):
        wal.write_state(tmp_path, LIFE, number, b"x")
    wal.forget(tmp_path, LIFE, 20)
    assert [path.name for path in wal.files(tmp_path, LIFE)] == ["main-3-20.wal", "main-3-40.wal"]
    wal.forget(tmp_path, LIFE, 40)
    assert [path.name for path in wal.files(tmp_path, LIFE)] == ["main-3-40.wal"]
    assert wal.states(tmp_path, LIFE) == [40, 60]
    wal.forget_all(tmp_path, LIFE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", range(5))
def test_forget_all_is_killed(tmp_path, place):
    """Of a life that is removed a kill leaves the beginning, without which the rest would be taken for damage; as long
    as anything of it is left, it is a life that left something."""
    records = told(80)
    written(tmp_path, records, cut=20)
    wal.write_state(tmp_path, LIFE, 40, b"x")
    with pytest.raises(Killed), killed_at(place, is_done=True):
        wal.forget_all(tmp_path, LIFE)
    found, flaws = back(tmp_path)
    assert plain(found) == records[: 20 * max(0, 3 - place)] and not flaws
    assert wal.lives(tmp_path) == ([LIFE] if any(tmp_path.iterdir()) else [])
    wal.forget_all(tmp_path, LIFE)
    assert not list(tmp_path.iterdir())


def test_state_that_was_not_written(tmp_path):
    """What a kill leaves of a state goes with its life."""
    with pytest.raises(Killed), killed_at(0, is_done=False):
        wal.write_state(tmp_path, LIFE, 20, b"known")
    assert wal.states(tmp_path, LIFE) == [] and wal.lives(tmp_path) == [LIFE]
    wal.forget_all(tmp_path, LIFE)
    assert not list(tmp_path.iterdir())


def test_set_aside(tmp_path):
    """A tail that is cut off is kept to be looked at."""
    written(tmp_path, told(5))
    (path,) = wal.files(tmp_path, LIFE)
    path.write_bytes(path.read_bytes() + b"torn")
    _, (flaw,) = back(tmp_path)
    assert wal.set_aside(flaw).read_bytes() == b"torn"


def test_names_outlast_a_power_cut(tmp_path, monkeypatch):
    """After a new file was made its folder is fsynced, so that the file is found again; likewise what is known."""
    folders: list[int] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112
            folders.append(len(list(tmp_path.iterdir())))

    monkeypatch.setattr(os, "fsync", fsync)
    written(tmp_path, told(5))
    assert folders == [1]
    wal.write_state(tmp_path, LIFE, 5, b"x")
    assert folders == [1, 2]
