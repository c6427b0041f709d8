"""Decimals of venues as integers of 1e-6."""

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.venues.decimals import ONE, cents, price, quote, size, units
from flows.venues.fields import instant, since_epoch
from lake.errors import BadFrame

WORTHLESS = [
    "",
    " ",
    "x",
    "0x1",
    "NaN",
    "Infinity",
    "-inf",
    "1,5",
    "0.5.5",
    "½",
    "1e9999999999",
    "-1e99999",
    "9" * 5000 + ".5",
]


@given(st.integers(-(10**12) + 1, 10**12 - 1), st.integers(0, 999_999))
def test_six_digits_are_exact(whole, part):
    """A decimal of at most six digits becomes exactly its millionths, whatever its sign."""
    text = f"{'-' if whole < 0 else ''}{abs(whole)}.{part:06d}"
    assert units(text) == int(Decimal(text) * ONE)


@given(st.decimals(0, 1, places=6))
def test_complement_is_exact(value):
    """A price and its complement sum to one, without the error of binary fractions."""
    assert units(str(value)) + units(str(1 - value)) == ONE


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.5", 500_000), ("0.5500", 550_000), (".5", 500_000), ("1", ONE), ("5e-1", 500_000), (0.1, 100_000), (1, ONE)]
    + [("0.0000004", 0), ("0.00000060", 1), ("1e-99999999", 0), ("2020.47", 2_020_470_000), ("+0.5", 500_000)],
)
def test_forms_of_a_decimal(text, expected):
    """Strings with any number of digits, exponents and JSON numbers are read; finer ones go to the nearest."""
    assert units(text) == expected


@pytest.mark.parametrize(
    "text",
    [*WORTHLESS, None, True, 10**4299, 10**13, 1e308, float("nan"), float("inf")],
    ids=lambda odd: repr(odd)[:20],
)
def test_worthless_decimals_are_refused(text):
    """What is no finite decimal, or is beyond 10**12, raises `BadFrame` and no other error."""
    with pytest.raises(BadFrame):
        units(text)


def test_number_too_long_to_spell():
    """A JSON integer of thousands of digits is refused like any other, though it cannot even be printed."""
    with pytest.raises(BadFrame):
        units(10**5000)


@given(st.one_of(st.text(max_size=30), st.integers(), st.floats(), st.none()))
def test_no_other_error(text):
    """Any text or number is a value or a `BadFrame`."""
    with suppress(BadFrame):
        assert abs(units(text)) <= 10**18


@pytest.mark.parametrize("text", ["-0.01", "1.000001", "55", "2", 1.5, "-1e-6"])
def test_price_outside_its_domain(text):
    """A price below 0 or above 1, such as cents taken for dollars, is refused and never clamped."""
    with pytest.raises(BadFrame):
        price(text)


def test_marks_of_an_empty_side():
    """0, 1, an empty text and nothing at all are no quote; what is between is one."""
    assert [quote(mark) for mark in ("0", "0.0000", "1", "1.0000", "", None, 0, 1)] == [None] * 8
    assert quote("0.0001") == 100
    assert quote("0.999") == 999_000


def test_size_below_zero():
    """A negative size is refused."""
    with pytest.raises(BadFrame):
        size("-0.01")


def test_cents_and_dollars_are_one_price():
    """Every whole cent reads as its dollar string; outside 0 to 100 it is refused."""
    assert [price(cents(whole)) for whole in range(101)] == [price(f"{whole / 100:.4f}") for whole in range(101)]
    assert cents(None) is None
    for odd in (-1, 101, 10**400):
        with pytest.raises(BadFrame):
            cents(odd)


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-05:00", "1790000000"],
)
def test_unreadable_times(text):
    """A text that is no instant of the calendar raises `BadFrame` and no other error."""
    with pytest.raises(BadFrame):
        instant(text)


def test_times_of_venues():
    """Any number of fraction digits is cut to microseconds; nothing and the zero time are no time."""
    assert instant("2026-09-21T14:13:20.123456789Z") == 1_790_000_000_123_456
    assert instant("2026-09-21T14:13:20Z") == instant("2026-09-21T16:13:20+02:00") == 1_790_000_000_000_000
    assert instant(None) is None
    assert instant("") is None
    assert instant("0001-01-01T00:00:00Z") is None


@pytest.mark.parametrize("us", [-1, 10**18, 2**63])
def test_instants_that_no_table_holds(us):
    """Microseconds outside the years 1970 to 9999 are refused: no time column could hold them."""
    with pytest.raises(BadFrame):
        since_epoch(us)
