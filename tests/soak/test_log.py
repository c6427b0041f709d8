"""A log file cut at every byte, with flipped bits, with blank tails: what is read is what was written up to there."""

import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from flows.collector import journal
from flows.collector.recordings import find
from flows.venues.base import Frame
from lake import wal
from lake.wal import Flaw, Record
from tests.lake.test_wal import LIFE, Told, plain, written
from tests.session import SESSION

LEAST = 64 << 10  # bytes of the file
MOST_BLANK = 16 << 10

HEAD = struct.Struct("<IIIQqqBH")
"""A record's head as `lake.wal` describes it, spelled again, so that where records end is not asked of their reader."""


class Whole(NamedTuple):
    """A file, what it holds, and where each record that is the caller's ends."""

    data: bytes
    records: list[Told]
    ends: list[int]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Whole:
    """Frames of both venues as they came in, with ticks between them, committed ten at a time."""
    folder, records = tmp_path_factory.mktemp("log"), list(told())
    written(folder, records)
    (path,) = wal.files(folder, LIFE)
    data = path.read_bytes()
    return Whole(data, records, list(ends(data)))


def told() -> Iterator[Told]:
    size, recordings = 0, find(SESSION)[0]
    items = sorted((item for one in recordings for item in one.items()), key=lambda item: item.received)
    for place, item in enumerate(items):
        if item.payload is None or size >= LEAST:
            continue
        received, monotonic = item.received, item.received % 10**9
        frame = Frame(place, f"{item.wire.venue.value}-1", received, item.payload, item.wire, monotonic)
        for one in (frame, journal.Tick(seq=place, received=received, monotonic=monotonic)):
            kind, name, payload = journal.write(one)
            size += len(payload) + wal.LEAST
            yield kind, name, received, monotonic, payload


def ends(data: bytes) -> Iterator[int]:
    offset = 0
    while offset < len(data):
        _, length, *_, kind, _ = HEAD.unpack_from(data, offset)
        offset += 4 + length
        if kind >= wal.FIRST_KIND:
            yield offset


def wrong(whole: Whole, data: bytes, same: int) -> str | None:
    """What is wrong with what is read of `data`, of which the first `same` bytes are the file's."""
    flaws: list[Flaw] = []
    found: list[Record] = list(wal.records(data, LIFE.epoch, Path("x"), flaws))
    count = bisect_right(whole.ends, same)
    if plain(found) != whole.records[:count]:
        return f"{same}: {len(found)} records are read, where {count} are true"
    if [record.number for record in found] != list(range(count)):
        return f"{same}: records have other numbers"
    if len(flaws) > 1 or (not flaws and len(data) != same):
        return f"{same}: {flaws} are said to be wrong"
    return None


def cuts(whole: Whole, step: int) -> list[str]:
    sizes = range(0, len(whole.data), step)
    return [fault for size in sizes if (fault := wrong(whole, whole.data[:size], size)) is not None]


def flips(whole: Whole, count: int, rng: Random) -> list[str]:
    found, data = [], bytearray(whole.data)
    for _ in range(count):
        place, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
        data[place] ^= bit
        fault = wrong(whole, bytes(data), place)
        data[place] ^= bit
        found += [] if fault is None else [fault]
    return found


def blanks(whole: Whole, count: int, rng: Random) -> list[str]:
    """Zeros from anywhere on, as many as it likes: the file may end before its time, or behind it."""
    found = []
    for _ in range(count):
        place = rng.randrange(len(whole.data) + 1)
        data = whole.data[:place] + bytes(rng.randint(1, MOST_BLANK))
        rest = whole.data[place : len(data)]
        same = place + len(rest) - len(rest.lstrip(b"\0"))
        fault = wrong(whole, data, same)
        found += [] if fault is None else [fault]
    return found


def test_the_file_is_worth_it(whole):
    """It is read back whole, is large enough, and holds frames of both venues, short and long."""
    assert len(whole.data) >= LEAST and len(whole.ends) == len(whole.records) > 200
    assert wrong(whole, whole.data, len(whole.data)) is None
    assert len({name for _, name, *_ in whole.records}) == 3
    assert max(len(record[-1]) for record in whole.records) > 1_000


def test_some_damage(whole):
    """The short form: some cuts, flips and blank tails."""
    assert cuts(whole, 97) + flips(whole, 500, Random(1)) + blanks(whole, 200, Random(2)) == []


@pytest.mark.soak
def test_every_cut_and_much_damage(whole, capsys):
    """Cut at every byte of 64 KiB or more, 20,000 flipped bits, 5,000 blank tails: not one is read wrongly."""
    faults = cuts(whole, 1) + flips(whole, 20_000, Random(3)) + blanks(whole, 5_000, Random(4))
    with capsys.disabled():
        print(
            f"\na log of {len(whole.data):,} bytes, {len(whole.records):,} records: {len(whole.data):,} cuts, "
            f"20,000 flipped bits, 5,000 blank tails: {len(faults):,} wrong recoveries"
        )
    assert faults == []
