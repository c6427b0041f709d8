"""Scores and ranks: what multiplies, what is listed, and who comes first."""

from math import log1p

import polars as pl
import pytest

from lake.derived.scores import scored

COLUMNS = {
    "market_key": pl.Int64(), "window": pl.String(), "price_now": pl.Float64(), "move_pp": pl.Float64(),
    "effective_move_pp": pl.Float64(), "volume_24h_usd": pl.Float64(), "spike_ratio": pl.Float64(),
    "notional_usd": pl.Float64(),
}  # fmt: skip


def move(key=1, *, pp=10.0, effective=8.0, price=0.5, volume=1_000.0, spike=None, notional=0.0, window="1h"):
    """One row of moves, as far as scores look at it."""
    return (key, window, price, pp, effective, volume, spike, notional)


def scores(*rows, ticks=None):
    """The scored rows, as dicts."""
    frame = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    markets = None if ticks is None else pl.LazyFrame({"market_key": list(ticks), "tick_size": list(ticks.values())})
    return scored(frame, markets).rows(named=True)


def ranks(name, *rows, ticks=None):
    """The ranks of one list, in the order of the rows."""
    return [row[name] for row in scores(*rows, ticks=ticks)]


@pytest.mark.parametrize(
    ("price", "factor"),
    [(0.5, 1), (0.10, 1), (0.09, 0.75), (0.05, 0.75), (0.049, 0.5), (0.90, 1), (0.91, 0.75), (0.95, 0.75), (0.96, 0.5)],
)
def test_boundary(price, factor):
    """Near 0 and 1 a move counts less, at the same distance the same."""
    [row] = scores(move(price=price))
    assert row["boundary"] == factor
    assert row["classic"] == pytest.approx(10 * log1p(1_000) * factor)


@pytest.mark.parametrize(("ratio", "factor"), [(None, 1), (1.5, 1), (2.0, 1.5), (3.0, 2.0), (100.0, 10)])
def test_spike(ratio, factor):
    """Unusual volume multiplies, up to ten; an unknown ratio counts as one."""
    assert scores(move(spike=ratio))[0]["classic"] == pytest.approx(10 * log1p(1_000) * factor)


@pytest.mark.parametrize(
    ("row", "score"),
    [
        (move(volume=99.99), 0.0),
        (move(volume=100.0), 10 * log1p(100)),
        (move(pp=-0.49), 0.0),
        (move(pp=-0.5), 0.5 * log1p(1_000)),
        (move(volume=None), None),
        (move(volume=None, pp=0.1), None),
        (move(pp=None, effective=None), None),
        (move(pp=None, effective=None, volume=1.0), None),
    ],
)
def test_classic_floors(row, score):
    """Little volume or a small move scores zero; what is unknown is unknown, not zero."""
    assert scores(row)[0]["classic"] == (None if score is None else pytest.approx(score))


def test_classic_list():
    """Listed from 1.0, ranked by score."""
    rows = [move(1, pp=1), move(2, pp=-9), move(3, pp=0.2), move(4, volume=None)]
    assert ranks("classic_rank", *rows) == [2, 1, None, None]


@pytest.mark.parametrize(
    ("effective", "tick", "listed"),
    [(1.99, None, False), (-2.0, None, True), (0.99, 0.001, False), (1.0, 0.001, True)],
)
def test_biggest_list(effective, tick, listed):
    """Listed from two ticks or one point, whichever is more; an unknown tick is a cent."""
    found = ranks("biggest_rank", move(effective=effective), ticks={1: tick} if tick else None)
    assert found == [1 if listed else None]


def test_ties():
    """Equal scores rank by dollars traded in the window, then by market key; ranks are counted by window."""
    rows = [move(5), move(3), move(9, notional=10.0), move(7, effective=20.0), move(3, window="24h")]
    assert ranks("biggest_rank", *rows) == [4, 3, 2, 1, 1]


def test_unknown_is_not_listed():
    """A move that was not seen is on no list."""
    assert scores(move(pp=None, effective=None))[0]["biggest"] is None
    assert ranks("biggest_rank", move(pp=None, effective=None)) == [None]
