"""What venues serve of the past, as bars of five minutes: points of one price, candles of a minute.

Only whole bars that were over when the answer came: one that is still open would be told again, otherwise.
Sources: CLOB API, "batch-prices-history"; Kalshi's OpenAPI, "markets/candlesticks".
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from flows.venues.base import EARLY_US, HISTORY_US, Bar, Ohlc
from flows.venues.decimals import ONE, Number, price, quote, size
from flows.venues.fields import since_epoch
from lake.clock import DAY_US, MINUTE_US, SECOND_US, floor_to
from lake.errors import BadFrame

NOTHING: Final[Ohlc] = (None, None, None, None)
OLDEST_US: Final = 15 * DAY_US
"""No history is asked for from further back."""


class PointsAnswer(msgspec.Struct, gc=False):
    """Polymarket's answer: token to its points."""

    history: dict[str, msgspec.Raw]


class Point(msgspec.Struct, gc=False):
    """A price at an instant, in seconds."""

    t: int
    p: Number


class Prices(msgspec.Struct, rename=lambda name: f"{name}_dollars", gc=False):
    """Kalshi's four prices of a minute; null or left out where there was none."""

    open: str | None = None
    high: str | None = None
    low: str | None = None
    close: str | None = None


class Candle(msgspec.Struct, gc=False):
    """Kalshi's minute, named by its end."""

    end_period_ts: int
    price: Prices | None = None
    yes_bid: Prices | None = None
    yes_ask: Prices | None = None
    volume_fp: str | None = None


class MarketCandles(msgspec.Struct, gc=False):
    """The minutes of one market."""

    market_ticker: str
    candlesticks: list[Candle]


class CandlesAnswer(msgspec.Struct, gc=False):
    """Kalshi's answer for several markets."""

    markets: list[msgspec.Raw]


POINTS_ANSWER: Final = msgspec.json.Decoder(PointsAnswer)
POINTS: Final = msgspec.json.Decoder(list[Point])
CANDLES_ANSWER: Final = msgspec.json.Decoder(CandlesAnswer)
MARKET_CANDLES: Final = msgspec.json.Decoder(MarketCandles)


def points(raw: bytes, received: int, *, is_first: bool) -> list[Bar]:
    """One token's points as bars of the first outcome. Raises `BadFrame`, msgspec's errors."""
    found: dict[int, list[int]] = {}
    for point in sorted(POINTS.decode(raw), key=lambda point: point.t):
        paid = price(point.p)
        found.setdefault(_bar_of(point.t * SECOND_US, received), []).append(paid if is_first else ONE - paid)
    return [
        (start, (paid[0], max(paid), min(paid), paid[-1]), NOTHING, NOTHING, None)
        for start, paid in found.items()
        if _is_over(start, received)
    ]


def candles(raw: bytes, received: int) -> tuple[str, list[Bar]]:
    """One market's ticker, and its minutes as bars. Raises `BadFrame`, msgspec's errors."""
    market = MARKET_CANDLES.decode(raw)
    found: dict[int, list[Candle]] = {}
    for candle in sorted(market.candlesticks, key=lambda candle: candle.end_period_ts):
        start = _bar_of(candle.end_period_ts * SECOND_US - MINUTE_US, received)
        found.setdefault(start, []).append(candle)
    return market.market_ticker, [_merged(start, part) for start, part in found.items() if _is_over(start, received)]


def _merged(start: int, minutes: list[Candle]) -> Bar:
    traded = [size(minute.volume_fp) for minute in minutes if minute.volume_fp]
    legs = ([minute.price for minute in minutes], [minute.yes_bid for minute in minutes], [m.yes_ask for m in minutes])
    paid, bid, ask = (_ohlc(leg) for leg in legs)
    return start, paid, bid, ask, sum(traded) if traded else None


def _ohlc(leg: Iterable[Prices | None]) -> Ohlc:
    """First, highest, lowest, last of the minutes' prices; 0 and 1 are marks for none."""
    quads = [[quote(one.open), quote(one.high), quote(one.low), quote(one.close)] for one in leg if one is not None]
    opens, highs, lows, closes = ([*_known(quad[place] for quad in quads)] for place in range(4))
    if not (opens or highs or lows or closes):
        return NOTHING
    return (
        opens[0] if opens else None,
        max(highs, default=None),
        min(lows, default=None),
        closes[-1] if closes else None,
    )


def _known(values: Iterable[int | None]) -> Iterator[int]:
    return (value for value in values if value is not None)


def _bar_of(at: int, received: int) -> int:
    """The start of the bar that holds `at`; raises `BadFrame` where that cannot be asked for."""
    if not -EARLY_US <= received - since_epoch(at) <= OLDEST_US:
        raise BadFrame("a point of history is off the clock")
    return floor_to(at, HISTORY_US)


def _is_over(start: int, received: int) -> bool:
    return start + HISTORY_US <= received
