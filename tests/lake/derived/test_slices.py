"""The spans of a window."""

from datetime import timedelta

import pytest

from lake.derived.slices import Span, needs, slices
from tests.builders import instant

AS_OF = instant("12:00:00")


@pytest.mark.parametrize(
    ("window", "width"),
    [
        (timedelta(minutes=5), timedelta(seconds=15)),  # a fiftieth would be 6 s
        (timedelta(minutes=15), timedelta(seconds=18)),
        (timedelta(hours=1), timedelta(seconds=72)),
        (timedelta(hours=24), timedelta(minutes=5)),  # a fiftieth would be 28.8 min
    ],
)
def test_slices(window, width):
    """A slice is a fiftieth of its window, from 15 seconds to 5 minutes; four spans share the edges."""
    found = slices(AS_OF, window)
    assert found.now == Span(AS_OF - width, AS_OF)
    assert found.then == Span(AS_OF - window - width, AS_OF - window)
    assert found.between == Span(found.then.end, found.now.start)
    assert found.whole == Span(AS_OF - window, AS_OF)


@pytest.mark.parametrize(
    ("window", "back"),
    [(timedelta(minutes=5), timedelta(hours=24)), (timedelta(hours=24), timedelta(hours=24, minutes=5))],
)
def test_needs(window, back):
    """A day at least is loaded, for the volume of the day, and the older slice whole."""
    assert needs(AS_OF, window) == Span(AS_OF - back, AS_OF)
