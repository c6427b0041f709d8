"""Past trades, newest first, as both venues' tapes serve them."""

from collections.abc import Iterator, Sequence
from typing import Final

from flows.simulator.base import Happening, Kind, Market
from flows.simulator.listing import Listing
from flows.simulator.wire import cursor_of
from lake.clock import DAY_US, HOUR_US, SECOND_US

ONE_MARKET_STEP: Final = HOUR_US
ALL_MARKETS_STEP: Final = 10 * SECOND_US
ALL_MARKETS_REACH: Final = 20 * 60 * SECOND_US
"""How far back the tape of all markets is looked through for one request."""


def backwards(listing: Listing, markets: Sequence[Market], start: int, end: int) -> Iterator[Happening]:
    """Trades with start < time <= end of these markets, or of all if none is given; a day back at most."""
    step = ONE_MARKET_STEP if markets else ALL_MARKETS_STEP
    until = min(end, listing.at)
    oldest = max(start, until - (DAY_US if markets else ALL_MARKETS_REACH))
    while until > oldest:
        since = max(oldest, until - step)
        yield from reversed(_between(listing, markets, since, until))
        until = since


def after(shown: Sequence[Happening], last: int, seen: int) -> str:
    """The cursor behind the last one shown: its time, and how many at that time were shown."""
    time = shown[-1].time
    ties = sum(trade.time == time for trade in shown)
    return cursor_of(time, ties + (seen if time == last else 0))


def _between(listing: Listing, markets: Sequence[Market], start: int, end: int) -> list[Happening]:
    if markets:
        found = [trade for market in markets for trade in listing.world.trades(market, start, end)]
        return sorted(found, key=lambda trade: (trade.time, trade.market.number))
    return [
        each
        for each in listing.world.happenings(start, end)
        if each.kind is Kind.TRADE and each.market.venue is listing.venue
    ]
