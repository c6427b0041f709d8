"""What every venue's adapter takes and gives.

A frame holds messages; each message is applied, ignored by a rule, a duplicate or dead, and an
applied one carries actions: what it says about markets, in the project's own terms. Actions speak
of the first outcome, in integers of 1e-6 and microseconds. What they do to books, and which rows
that makes, is `flows.collector`'s.
"""

from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

import msgspec

from lake.clock import DAY_US, MINUTE_US
from lake.errors import BadFrame
from lake.schema import SEQ_BITS
from lake.vocab import Gap, Source, TakerSide, Venue

T = TypeVar("T")

Level = tuple[int, int]
"""Price and size."""

Ohlc = tuple[int | None, int | None, int | None, int | None]
"""Open, high, low, close."""

Bar = tuple[int, Ohlc, Ohlc, Ohlc, int | None]
"""Start in microseconds; the venue's prices, its bids, its asks; contracts traded."""

HISTORY_US: Final = 5 * MINUTE_US
"""How long a bar of back-filled history is."""


class Wire(StrEnum):
    """Which parser a frame's bytes are for."""

    POLYMARKET_SOCKET = "polymarket/socket"
    GAMMA = "polymarket/gamma"
    GAMMA_PAGES = "polymarket/catalogue"  # names markets, and does not place their tokens
    CLOB_BOOKS = "polymarket/books"
    CLOB_MARKET = "polymarket/market"
    POLYMARKET_HISTORY = "polymarket/history"
    POLYMARKET_TRADES = "polymarket/trades"
    KALSHI_SOCKET = "kalshi/socket"
    KALSHI_REST = "kalshi/rest"
    KALSHI_HISTORY = "kalshi/history"

    def __init__(self, value: str) -> None:
        venue, _, channel = value.partition("/")
        self.venue = Venue(venue)
        self.is_poll = channel != "socket"  # what a poll says holds until the next poll is due


class Frame(msgspec.Struct, frozen=True, gc=False):
    """Bytes as they came off a socket or a REST answer."""

    seq: int  # epoch * 2**40 + frame number, given on arrival
    connection: str
    received: int  # our clock, microseconds
    payload: bytes
    wire: Wire
    monotonic: int = 0  # a clock that nobody sets, microseconds; 0 = not noted


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A connection was opened, for the first time or again; nothing survives from before it."""

    connection: str
    received: int
    wire: Wire
    seq: int = 0
    monotonic: int = 0


class Closed(msgspec.Struct, frozen=True, gc=False):
    """A connection was lost; what it fed is unknown since its last frame."""

    connection: str
    received: int
    reason: Gap = Gap.DISCONNECTED
    seq: int = 0
    monotonic: int = 0


def frame_seq(epoch: int, number: int) -> int:
    """The `seq` of an epoch's frame."""
    return (epoch << SEQ_BITS) + number


# --- what a message says -------------------------------------------------------------------------


class Reset(msgspec.Struct, gc=False):
    """The whole book of a market, in any order of levels."""

    market: int
    bids: list[Level]
    asks: list[Level]
    event: int | None  # None = a snapshot: as of its receipt
    source: Source = Source.BOOK
    as_of: int | None = None  # when the venue's state was so, if REST says it


class Change(msgspec.Struct, gc=False):
    """Levels that changed: `(is_bid, price, size)`, the new size or, if `is_delta`, its change."""

    market: int
    levels: list[tuple[bool, int, int]]
    event: int | None
    is_delta: bool
    best: tuple[int | None, int | None] | None = None  # the venue's own best bid and ask, if it says


class Top(msgspec.Struct, gc=False):
    """The best bid and ask alone; sizes None = not said."""

    market: int
    bid: int | None
    ask: int | None
    event: int | None
    source: Source
    bid_size: int | None = None
    ask_size: int | None = None


class Forget(msgspec.Struct, gc=False):
    """The levels that we keep of this market are void until its next `Reset`."""

    market: int


class Trade(msgspec.Struct, gc=False):
    """One execution."""

    market: int
    trade_id: str
    price: int
    size: int
    taker_side: TakerSide | None
    event: int
    is_block_trade: bool = False


class Stats(msgspec.Struct, gc=False):
    """Figures that the venue reports; None = not reported in that unit."""

    market: int
    volume_24h_usd: float | None = None
    volume_total_usd: float | None = None
    volume_24h_contracts: float | None = None
    volume_total_contracts: float | None = None
    open_interest: float | None = None
    liquidity_usd: float | None = None


class MarketUpdate(msgspec.Struct, gc=False):
    """What is known of a market's metadata now: columns of `schema.MARKETS`, only those that were said."""

    market: int
    fields: dict[str, Any]


class EventUpdate(msgspec.Struct, gc=False):
    """What is known of an event: columns of `schema.EVENTS`, only those that were said."""

    event_id: str
    fields: dict[str, Any]


class Hole(msgspec.Struct, gc=False):
    """Messages of these markets were missed: their state is unknown until they are heard of again."""

    markets: list[int]
    reason: str
    since: int | None = None  # the last good message; None = the book's own last change


class Missed(msgspec.Struct, gc=False):
    """Trades were missed since then, of any market: they can be asked for again, and no price is void for it."""

    since: int


class History(msgspec.Struct, gc=False):
    """Bars of the past as the venue serves them, each of `HISTORY_US`."""

    market: int
    bars: list[Bar]


Action = Reset | Change | Top | Forget | Trade | Stats | MarketUpdate | EventUpdate | Hole | Missed | History


class Outcome(StrEnum):
    """What becomes of a message; the four add up to all messages."""

    APPLIED = "applied"
    IGNORED = "ignored"
    DUPLICATE = "duplicate"
    DEAD = "dead"


class Message(msgspec.Struct, gc=False):
    """One element of an array frame, one object frame, or an unreadable frame."""

    outcome: Outcome
    actions: list[Action] = []
    kind: str = ""  # of an ignored one
    reason: str = ""  # of a dead one
    raw: bytes = b""  # of a dead one


class Adapter(Protocol):
    """One venue's wire protocol, as a state machine over the frames of all its connections."""

    def opened(self, opened: Opened) -> None:
        """Forget what the connection knew: sequence numbers, subscriptions, fills."""

    def place(self, native_id: str, tokens: list[str]) -> int | None:
        """These are the market's tokens, the first outcome's first; the market, if it stood the other way round."""

    def parse(self, frame: Frame) -> list[Message]:
        """The frame's messages in order. Never raises on bytes, whatever they are."""

    def state(self) -> bytes:
        """All that later frames are read by, for `restore`."""

    def restore(self, state: bytes) -> None:
        """Go on from there. Raises `msgspec.DecodeError` on what another program's `state` returned."""


def newest(items: Collection[T], most: int) -> list[T]:
    """The last of these, at most so many."""
    return list(islice(items, max(0, len(items) - most), None))


def dead(reason: object, raw: bytes) -> Message:
    """A message that cannot be read, with its bytes."""
    return Message(Outcome.DEAD, reason=str(reason)[:500], raw=raw)


def ignored(kind: str) -> Message:
    """A message that no rule uses."""
    return Message(Outcome.IGNORED, kind=kind[:60])


EARLY_US: Final = 5 * MINUTE_US
LATE_US: Final = 7 * DAY_US


def is_off_clock(event: int | None, received: int) -> bool:
    """Whether the venue's time of a streamed message cannot be right: far ahead of ours, or far behind."""
    return event is not None and not -EARLY_US <= received - event <= LATE_US


DUPLICATE: Final = Message(Outcome.DUPLICATE)


def once_a_market(messages: Iterable[Message]) -> Iterator[Message]:
    """Messages of history, of which the second of a market is a duplicate: its bars would be there twice."""
    seen: set[int] = set()
    for message in messages:
        markets = {action.market for action in message.actions if isinstance(action, History)}
        yield DUPLICATE if markets & seen else message
        seen |= markets


_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_WHOLE = msgspec.json.Decoder(msgspec.Raw)


def elements(payload: bytes) -> Iterator[bytes]:
    """The messages of a frame: the elements of an array, or the object itself.

    Some servers glue several documents into one text frame; each counts. Raises `BadFrame` if the
    bytes are no JSON.
    """
    for document in _documents(payload):
        try:
            found = _ELEMENTS.decode(document) if document[:1] == b"[" else [document]
        except (msgspec.DecodeError, RecursionError):
            found = [document]
        yield from map(bytes, found)


def _documents(payload: bytes) -> Iterable[bytes]:
    text = payload.strip()
    try:
        _WHOLE.decode(text)
    except msgspec.DecodeError as exc:
        if "trailing characters" not in str(exc):
            raise BadFrame(f"is no JSON: {exc}") from None
        return _split(text)
    except RecursionError:
        raise BadFrame("is nested too deeply") from None
    return (text,)


def _split(text: bytes) -> list[bytes]:
    """JSON documents that follow one another without a separator; the last may be an unreadable rest."""
    from json import JSONDecoder

    decoder, rest, found = JSONDecoder(), text.decode("utf-8", "surrogateescape"), []
    while rest:
        try:
            _, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError):
            end = len(rest)
        found.append(rest[:end].encode("utf-8", "surrogateescape"))
        rest = rest[end:].lstrip()
    return found


def plain(exc: Exception) -> str:
    """A decoder's complaint in one line, without the message that it quotes."""
    return " ".join(str(exc).split())[:300]
