"""`lake.covers`: of files that overlap a reader keeps those that hold everything, once."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.covers import Cover, coalesced, holds, meet, uncovered
from lake.errors import LakeError
from lake.layout import SeqRange
from lake.schema import SEQ_BITS
from tests.strategies import examples


def span(first: int, last: int, collector: str = "c", epoch: int = 0) -> SeqRange:
    base = epoch << SEQ_BITS
    return SeqRange(collector, epoch, base + first, base + last)


@st.composite
def spans(draw: st.DrawFn) -> SeqRange:
    first = draw(st.integers(0, 12))
    return span(first, draw(st.integers(first, 14)), draw(st.sampled_from("ab")), draw(st.integers(0, 1)))


def frames(ranges) -> set[tuple[str, int]]:
    """Every frame of the ranges."""
    return {(each.collector, seq) for each in ranges for seq in range(each.first, each.last + 1)}


@given(st.lists(spans(), max_size=8), st.lists(spans(), max_size=4))
@examples(200)
def test_ranges_are_sets_of_frames(left, right):
    """Coalescing loses and makes no frame and leaves no neighbours; `holds` and `meet` are those of the sets."""
    joined = coalesced(left)
    assert frames(joined) == frames(left)
    assert all(one.last + 1 < two.first for one, two in zip(joined, joined[1:], strict=False)
               if (one.collector, one.epoch) == (two.collector, two.epoch))  # fmt: skip
    assert holds(joined, right) == (bool(right) and frames(right) <= frames(left))
    assert meet(left, right) == bool(frames(left) & frames(right))


@given(st.lists(st.lists(spans(), max_size=4), max_size=8))
@examples(300)
def test_what_is_left_holds_everything_and_nothing_twice(ranges):
    """Every frame of any file is in one that stays; no file that stays lies within another; order does not matter."""
    files = {number: coalesced(each) for number, each in enumerate(ranges)}
    kept = uncovered(files)
    assert set().union(*(frames(files[each]) for each in kept)) == set().union(*map(frames, files.values()))
    for one in kept:
        assert not any(frames(files[one]) <= frames(files[two]) for two in kept if one != two and files[one])
    backwards = uncovered(dict(reversed(files.items())))
    assert {files[each] for each in backwards} == {files[each] for each in kept}


def test_of_equal_files_the_last_stays():
    """An hour of one segment is that segment; the merged file, which is named later, is read."""
    assert uncovered({"segment": (span(1, 5),), "hour": (span(1, 5),), "day": (span(1, 9),)}) == ["day"]
    assert uncovered({"segment": (span(1, 5),), "hour": (span(1, 5),)}) == ["hour"]


def test_many_segments_cost_little():
    """A hundred thousand segments and the months that cover half of them are told apart in no time."""
    files = {number: (span(10 * number, 10 * number + 9),) for number in range(100_000)}
    files |= {f"month-{month}": (span(100_000 * month, 100_000 * month + 99_999),) for month in range(5)}
    kept = uncovered(files)
    assert kept[:1] == [50_000] and len(kept) == 50_005


def test_a_footer_comes_back():
    """What a merged file says of itself is read as it was written; anything else is refused in one line."""
    cover = Cover((span(1, 5), span(7, 9)), date(2026, 3, 1), date(2026, 3, 31), 7, -(2**63), 1, None)
    assert Cover.load(cover.dump()) == cover
    for text in (b"", b"[]", b"{}", b'{"covers": [["c", 0, 5, 1]]}', cover.dump().replace(b"2026-03-31", b"March")):
        with pytest.raises(LakeError, match="footer") as caught:
            Cover.load(text)
        assert "\n" not in str(caught.value)
