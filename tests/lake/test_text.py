"""Hostile text: what of it reaches a screen."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.text import LONGEST, safe_text


@given(st.text(max_size=2_000))
def test_nothing_that_acts_is_left(text):
    """Whatever came in, what comes out is one line of visible characters, short enough for a row."""
    shown = safe_text(text)
    assert len(shown) <= LONGEST
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cs") or char in "\n\r\t"]


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("paid \u202edlog", "paid dlog"),
        ("zero\u200bwidth", "zerowidth"),
        ("two\nlines\tand  gaps", "two lines and gaps"),
        ("👩\u200d🚀 lands", "👩\u200d🚀 lands"),
        ("Plain, and kept: 50 % – YES?", "Plain, and kept: 50 % – YES?"),
    ],
)
def test_acting_characters_go_and_words_stay(hostile, shown):
    """Terminal escapes, direction overrides and invisible characters lose their power, words do not."""
    assert safe_text(hostile) == shown


def test_long_text_is_cut_with_an_ellipsis():
    """Ten thousand characters do not fill a page."""
    assert safe_text("x" * 10_000) == "x" * (LONGEST - 1) + "…"
