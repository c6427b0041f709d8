"""Sums and differences of stretches of time are those of the sets of their instants."""

from hypothesis import given
from hypothesis import strategies as st

from flows.collector.spans import daily, is_within, joined, widened, within, without
from lake.clock import DAY_US
from tests.strategies import examples

SPANS = st.lists(st.tuples(st.integers(-20, 60), st.integers(-20, 60)), max_size=8)


def instants(spans) -> set[int]:
    return {each for start, end in spans for each in range(start, end)}


def is_neat(spans) -> bool:
    return all(a < b for a, b in spans) and all(one[1] < two[0] for one, two in zip(spans, spans[1:], strict=False))


@examples(300)
@given(SPANS, SPANS, st.integers(-20, 60), st.integers(-20, 60))
def test_as_sets(one, two, start, end):
    """Joined, cut and subtracted spans hold exactly the instants that sets would, sorted and apart."""
    for found, wanted in (
        (joined(one), instants(one)),
        (without(one, two), instants(one) - instants(two)),
        (within(one, start, end), instants(one) & set(range(start, end))),
    ):
        assert instants(found) == wanted and is_neat(found)
    assert is_within((start, end), joined(one)) == (set(range(start, end)) <= instants(one))


@examples(200)
@given(SPANS, st.integers(1, 9))
def test_widened(spans, width):
    """Out to multiples of the width, and no further."""
    found = widened(spans, width)
    assert instants(found) == {
        each
        for instant in instants(spans)
        for each in range(instant // width * width, instant // width * width + width)
    }
    assert is_neat(found)


@examples(200)
@given(st.lists(st.tuples(st.integers(0, 5 * DAY_US), st.integers(0, 5 * DAY_US)), max_size=4))
def test_daily(spans):
    """Each piece lies in one day, and together they are what was cut."""
    found = daily(joined(spans))
    assert joined(found) == joined(spans)
    assert all(start // DAY_US == (end - 1) // DAY_US and start < end for start, end in found)
