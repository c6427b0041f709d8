"""Which rows a choice shows, which it hides and why, and how its address reads."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.board import Choice, chosen, hidden_html, select, table_html
from app.feed import FACTS
from lake.schema import MOVERS
from tests.app.world import ALDER, FERRY, NOON, move, rows_of


def board(*moves, status="active", category="politics", title="A market") -> pl.DataFrame:
    given = [each | {"as_of": NOON} for each in moves]
    frame = pl.DataFrame(given, schema={**MOVERS.columns, "venue": pl.String()})
    ids = {"market_id": [ALDER if row["venue"] == "kalshi" else FERRY for row in given]}
    facts = {"title": title, "category": category, "status": status, "close_time": None}
    told = frame.with_columns(pl.Series("market_id", ids["market_id"], dtype=pl.String))
    return told.with_columns(pl.lit(value).alias(name) for name, value in facts.items() if name in FACTS)


choices = st.builds(
    Choice,
    window=st.sampled_from(["5m", "15m", "1h", "24h"]),
    score=st.sampled_from(["classic", "biggest"]),
    venue=st.sampled_from(["", "kalshi", "polymarket"]),
    category=st.text(max_size=30),
    direction=st.sampled_from(["", "up", "down"]),
    min_move=st.sampled_from([0.0, 1.0, 2.5, 99.0]),
    min_volume=st.sampled_from([0.0, 100.0, 12_500.0]),
    page=st.integers(1, 99),
)


@given(choices)
def test_address_tells_all(choice):
    """What an address says is what was chosen, whatever the category is called."""
    from app.address import parts

    assert chosen(parts(choice.query)) == (choice, [])


def test_default_needs_no_address():
    """Nothing chosen, nothing said."""
    assert Choice().query == ""
    assert chosen({}) == (Choice(), [])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("window", "3 weeks"),
        ("window", "999999999d"),
        ("score", "surprise"),
        ("venue", "nyse"),
        ("direction", "sideways"),
        ("min_move", "abc"),
        ("min_move", "nan"),
        ("min_move", "-1"),
        ("min_volume", "inf"),
        ("page", "0"),
        ("page", "1.5"),
    ],
)
def test_bad_address_is_told_and_its_default_holds(name, text):
    """One readable line for each part that cannot be used; the others count."""
    choice, notes = chosen({name: text, "category": "sports", "unknown": "x"})
    assert choice == Choice(category="sports")
    assert len(notes) == 1
    assert notes[0].startswith(f"{name}={text}: ")


def test_rows_in_the_order_of_the_score():
    """Best first, and only what the score lists."""
    found = select(board(move(rank=2), move(FERRY, 0.5, 0.4, rank=1), move(rank=None)), Choice())
    assert found.rows["biggest_rank"].to_list() == [1, 2]
    assert found.hidden == {"moved too little": 1}
    assert (found.as_of, found.markets) == (NOON, 3)


@pytest.mark.parametrize(
    ("choice", "row", "reason"),
    [
        (Choice(venue="kalshi"), move(FERRY), "of another venue"),
        (Choice(category="sports"), move(), "of another category"),
        (Choice(direction="down"), move(), "in the other direction"),
        (Choice(direction="up"), move(now=0.5), "in the other direction"),
        (Choice(min_move=8), move(), "under 8 pp"),
        (Choice(min_volume=100), move(), "with an unknown volume"),
        (Choice(min_volume=100), move(volume_24h_usd=99.0), "under $100 a day"),
        (Choice(score="classic"), move(classic=None, classic_rank=None), "with an unknown volume"),
        (Choice(), move(rank=None, verdict="gap_in_slice"), "a gap where it matters"),
        (Choice(), move(rank=None, verdict="insufficient_coverage"), "not watched long enough"),
        (Choice(), move(rank=None, verdict="rule_changed"), "priced by another rule then"),
    ],
)
def test_hidden_rows_are_counted_by_reason(choice, row, reason):
    """Every row that is not shown has one reason, in words."""
    found = select(board(row), choice)
    assert (found.rows.height, found.hidden) == (0, {reason: 1})
    assert reason in hidden_html(found)


def test_settling_market_is_no_mover():
    """A market that is closed jumps to 0 or 1: hidden and counted."""
    assert select(board(move(), status="resolved"), Choice()).hidden == {"settling or closed": 1}


def test_backfilled_price_is_labelled():
    """A price from before this lake watched says so."""
    assert "then: back-filled" in table_html(board(move(rule_then="venue_history")))
    assert "back-filled" not in table_html(board(move()))


def test_row_tells_it_all():
    """From what to what, move, beyond the spread, spread, volume and whose figure, trades, share watched."""
    row = move(volume_24h_usd=12_345.0, volume_basis="venue_reported", is_across_gap=True, coverage_window=0.9996)
    html = table_html(board(row))
    for part in ("60.0%", "67.0%", "+7.0 pp", "+5.0 pp", "2.0¢", "$12.3k", "venue&#x27;s figure", "305", "99.9%"):
        assert part in html
    assert "across a gap" in html
    assert 'href="market?id=kalshi:KXALDER-27-PASS"' in html
    assert rows_of(html) == 1


def test_no_board():
    """A window without a board has no rows and no time."""
    assert select(None, Choice()).as_of is None
