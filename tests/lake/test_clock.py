"""`lake.clock`: instants, edges, windows and ages."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.clock import DAY_US, EPOCH, HOUR_US, MINUTE_US, day_of, floor_to, from_us, parse_span, parse_time, to_us

instants = st.integers(0, 4_000_000_000_000_000)


@given(instants)
def test_microseconds_round_trip(us):
    """An instant survives the way to a datetime and back, whatever its microsecond."""
    assert to_us(from_us(us)) == us


@given(instants, st.sampled_from([MINUTE_US, 5 * MINUTE_US, HOUR_US, DAY_US]))
def test_the_edge_of_a_bar_holds_its_instant(us, width):
    """edge <= instant < edge + width, and the edge is its own edge."""
    edge = floor_to(us, width)
    assert edge <= us < edge + width
    assert floor_to(edge, width) == edge


@given(instants)
def test_the_day_is_that_of_utc(us):
    """Partition days turn at midnight UTC."""
    assert day_of(us) == (EPOCH + timedelta(microseconds=us)).date()


def test_a_naive_time_is_refused():
    """A time without a zone is no instant."""
    with pytest.raises(ValueError, match="no time zone"):
        to_us(datetime(2026, 3, 2, 10))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-02T10:00:00Z", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("2026-03-02T12:00:00+02:00", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("2026-03-02 10:00", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        (" 2026-03-02T10:00:00.123456789Z ", datetime(2026, 3, 2, 10, 0, 0, 123456, UTC)),
        ("2026-03-02T10:00:00.1Z", datetime(2026, 3, 2, 10, 0, 0, 100000, UTC)),
    ],
)
def test_times_of_venues_are_read(text, moment):
    """Any offset becomes UTC, none is UTC, and any number of digits is cut to microseconds."""
    assert parse_time(text) == moment
    assert parse_time(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["", "yesterday", "10:00", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_refused(text):
    """A text that is no instant raises."""
    with pytest.raises(ValueError):
        parse_time(text)


@given(st.integers(1, 10_000), st.sampled_from("smhd"))
def test_a_window_is_a_number_and_a_unit(number, unit):
    """A window is as wide as it says."""
    seconds = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[unit]
    assert parse_span(f"{number}{unit}") == timedelta(seconds=number * seconds)


@pytest.mark.parametrize("text", ["", "h", "0h", "-1h", "1.5h", "1w", "1", "1 h", "h1"])
def test_what_is_no_window_is_refused(text):
    """Anything else is named."""
    with pytest.raises(ValueError, match="is no window"):
        parse_span(text)
