"""The scores that rank a board: `biggest` and `classic` of docs/signals.md.

Every market is scored before any is left out, and what is unknown stays null: a missing volume or a
move that was not seen is no zero.
"""

from typing import Final

import polars as pl

from lake.derived.prices import EPSILON

UNKNOWN_TICK: Final = 0.01
"""Price step of a market whose own is not known."""

MIN_TICKS, MIN_POINTS = 2, 1.0  # least effective move of `biggest`: this many price steps, and pp
MIN_VOLUME, MIN_MOVE = 100.0, 0.5  # USD and pp under which `classic` is 0
MIN_CLASSIC: Final = 1.0
"""Least listed score of `classic`."""


def scored(moves: pl.DataFrame, markets: pl.LazyFrame | None = None) -> pl.DataFrame:
    """`moves` (rows of `movers.moves`) with boundary, biggest, classic and both ranks, in the same order.

    `markets` has market_key and tick_size, each market once. Ranks count from 1 within a window, null = not
    listed; equal scores rank by dollars traded in the window, then by market key.
    """
    known = moves.lazy().join(_ticks(markets), on="market_key", how="left", maintain_order="left")
    with_scores = known.with_columns(boundary=_boundary(), biggest=pl.col("effective_move_pp").abs())
    ranked = with_scores.with_columns(classic=_classic()).with_columns(
        biggest_rank=_rank("biggest", pl.col("biggest") >= _floor() - EPSILON),
        classic_rank=_rank("classic", pl.col("classic") >= MIN_CLASSIC),
    )
    return ranked.drop("tick_size").collect()


def _ticks(markets: pl.LazyFrame | None) -> pl.LazyFrame:
    """market_key, tick_size."""
    columns: dict[str, pl.DataType] = {"market_key": pl.Int64(), "tick_size": pl.Float64()}
    return pl.LazyFrame(schema=columns) if markets is None else markets.select(*columns)


def _floor() -> pl.Expr:
    """The least effective move that is listed, pp."""
    return (MIN_TICKS * 100 * pl.col("tick_size").fill_null(UNKNOWN_TICK)).clip(MIN_POINTS)


def _boundary() -> pl.Expr:
    """How much a move counts where prices are close to 0 or 1."""
    price = pl.col("price_now")
    room = pl.min_horizontal(price, 1 - price) + EPSILON
    factor = pl.when(room < 0.05).then(0.5).when(room < 0.10).then(0.75).otherwise(1.0)
    return pl.when(price.is_not_null()).then(factor)


def _classic() -> pl.Expr:
    """|move pp| x ln(1 + volume of the day) x spike x boundary; 0 under a floor, null if an input is unknown."""
    move, volume = pl.col("move_pp").abs(), pl.col("volume_24h_usd")
    is_small = (volume < MIN_VOLUME) | (move < MIN_MOVE - EPSILON)
    score = move * volume.log1p() * _spike() * pl.col("boundary")
    return pl.when(move.is_null() | volume.is_null()).then(None).when(is_small).then(0.0).otherwise(score)


def _spike() -> pl.Expr:
    """What unusual volume adds: 1 up to a ratio of 1.5 or an unknown one, at most 10."""
    ratio = pl.col("spike_ratio")
    return pl.when(ratio > 1.5).then((1 + (ratio - 1) / 2).clip(upper_bound=10.0)).otherwise(1.0)


def _rank(score: str, is_listed: pl.Expr) -> pl.Expr:
    """1, 2, 3 ... by falling score among the listed rows of a window."""
    listed = is_listed.fill_null(False)
    order = pl.struct(unlisted=~listed, score=-pl.col(score), dollars=-pl.col("notional_usd"), key="market_key")
    return pl.when(listed).then(order.rank("ordinal").over("window").cast(pl.Int64))
