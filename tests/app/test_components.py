"""What comes to a page: escaped, and as a person reads it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import components as c
from tests.app.world import NOON


@given(st.text())
def test_text_stays_text(text):
    """Whatever a text holds, what is shown has no character by which HTML does anything."""
    assert not set(c.shown(text)) & set("<>\"'")
    assert not set(c.fill('<b title="{}">x</b>', text)[10:-8]) & set("<>\"'")


def test_html_is_not_escaped_twice():
    """A piece in a piece stays what it is."""
    assert c.fill("<p>{}</p>", c.fill("<b>{}</b>", "a & b")) == "<p><b>a &amp; b</b></p>"
    assert c.joined([c.fill("<i></i>"), c.fill("{}", "<")]) == "<i></i>&lt;"


def test_pane_takes_no_text():
    """Only what `fill` made can be shown."""
    with pytest.raises(TypeError, match=r"str is no Html; make it with components\.fill"):
        c.pane("<b>hello</b>")
    with pytest.raises(TypeError, match="is no Html"):
        c.show(c.pane(), "hello")


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (c.percent(0.6244), "62.4%"),
        (c.percent(None), "–"),
        (c.points(7.04), "+7.0 pp"),
        (c.points(-2.5), "−2.5 pp"),
        (c.points(-0.04), "0.0 pp"),
        (c.cents(0.02), "2.0¢"),
        (c.count(12_345), "12,345"),
        (c.short(9_500), "9,500"),
        (c.short(12_345), "12.3k"),
        (c.short(4_560_000), "4.6M"),
        (c.dollars(None), "–"),
        (c.share(1.0), "100%"),
        (c.share(0.9996), "99.9%"),
        (c.milliseconds(34.2), "34 ms"),
        (c.milliseconds(3_400), "3.4 s"),
        (c.span(timedelta(seconds=8)), "8 s"),
        (c.span(timedelta(seconds=90)), "1 min"),
        (c.span(timedelta(hours=5)), "5 h"),
        (c.span(timedelta(days=3)), "3 d"),
        (c.span(timedelta(seconds=-2)), "0 s"),
    ],
)
def test_numbers(made, wanted):
    """Each in the same way everywhere."""
    assert made == wanted


def test_move_is_told_three_ways():
    """By arrow, sign and colour; none of them for no move."""
    assert "▲" in c.move(7.0) and "+7.0" in c.move(7.0) and "up" in c.move(7.0)
    assert "▼" in c.move(-7.0) and "−7.0" in c.move(-7.0) and "down" in c.move(-7.0)
    assert "▲" not in c.move(0.01) and "▼" not in c.move(-0.01)


def test_age_goes_on_where_time_does():
    """In a live lake the browser counts on; in a recorded one a time is a time."""
    assert c.age(NOON, NOON + timedelta(seconds=8)) == (
        '<m-age at="1772452800000" title="2026-03-02 12:00 UTC">8 s ago</m-age>'
    )
    assert c.age(NOON, NOON, is_live=False) == '<time title="2026-03-02 12:00 UTC">12:00:00 UTC</time>'
