"""Sums and shares that are the same to the last bit, whatever the order and the number of the rows."""

from typing import Final

import polars as pl

MICRO: Final = 1_000_000


def whole(value: pl.Expr) -> pl.Expr:
    """`value` in whole millionths, as venues count sizes and dollars: integers add up alike in any order."""
    return (value * MICRO).round().cast(pl.Int64)


def share(part: pl.Expr, of: int) -> pl.Expr:
    """The integers `part` divided by `of`, correctly rounded; null where there is none.

    Divided by a single number, Polars multiplies a longer column by the reciprocal and truly divides one of a single
    row, so the last bit of a market's figure would hang on how many other markets there are. By a column it divides.
    """
    return part / (part * 0 + of)


def decimal(millionths: pl.Expr) -> pl.Expr:
    """What `whole` made, as a number again."""
    return share(millionths, MICRO)
