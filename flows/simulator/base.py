"""What the simulated world tells the simulated venues: markets, books, happenings, history.

Everything is a function of (seed, simulated time), so two processes with the same seed agree, a restart goes on, and
history is what was streamed. Prices and sizes are integers of 1e-6 of the first outcome, times microseconds UTC.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lake.vocab import Venue

Level = tuple[int, int]
"""Price and size."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Event:
    """One happening with its markets; on Kalshi an event of a series."""

    venue: Venue
    native_id: str  # Gamma's numeric id, or Kalshi's event ticker
    series: str  # slug of a Polymarket series or "", Kalshi's series ticker
    slug: str
    title: str
    category: str  # "Politics", "Sports", "Crypto" ...
    tags: tuple[str, ...]  # labels; the category among them
    is_exclusive: bool  # at most one of its markets ends with yes
    listed: int
    close: int


@dataclass(frozen=True, slots=True)
class Market:
    """One binary market. It trades in [listed, close), is decided at `determined`, and is gone at `gone`."""

    venue: Venue
    native_id: str  # condition id (0x and 64 hex digits), or ticker
    number: int  # small, unique among markets of this venue: Gamma's id
    tokens: tuple[str, str]  # decimal strings of up to 78 digits on Polymarket; ("", "") on Kalshi
    event: Event
    title: str  # the question; may be hostile text
    label: str  # within its event: Gamma's groupItemTitle, Kalshi's yes_sub_title
    outcomes: tuple[str, str]
    slug: str
    tick: int  # 1e-6
    listed: int
    close: int
    determined: int
    gone: int
    winner: int  # 0 = the first outcome; not to be told before `determined`
    twin: str | None  # native id of the same question on the other venue


@dataclass(frozen=True, slots=True)
class Book:
    """A book of the first outcome: best level first on both sides, bids falling, asks rising. Either may be empty."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    changed: int  # when it was last updated
    last_trade: int | None  # price of the last trade, of the first outcome; a very old one may be forgotten


class Kind(StrEnum):
    """What happens."""

    BOOK = "book"  # levels changed
    TRADE = "trade"
    LISTED = "listed"
    CLOSED = "closed"
    DETERMINED = "determined"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happens to one market.

    BOOK: `levels` are (is_bid, price, new size), size 0 removes it; `book` is the whole book after it.
    TRADE: `price`, `size`, `is_buy` (the taker bought the first outcome), `trade_id` (a UUID), `book` as it is then;
    what it takes out of the book follows as a BOOK at the same time.
    """

    time: int
    kind: Kind
    market: Market
    book: Book | None = None
    levels: tuple[tuple[bool, int, int], ...] = ()
    price: int = 0
    size: int = 0
    is_buy: bool = False
    trade_id: str = ""


@dataclass(frozen=True, slots=True)
class Candles:
    """Minutes of one market, in order of time; a minute that a venue would not serve is left out.

    Arrays of equal length; prices in 1e-6. OHLC of the mid of the books in the minute, of the best bid and ask, and of
    the trades (-1 = no trade in that minute).
    """

    start: Ints  # the minute's left edge, microseconds
    mid: Ints  # shape (n, 4): open, high, low, close
    bid: Ints  # (n, 4)
    ask: Ints  # (n, 4)
    price: Ints  # (n, 4)
    volume: Ints  # contracts, 1e-6


@dataclass(frozen=True, slots=True)
class Figures:
    """What a venue reports of a market, in 1e-6: contracts, and dollars where said so."""

    volume: int
    volume_24h: int
    volume_24h_usd: int
    volume_usd: int
    open_interest: int
    liquidity_usd: int
    day_ago: int | None  # mid of 24 hours ago; None if it was not listed


class LabelKind(StrEnum):
    """What the model did on purpose."""

    JUMP = "jump"
    DRIFT = "drift"
    BURST = "burst"


@dataclass(frozen=True, slots=True)
class Label:
    """A happening of the model: what a detector should find."""

    kind: LabelKind
    venue: Venue
    native_id: str
    start: int
    end: int
    size: float  # logits of a jump or drift; times the usual rate of trades for a burst


class World(Protocol):
    """The model behind both venues. All methods are pure; `at` is simulated time."""

    def markets(self, venue: Venue, at: int) -> Sequence[Market]:
        """Markets with listed <= at < gone, by `number`."""

    def market(self, venue: Venue, native_id: str, at: int) -> Market | None:
        """That market, if it was listed by then; one that is gone for at most a day is still known."""

    def past(self, venue: Venue, at: int) -> Sequence[Market]:
        """Markets determined within the day before `at`, by `number`."""

    def book(self, market: Market, at: int) -> Book:
        """The book after everything that happened up to and with `at`; empty from `determined` on."""

    def prepare(self, markets: Sequence[Market], at: int) -> None:
        """Makes `book` and `figures` of these markets at that time quick: they are worked out together."""

    def happenings(self, start: int, end: int) -> Iterator[Happening]:
        """What happens to all markets of both venues in start < time <= end, in order of time."""

    def trades(self, market: Market, start: int, end: int) -> Sequence[Happening]:
        """The trades of one market in start < time <= end, in order: those that `happenings` tells."""

    def candles(self, markets: Sequence[Market], start: int, end: int) -> Sequence[Candles]:
        """Minutes with start <= minute < end of each of the markets, in their order; fast for hundreds at once."""

    def figures(self, market: Market, at: int) -> Figures:
        """What the venue reports of it."""

    def labels(self, start: int, end: int) -> Sequence[Label]:
        """What the model did on purpose in start < time <= end."""
