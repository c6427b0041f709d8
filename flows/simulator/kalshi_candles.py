"""Kalshi's candlesticks: the model's minutes, gathered into periods of a minute, an hour or a day."""

from typing import Any, Final

import numpy as np

from flows.simulator.base import Candles, Ints, Market
from flows.simulator.listing import Listing
from flows.simulator.wire import ONE, count, dollars, seconds
from lake.clock import MINUTE_US, SECOND_US

PERIODS: Final = (1, 60, 1_440)
_NAMES: Final = ("open_dollars", "high_dollars", "low_dollars", "close_dollars")


def candlesticks(
    listing: Listing, markets: list[Market], start: int, end: int, period: int
) -> list[list[dict[str, Any]]]:
    """For each market its candles that end in [start, end], seconds; only of minutes that are over."""
    width = period * MINUTE_US
    first, last = (start * SECOND_US - width) // MINUTE_US * MINUTE_US, min(end * SECOND_US, listing.at)
    if not markets or last <= first:
        return [[] for _ in markets]
    oldest = max(first, min(market.listed for market in markets) // width * width)
    found = listing.world.candles(markets, oldest, last)
    return [
        _gathered(_over(minutes, listing.at), listing.figures(market).open_interest, width, start, end)
        for market, minutes in zip(markets, found, strict=True)
    ]


def _over(minutes: Candles, at: int) -> Candles:
    done = minutes.start + MINUTE_US <= at
    names = ("start", "mid", "bid", "ask", "price", "volume")
    return Candles(**{name: getattr(minutes, name)[done] for name in names})


def _gathered(minutes: Candles, interest: int, width: int, start: int, end: int) -> list[dict[str, Any]]:
    if not len(minutes.start):
        return []
    periods = minutes.start // width
    edges = np.flatnonzero(np.diff(periods, prepend=-1))
    stops = np.append(edges[1:], len(periods))
    candles, previous = [], None
    for here, stop in zip(edges, stops, strict=True):
        closed = seconds((int(periods[here]) + 1) * width)
        price = _price(minutes.price[here:stop], previous)
        previous = price.get("close_dollars") or previous
        if start <= closed <= end:
            candles.append(
                {
                    "end_period_ts": closed,
                    "yes_bid": _members(_whole(minutes.bid[here:stop], 0)),
                    "yes_ask": _members(_whole(minutes.ask[here:stop], ONE)),
                    "price": price,
                    "volume_fp": count(int(minutes.volume[here:stop].sum())),
                    "open_interest_fp": count(interest),
                }
            )
    return candles


def _whole(rows: Ints, empty: int) -> tuple[int, int, int, int]:
    """Open, high, low and close of several minutes; below 0 is an empty side."""
    filled = np.where(rows < 0, empty, rows)
    return int(filled[0, 0]), int(filled[:, 1].max()), int(filled[:, 2].min()), int(filled[-1, 3])


def _members(prices: tuple[int, int, int, int]) -> dict[str, str | None]:
    return {name: dollars(price) for name, price in zip(_NAMES, prices, strict=True)}


def _price(rows: Ints, previous: str | None) -> dict[str, str | None]:
    """Of the trades; without one all is null but the price before."""
    traded = rows[rows[:, 0] >= 0]
    if not len(traded):
        return dict.fromkeys((*_NAMES, "mean_dollars", "min_dollars", "max_dollars")) | {"previous_dollars": previous}
    prices = _whole(traded, 0)
    return _members(prices) | {
        "mean_dollars": dollars(int(traded.mean())),
        "min_dollars": dollars(prices[2]),
        "max_dollars": dollars(prices[1]),
        "previous_dollars": previous,
    }
