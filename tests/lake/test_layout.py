"""`lake.layout`: paths are spelled and parsed here and nowhere else."""

from datetime import date
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake import layout
from lake.errors import BadName
from lake.layout import SeqRange
from lake.schema import BARS, PAIRS, QUOTES, SEGMENTS, SEQ_BITS, TABLES

values = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True)
names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,40}", fullmatch=True)
tables = st.sampled_from(list(TABLES.values()))


@st.composite
def parts(draw):
    """Any file that the lake may hold."""
    table = draw(tables)
    partition = {key: draw(st.dates() if key == "date" else values) for key in table.partitions}
    return layout.part(table, draw(names), **partition)


@given(parts())
def test_paths_round_trip(part):
    """What is spelled is parsed back to the same table, partition and name."""
    assert layout.parse(part.path) == part


@given(parts(), parts())
def test_different_files_have_different_paths(one, other):
    """No two files share a path."""
    assert (one == other) == (one.path == other.path)


@given(parts())
def test_paths_stay_below_the_root(part):
    """No name or value climbs out of the lake, hides, or adds a folder."""
    assert not part.path.is_absolute()
    assert len(part.path.parts) == len(part.table.partitions) + 2
    assert not any(piece.startswith(".") for piece in part.path.parts)


HOSTILE = [
    "", ".", "..", "a/b", "../x", "a\\b", "A", "ä", "a b", "a\n", "\x00", "-a", ".a", "=a", "a=b", "%2e", "$(x)", "*",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_refused(text):
    """Whatever could mean something to a shell, a glob or a file system is no name and no value."""
    with pytest.raises(BadName):
        layout.part(QUOTES, text, venue="kalshi", date="2026-03-02")
    with pytest.raises(BadName):
        layout.part(QUOTES, "x", venue=text, date="2026-03-02")
    with pytest.raises(BadName):
        layout.part(QUOTES, "x", venue="kalshi", date=text)


@given(st.text(max_size=60))
def test_any_path_is_parsed_or_refused(text):
    """A path of any letters is a file of the lake that spells back the same, or it is no file of the lake."""
    path = PurePosixPath(text)
    try:
        part = layout.parse(path)
    except BadName:
        return
    assert part.path == path


@pytest.mark.parametrize(
    "path",
    [
        "quotes/venue=kalshi/date=2026-03-02/x.csv",
        "quotes/venue=kalshi/date=2026-03-02/.x.parquet.1.tmp",
        "quotes/venue=kalshi/x.parquet",
        "quotes/date=2026-03-02/venue=kalshi/x.parquet",
        "quotes/venue=kalshi/date=2026-3-2/x.parquet",
        "quotes/venue=kalshi/date=2026-02-30/x.parquet",
        "quotes/venue=kalshi/date=20260302/x.parquet",
        "quotes/venue=kalshi/date=2026-W10-1/x.parquet",
        "quotes/venue=kalshi/date=2026-03-02/deep/x.parquet",
        "segments/date=2026-03-02/x.parquet",
        "nosuch/venue=kalshi/date=2026-03-02/x.parquet",
        "x.parquet",
        "",
    ],
)
def test_other_files_are_no_part(path):
    """A path is a part only if every piece of it is as this module spells it."""
    with pytest.raises(BadName):
        layout.parse(PurePosixPath(path))


def test_partitions_are_those_of_the_table():
    """A missing or an odd partition is refused by name."""
    with pytest.raises(BadName, match="interval"):
        layout.part(BARS, "x", venue="kalshi", date="2026-03-02")
    with pytest.raises(BadName, match="venue"):
        layout.part(PAIRS, "x", venue="kalshi", date="2026-03-02")


def test_paths_are_as_promised():
    """The folders that other engines see, word for word."""
    day = date(2026, 3, 2)
    assert str(layout.part(QUOTES, "c-0-1-2", venue="kalshi", date=day).path) == (
        "quotes/venue=kalshi/date=2026-03-02/c-0-1-2.parquet"
    )
    assert str(layout.part(BARS, "x", interval="1m", venue="kalshi", date=day).path) == (
        "bars/interval=1m/venue=kalshi/date=2026-03-02/x.parquet"
    )
    assert str(layout.part(SEGMENTS, "c-0-1-2", date=day).path) == "_segments/date=2026-03-02/c-0-1-2.parquet"


@given(
    st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True),
    st.integers(0, 2**23 - 1),
    st.integers(0, 2**SEQ_BITS - 1),
    st.integers(0, 2**SEQ_BITS - 1),
)
def test_sequence_ranges_round_trip(collector, epoch, one, other):
    """A range is parsed back from its name, and its name is a file's."""
    low, high = sorted((one, other))
    found = SeqRange(collector, epoch, (epoch << SEQ_BITS) + low, (epoch << SEQ_BITS) + high)
    assert SeqRange.parse(found.name) == found
    assert layout.part(SEGMENTS, found.name, date="2026-03-02").name == found.name


@pytest.mark.parametrize(
    "name", ["", "c", "c-0-1", "C-0-1-2", "c-0-2-1", "c-1-1-2", "c_d-0-1-2", "c-0--1-2", f"c-0-0-{1 << SEQ_BITS}"]
)
def test_what_is_no_range_is_refused(name):
    """A range runs forwards, within its epoch, of a collector with a plain name."""
    with pytest.raises(BadName):
        SeqRange.parse(name)
