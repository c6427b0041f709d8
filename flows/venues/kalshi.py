"""Kalshi's socket: frames in, actions out. There is no socket in this file.

A book holds bids on both legs. By default a no bid is priced in its own leg, so it is an ask at
1 - p; with `use_yes_price` the no side carries asks on the yes scale already, under the same keys,
and nothing in a frame says which. Sequence numbers count the messages of one subscription (sid),
control replies included, so a hole voids every book of that sid. Source: AsyncAPI, trade-api/ws/v2.
"""

from typing import Final, NamedTuple

import msgspec

from flows.venues import kalshi_rest
from flows.venues.base import (
    DUPLICATE,
    Action,
    Change,
    EventUpdate,
    Frame,
    History,
    Hole,
    Level,
    MarketUpdate,
    Message,
    Missed,
    Opened,
    Outcome,
    Reset,
    Stats,
    Top,
    Trade,
    Wire,
    dead,
    elements,
    ignored,
    is_off_clock,
    once_a_market,
    plain,
)
from flows.venues.decimals import ONE, Number, cents, price, quote, size, units
from flows.venues.fields import instant, rules_hash, said, since_epoch
from flows.venues.history import CANDLES_ANSWER, candles
from flows.venues.kalshi_rest import Ladder, family_name, key_of, taker, whole
from flows.venues.kalshi_rest_wire import LEVELS, RestEvent, RestSeries
from flows.venues.kalshi_wire import (
    FRAME,
    KIND,
    KINDS,
    AnyFrame,
    DeltaFrame,
    ErrorFrame,
    EventFrame,
    EventMsg,
    LifecycleFrame,
    LifecycleMsg,
    OkFrame,
    OkMsg,
    Sequenced,
    SnapshotFrame,
    SubscribedFrame,
    TickerFrame,
    TickerMsg,
    TradeFrame,
    UnsubscribedFrame,
)
from lake.errors import BadFrame
from lake.vocab import Gap, MarketStatus, Source, Venue

_LIFE: Final = {
    "activated": MarketStatus.ACTIVE,
    "deactivated": MarketStatus.INACTIVE,
    "determined": MarketStatus.PROPOSED,
    "settled": MarketStatus.RESOLVED,
}
_LIFE_KINDS: Final = frozenset(
    (*_LIFE, "created", "close_date_updated", "price_level_structure_updated", "metadata_updated")
)


ENDING: Final = (10, 25)
"""Codes of errors after which nothing comes: channel error, buffer overflow."""

REPEATS: Final = 100_000
"""A number further back than this is no repeat: the last one, or this one, is wrong, and the books are void."""


class Sid(NamedTuple):
    """A subscription of one life of a connection."""

    connection: str
    number: int


class _State(msgspec.Struct):
    """What `Kalshi` remembers."""

    yes_scale: dict[str, bool]
    guessed: dict[Sid, set[int]]
    last_seq: dict[Sid, tuple[int, int]]
    books: dict[Sid, set[int]]
    awaited: dict[Sid, set[int]]
    named: set[str]
    trades: list[str]
    events: dict[str, RestEvent]
    series: dict[str, RestSeries]


_STATE: Final = msgspec.msgpack.Decoder(_State)


class Kalshi:
    """The venue's adapter: `flows.venues.base.Adapter` for its socket and its REST answers.

    `use_yes_price` is the flag that the book was subscribed with; None reads the convention off the
    first snapshot of each connection that shows it.
    """

    def __init__(self, *, use_yes_price: bool | None = None) -> None:
        self._flag = use_yes_price
        self._yes_scale: dict[str, bool] = {}
        self._guessed: dict[Sid, set[int]] = {}  # books whose no side was read before the scale was known
        self._last_seq: dict[Sid, tuple[int, int]] = {}  # the newest number, and when it came
        self._books: dict[Sid, set[int]] = {}  # markets whose book a sid keeps
        self._awaited: dict[Sid, set[int]] = {}  # those whose book a hole has voided
        self._named: set[str] = set()
        self._trades = kalshi_rest.Seen()
        self._catalogue = kalshi_rest.Catalogue()

    def state(self) -> bytes:
        """All that later frames are read by; of trades the newest."""
        found = _State(
            self._yes_scale,
            self._guessed,
            self._last_seq,
            self._books,
            self._awaited,
            self._named,
            self._trades.newest(),
            *self._catalogue.known(),
        )
        return msgspec.msgpack.encode(found)

    def restore(self, state: bytes) -> None:
        """Go on from there."""
        found = _STATE.decode(state)
        self._yes_scale, self._guessed, self._last_seq = found.yes_scale, found.guessed, found.last_seq
        self._books, self._awaited, self._named = found.books, found.awaited, found.named
        for trade_id in found.trades:
            self._trades.add(trade_id)
        self._catalogue.know(found.events, found.series)

    def opened(self, opened: Opened) -> None:
        """Sids and sequence numbers start again on every connection."""
        self._yes_scale.pop(opened.connection, None)
        for sid in [sid for sid in self._last_seq if sid.connection == opened.connection]:
            del self._last_seq[sid]
        for known in (self._books, self._awaited, self._guessed):
            for sid in [sid for sid in known if sid.connection == opened.connection]:
                del known[sid]

    def place(self, native_id: str, tokens: list[str]) -> int | None:
        """Nothing: a market has one ticker, and no tokens."""
        return None

    def parse(self, frame: Frame) -> list[Message]:
        """The frame's messages."""
        if frame.wire is Wire.KALSHI_REST:
            return self._rest(frame)
        if frame.wire is Wire.KALSHI_HISTORY:
            return self._history(frame)
        try:
            return [self._read(FRAME.decode(frame.payload), frame)]
        except BadFrame as exc:
            return [dead(exc, frame.payload)]
        except msgspec.ValidationError as exc:
            return [self._unfit(frame, exc)]
        except (msgspec.DecodeError, RecursionError, UnicodeError) as exc:
            return [dead(plain(exc), frame.payload)]

    def _rest(self, frame: Frame) -> list[Message]:
        try:
            answers = list(elements(frame.payload))
        except BadFrame as exc:
            return [dead(exc, frame.payload)]
        return [message for raw in answers for message in self._answer(raw)]

    def _answer(self, raw: bytes) -> list[Message]:
        try:
            return self._catalogue.answer(raw, self._trades)
        except (msgspec.DecodeError, BadFrame, RecursionError, UnicodeError) as exc:
            return [dead(plain(exc), raw)]

    def _history(self, frame: Frame) -> list[Message]:
        """An answer names the markets that were asked for: a message for each."""
        try:
            answers = CANDLES_ANSWER.decode(frame.payload).markets
        except (msgspec.DecodeError, RecursionError, UnicodeError) as exc:
            return [dead(plain(exc), frame.payload)]
        return [*once_a_market(_candles(bytes(raw), frame.received) for raw in answers)]

    def _read(self, wire: AnyFrame, frame: Frame) -> Message:
        match wire:
            case DeltaFrame():
                return self._delta(wire, frame)
            case TickerFrame():
                return self._ticker(wire.msg)
            case TradeFrame():
                return self._trade(wire, frame)
            case SnapshotFrame():
                return self._snapshot(wire, frame)
            case LifecycleFrame():
                return self._in_turn(wire, frame, self._lifecycle(wire.msg))
            case EventFrame():
                return self._in_turn(wire, frame, Message(Outcome.APPLIED, [_event(wire.msg)]))
            case SubscribedFrame():
                return self._subscribed(wire, frame)
            case OkFrame():
                return self._in_turn(wire, frame, self._ok(wire, frame))
            case UnsubscribedFrame():
                return self._in_turn(wire, frame, self._unsubscribed(wire, frame))
            case ErrorFrame():
                return self._in_turn(wire, frame, self._error(wire, frame))

    def _unfit(self, frame: Frame, exc: Exception) -> Message:
        """A known kind in an unknown form is dead; an unknown kind takes its number and is ignored by its name."""
        try:
            kind = KIND.decode(frame.payload)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as bad:
            return dead(plain(bad), frame.payload)
        if kind.type in KINDS or kind.type is None:
            return dead(plain(exc), frame.payload)
        return self._in_turn(kind, frame, ignored(f"unknown:{kind.type}"))

    # --- sequence --------------------------------------------------------------------------------

    def _in_turn(self, wire: Sequenced, frame: Frame, message: Message) -> Message:
        """`message`, behind what a hole before it voids; `DUPLICATE` for one of before."""
        holes = self._advance(wire, frame)
        if holes is None:
            return DUPLICATE
        message.actions = [*holes, *message.actions]
        return message

    def _advance(self, wire: Sequenced, frame: Frame) -> list[Action] | None:
        """Count the message in: what a hole before it voids, [] if there is none, None for a repeat."""
        if wire.seq is None:
            return []
        sid = Sid(frame.connection, wire.sid)
        last = self._last_seq.get(sid)
        if last is not None and last[0] - REPEATS < wire.seq <= last[0]:
            return None
        self._last_seq[sid] = (wire.seq, frame.received)
        if last is None or wire.seq == last[0] + 1:
            return []
        lost = self._books.pop(sid, set()) | self._awaited.get(sid, set())  # their books may have been in this hole
        if not lost:
            return [Missed(last[1])] if isinstance(wire, TradeFrame) else []
        self._awaited[sid] = lost
        return [Hole(sorted(lost), Gap.SEQUENCE_HOLE, last[1])]

    # --- books -----------------------------------------------------------------------------------

    def _delta(self, wire: DeltaFrame, frame: Frame) -> Message:
        msg = wire.msg
        paid, by = msg.price_dollars or cents(msg.price), msg.delta_fp or msg.delta
        if paid is None or by is None:
            raise BadFrame("orderbook_delta without price_dollars or delta_fp")
        level, change, is_yes = price(paid), units(by), _is_yes(msg.side)
        event = _time(msg.ts_ms) or instant(msg.ts)
        holes = self._advance(wire, frame)
        if holes is None:
            return DUPLICATE
        key, sid = key_of(msg.market_ticker), Sid(frame.connection, wire.sid)
        if key not in self._books.get(sid, ()):
            return Message(Outcome.APPLIED, holes) if holes else ignored("orderbook_delta:no_book")
        if not is_yes and not self._is_yes_scale(sid, key):
            level = ONE - level
        return Message(Outcome.APPLIED, [Change(key, [(is_yes, level, change)], event, is_delta=True)])

    def _snapshot(self, wire: SnapshotFrame, frame: Frame) -> Message:
        msg = wire.msg
        yes = _ladder(msg.yes_dollars_fp, msg.yes_dollars, msg.yes)
        no = _ladder(msg.no_dollars_fp, msg.no_dollars, msg.no)
        holes = self._advance(wire, frame)
        if holes is None:
            return DUPLICATE
        key, sid = key_of(msg.market_ticker), Sid(frame.connection, wire.sid)
        holes += self._learn_scale(sid, yes, no)
        asks = no if not no or self._is_yes_scale(sid, key) else [(ONE - level, amount) for level, amount in no]
        self._books.setdefault(sid, set()).add(key)
        self._awaited.get(sid, set()).discard(key)
        return Message(Outcome.APPLIED, [*holes, *self._name(msg.market_ticker), Reset(key, yes, asks, None)])

    def _subscribed(self, wire: SubscribedFrame, frame: Frame) -> Message:
        """A subscription counts from one: what a former one of that number knew is void."""
        sid = Sid(frame.connection, wire.msg.sid)
        _, since = self._last_seq.pop(sid, (0, None))
        self._awaited.pop(sid, None)
        return Message(Outcome.APPLIED, self._void(sid, self._books.pop(sid, set()), Gap.DISCONNECTED, since))

    def _unsubscribed(self, wire: UnsubscribedFrame, frame: Frame) -> Message:
        return Message(Outcome.APPLIED, self._ended(Sid(frame.connection, wire.sid), frame.received))

    def _ok(self, wire: OkFrame, frame: Frame) -> Message:
        """After an update the answer names every market that is left; books of others are no longer told of."""
        sid, left = Sid(frame.connection, wire.sid), wire.msg.market_tickers if isinstance(wire.msg, OkMsg) else None
        if left is None or sid not in self._books:
            return Message(Outcome.APPLIED)
        kept = {key_of(ticker) for ticker in left if ticker}
        gone = self._books[sid] - kept
        self._books[sid] -= gone
        if sid in self._awaited:
            self._awaited[sid] &= kept
        return Message(Outcome.APPLIED, self._void(sid, gone, Gap.UNSUBSCRIBED, frame.received))

    def _error(self, wire: ErrorFrame, frame: Frame) -> Message:
        """Some errors end the subscription, the rest refuse a command."""
        message, sid = ignored("error"), Sid(frame.connection, wire.sid)
        if wire.msg.code in ENDING:
            message.actions = self._ended(sid, frame.received)
        return message

    def _ended(self, sid: Sid, received: int) -> list[Action]:
        """The subscription is over."""
        self._awaited.pop(sid, None)
        return self._void(sid, self._books.pop(sid, set()), Gap.UNSUBSCRIBED, received)

    @staticmethod
    def _void(sid: Sid, markets: set[int], reason: Gap, since: int | None = None) -> list[Action]:
        return [Hole(sorted(markets), reason, since)] if markets else []

    def _is_yes_scale(self, sid: Sid, key: int) -> bool:
        if self._flag is not None:
            return self._flag
        is_yes_scale = self._yes_scale.get(sid.connection)
        if is_yes_scale is None:
            self._guessed.setdefault(sid, set()).add(key)
        return bool(is_yes_scale)

    def _learn_scale(self, sid: Sid, yes: list[Level], no: list[Level]) -> list[Action]:
        """Prices of both sides that exceed 1, or a falling no side, are only possible on the yes scale.

        Books that were read on the other scale before that are void.
        """
        if self._flag is not None or sid.connection in self._yes_scale or not no:
            return []
        is_falling = len(no) > 1 and no[0][0] > no[-1][0]
        exceeds = bool(yes) and max(yes)[0] + max(no)[0] > ONE
        if not (is_falling or exceeds or len(no) > 1):
            return []
        self._yes_scale[sid.connection] = is_falling if len(no) > 1 else exceeds
        lost = self._guessed.pop(sid, set())
        if not lost or not self._yes_scale[sid.connection]:
            return []
        self._books[sid] -= lost
        return [Hole(sorted(lost), Gap.BOOK_DAMAGED)]

    # --- ticker, trades, life --------------------------------------------------------------------

    def _ticker(self, msg: TickerMsg) -> Message:
        bid, ask = msg.yes_bid_dollars or cents(msg.yes_bid), msg.yes_ask_dollars or cents(msg.yes_ask)
        if bid is None or ask is None:
            raise BadFrame("ticker without yes_bid_dollars or yes_ask_dollars")
        key, top = key_of(msg.market_ticker), (quote(bid), quote(ask))
        actions: list[Action] = [
            Top(
                key,
                *top,
                _time(msg.ts_ms) or _seconds(msg.ts),
                Source.TICKER,
                _resting(top[0], msg.yes_bid_size_fp),
                _resting(top[1], msg.yes_ask_size_fp),
            ),
            Stats(
                key,
                volume_total_contracts=whole(msg.volume_fp, msg.volume),
                open_interest=whole(msg.open_interest_fp, msg.open_interest),
            ),
        ]
        return Message(Outcome.APPLIED, [*self._name(msg.market_ticker), *actions])

    def _trade(self, wire: TradeFrame, frame: Frame) -> Message:
        msg = wire.msg
        paid, amount = msg.yes_price_dollars or cents(msg.yes_price), msg.count_fp or msg.count
        event = _time(msg.ts_ms) or _seconds(msg.ts)
        if paid is None or amount is None or event is None:
            raise BadFrame("trade without yes_price_dollars, count_fp or ts_ms")
        trade = Trade(
            key_of(msg.market_ticker),
            msg.trade_id,
            price(paid),
            size(amount),
            taker(msg.taker_outcome_side or msg.taker_side),
            event,
            msg.is_block_trade,
        )
        if is_off_clock(event, frame.received):
            raise BadFrame("a trade's time is off")
        if not self._trades.add(msg.trade_id):
            return self._in_turn(wire, frame, Message(Outcome.DUPLICATE))
        return self._in_turn(wire, frame, Message(Outcome.APPLIED, [*self._name(msg.market_ticker), trade]))

    def _lifecycle(self, msg: LifecycleMsg) -> Message:
        if msg.event_type not in _LIFE_KINDS:
            return ignored(f"market_lifecycle_v2:{msg.event_type}")
        status = _LIFE.get(msg.event_type)
        fields = said(
            status=None if status is None else status.value,
            close_time=_seconds(msg.close_ts),
            listed_time=_seconds(msg.open_ts),
            result=kalshi_rest.result(msg.result),
            tick_size=kalshi_rest.finest(msg.price_ranges),
        )
        if msg.event_type == "created":
            fields |= _created(msg.additional_metadata or {})
        return Message(
            Outcome.APPLIED,
            [*self._name(msg.market_ticker), MarketUpdate(key_of(msg.market_ticker), fields)],
        )

    def _name(self, ticker: str) -> list[Action]:
        """The market's id, the first time that its ticker is heard of."""
        if ticker in self._named:
            return []
        self._named.add(ticker)
        return [MarketUpdate(key_of(ticker), {"market_id": kalshi_rest.market_name(ticker)})]


def _candles(raw: bytes, received: int) -> Message:
    try:
        ticker, bars = candles(raw, received)
        return Message(Outcome.APPLIED, [History(key_of(ticker), bars)])
    except (msgspec.DecodeError, BadFrame, RecursionError, UnicodeError) as exc:
        return dead(plain(exc), raw)


def _created(metadata: dict[str, object]) -> dict[str, object]:
    text = {name: value for name, value in metadata.items() if isinstance(value, str)}
    return said(
        title=kalshi_rest.title(text.get("title"), text.get("yes_sub_title")),
        event_id=family_name(text.get("event_ticker")),
        outcomes=["Yes", "No"],
        rules_hash=rules_hash(text.get("rules_primary"), text.get("rules_secondary")),
    )


def _event(msg: EventMsg) -> EventUpdate:
    fields = said(
        title=msg.title,
        series_id=family_name(msg.series_ticker),
        mutually_exclusive=None if not msg.collateral_return_type else msg.collateral_return_type == "MECNET",
    )
    if not msg.event_ticker:
        raise BadFrame("event_ticker is empty")
    return EventUpdate(f"{Venue.KALSHI.value}:{msg.event_ticker}", fields)


def _ladder(now: LEVELS | None, before: LEVELS | None, old: list[tuple[int, Number]] | None) -> Ladder:
    if now is None and before is None and old is not None:
        return kalshi_rest.ladder((cents(level), count) for level, count in old)
    return kalshi_rest.ladder(now if now is not None else before)


def _resting(best: int | None, text: str | None) -> int | None:
    """The size at a best price; None where there is no price, or the size was not said."""
    return None if best is None or text is None else size(text)


def _is_yes(side: str) -> bool:
    if side not in ("yes", "no"):
        raise BadFrame(f"side {side[:20]!r} is neither yes nor no")
    return side == "yes"


def _time(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else since_epoch(milliseconds * 1000)


def _seconds(seconds: int | None) -> int | None:
    return None if seconds is None else since_epoch(seconds * 1_000_000)
