"""Polymarket's market channel: frames in, actions out. There is no socket in this file.

Prices and sizes are decimal strings, times are strings of milliseconds. Both tokens of a market
share one pool of orders: an order on the second token at p is the opposite order on the first at
1 - p, of the same size. So each market has one book, in the direction of its first token, and what
is said of the second is folded into it. Source: CLOB WebSocket, "market channel".
"""

from collections import Counter, OrderedDict
from hashlib import blake2b
from typing import Final, NamedTuple, TypeVar

import msgspec

from flows.venues.base import (
    DUPLICATE,
    Action,
    Change,
    Forget,
    Frame,
    History,
    Hole,
    Level,
    MarketUpdate,
    Message,
    Opened,
    Outcome,
    Reset,
    Top,
    Trade,
    Wire,
    dead,
    elements,
    ignored,
    is_off_clock,
    newest,
    once_a_market,
    plain,
)
from flows.venues.clob import life
from flows.venues.decimals import ONE, price, quote, size
from flows.venues.fields import said, since_epoch
from flows.venues.gamma import catalogue, category, event_fields, market_fields, members
from flows.venues.history import POINTS_ANSWER, points
from flows.venues.polymarket_tape import fill
from flows.venues.polymarket_wire import (
    FRAME,
    KIND,
    KINDS,
    REST_BOOK,
    AnyFrame,
    BestFrame,
    BookFrame,
    LastTradeFrame,
    LevelChange,
    NewMarketFrame,
    PriceChangeFrame,
    ResolvedFrame,
    Side,
    TickSizeFrame,
)
from lake.errors import BadFrame
from lake.vocab import Gap, MarketStatus, Source, TakerSide, Venue, market_id, market_key

_GAMMA: Final = (Wire.GAMMA, Wire.GAMMA_PAGES)

_REMEMBERED: Final = 200_000  # fills and mirrors kept to know a repeat
_TOLD: Final = 20_000  # of these, in `state`: the newest, which are the ones that are told again


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Token(NamedTuple):
    """Where a token stands."""

    market: int
    is_first: bool


class _State(msgspec.Struct):
    """What `Polymarket` remembers."""

    pairs: dict[int, list[str]]
    placeholders: set[int]
    fills: dict[str, dict[str, int]]
    trade_ids: list[str]
    prints: list[tuple[tuple[int, str, int, int, bool], tuple[int, int]]]
    changes: dict[str, dict[int, tuple[str, dict[tuple[str, str, str], tuple[str, str]]]]]
    books: dict[str, dict[str, tuple[str, str, int]]]


_STATE: Final = msgspec.msgpack.Decoder(_State)


class Polymarket:
    """The venue's adapter: `flows.venues.base.Adapter` for its socket and its REST answers."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}
        self._pairs: dict[int, list[str]] = {}  # market to its tokens, the first outcome's first
        self._placeholders: set[int] = set()
        self._fills: dict[str, Counter[str]] = {}  # connection to fills of a token and transaction
        self._trade_ids: OrderedDict[str, None] = OrderedDict()
        self._prints: OrderedDict[tuple[int, str, int, int, bool], tuple[int, int]] = OrderedDict()  # by token
        self._last_change: dict[str, dict[int, tuple[str, dict[tuple[str, str, str], tuple[str, str]]]]] = {}
        self._last_book: dict[str, dict[str, tuple[str, str, int]]] = {}  # of a connection, as the former

    def state(self) -> bytes:
        """All that later frames are read by; of fills the newest."""
        found = _State(
            self._pairs,
            self._placeholders,
            {name: dict(newest(counts.items(), _TOLD)) for name, counts in self._fills.items()},
            newest(self._trade_ids, _TOLD),
            newest(self._prints.items(), _TOLD),
            self._last_change,
            self._last_book,
        )
        return msgspec.msgpack.encode(found)

    def restore(self, state: bytes) -> None:
        """Go on from there."""
        found = _STATE.decode(state)
        for key, tokens in found.pairs.items():
            self._place(key, tokens)
        self._placeholders = found.placeholders
        self._fills = {name: Counter(counts) for name, counts in found.fills.items()}
        self._trade_ids, self._prints = OrderedDict.fromkeys(found.trade_ids), OrderedDict(found.prints)
        self._last_change, self._last_book = found.changes, found.books

    def know(self, market: int, tokens: list[str]) -> None:
        """The two tokens of a market, the first outcome's first, as a catalogue tells them."""
        self._place(market, tokens)

    def opened(self, opened: Opened) -> None:
        """A new connection counts its fills from one; books of before it may be sent again."""
        for known in (self._fills, self._last_change, self._last_book):
            known.pop(opened.connection, None)

    def place(self, native_id: str, tokens: list[str]) -> int | None:
        """As a catalogue told it; the market, if what was heard of it first made us place it the other way round."""
        key = _key(native_id)
        known = self._pairs.get(key)
        if known is not None and key not in self._placeholders:
            return None
        self._place(key, tokens)
        self._placeholders.discard(key)
        return key if known and known[0] != tokens[0] else None

    def parse(self, frame: Frame) -> list[Message]:
        """The frame's messages. Text heartbeats are ignored by kind."""
        payload = frame.payload
        if payload in (b"PONG", b"PING"):
            return [ignored(payload.decode().lower())]
        if payload[:1] == b"{" and frame.wire is Wire.POLYMARKET_SOCKET:  # as nearly all are
            try:
                return [self._read(FRAME.decode(payload), frame)]
            except BadFrame as exc:
                return [dead(exc, payload)]
            except (msgspec.DecodeError, RecursionError, UnicodeError):
                pass  # looked into below, where arrays and glued documents are too
        if frame.wire is Wire.POLYMARKET_HISTORY:
            return self._history(frame)
        try:
            found = elements(payload)
            if frame.wire is Wire.POLYMARKET_TRADES:
                return [self._fill(raw, frame) for raw in reversed([*found])]  # oldest first, as the socket tells them
            if frame.wire in _GAMMA:
                found = (member for raw in found for member in members(raw))
            return [self._message(raw, frame) for raw in found]
        except BadFrame as exc:
            return [dead(exc, payload)]

    def _message(self, raw: bytes, frame: Frame) -> Message:
        try:
            if frame.wire in _GAMMA:
                return Message(Outcome.APPLIED, self._catalogue(raw, is_placing=frame.wire is Wire.GAMMA))
            if frame.wire is Wire.CLOB_MARKET:
                return Message(Outcome.APPLIED, [life(raw)])
            if frame.wire is Wire.CLOB_BOOKS:
                return Message(Outcome.APPLIED, self._rest_book(raw))
            return self._read(FRAME.decode(raw), frame)
        except msgspec.ValidationError as exc:
            return _unfit(raw, exc) if frame.wire is Wire.POLYMARKET_SOCKET else dead(plain(exc), raw)
        except (msgspec.DecodeError, BadFrame, RecursionError, UnicodeError) as exc:
            return dead(plain(exc), raw)

    def _read(self, wire: AnyFrame, frame: Frame) -> Message:
        match wire:
            case PriceChangeFrame():
                return self._price_change(wire, frame)
            case BestFrame():
                return self._best(wire)
            case BookFrame():
                return self._book(wire, frame)
            case LastTradeFrame():
                return self._last_trade(wire, frame)
            case TickSizeFrame():
                return self._tick_size(wire, frame)
            case NewMarketFrame():
                return self._new_market(wire)
            case ResolvedFrame():
                return self._resolved(wire)

    # --- books -----------------------------------------------------------------------------------

    def _price_change(self, wire: PriceChangeFrame, frame: Frame) -> Message:
        changes = wire.price_changes if wire.price_changes is not None else _old_changes(wire)
        if not changes:
            raise BadFrame("price_change without changes")
        event = _time(wire.timestamp)
        read = [(c.asset_id or wire.asset_id, _is_buy(c.side), price(c.price), size(c.size), _best(c)) for c in changes]
        actions: list[Action] = []
        levels, best, token = [], None, self._token(wire.market, read[0][0], actions)
        if self._is_repeat(frame.connection, token.market, wire, changes):
            return DUPLICATE
        for asset, is_buy, level, amount, top in read:
            former, token = token, self._token(wire.market, asset, actions)
            if token.market != former.market:
                raise BadFrame("price_change of tokens of two markets")
            levels.append((is_buy is token.is_first, level if token.is_first else ONE - level, amount))
            if top is not None:
                best = _fold(token, *top)
        actions.append(Change(token.market, levels, event, is_delta=False, best=best))
        return Message(Outcome.APPLIED, actions)

    def _is_repeat(self, connection: str, market: int, wire: PriceChangeFrame, changes: list[LevelChange]) -> bool:
        """Whether each change is what was said last of its level, with the same hash, at the market's newest time."""
        new = {(c.asset_id, c.side, c.price): (c.hash or wire.hash, c.size) for c in changes}
        known = self._last_change.setdefault(connection, {})
        when, last = known.get(market, ("", new))
        if when != wire.timestamp:
            known[market] = (wire.timestamp, new)
            return False
        if all(said[0] and last.get(level) == said for level, said in new.items()):
            return True
        last.update(new)
        return False

    def _best(self, wire: BestFrame) -> Message:
        best, event, actions = (quote(wire.best_bid), quote(wire.best_ask)), _time(wire.timestamp), list[Action]()
        token = self._token(wire.market, wire.asset_id, actions)
        actions.append(Top(token.market, *_fold(token, *best), event, Source.BOOK))
        return Message(Outcome.APPLIED, actions)

    def _book(self, wire: BookFrame, frame: Frame) -> Message:
        bids = wire.bids if wire.bids is not None else wire.buys
        asks = wire.asks if wire.asks is not None else wire.sells
        if bids is None or asks is None:
            raise BadFrame("book without bids or asks")
        levels, event, tick = (_levels(bids), _levels(asks)), _time(wire.timestamp), wire.tick_size
        finer = price(tick) / ONE if tick else None
        actions: list[Action] = []
        token = self._token(wire.market, wire.asset_id, actions)
        reset = _reset(token, *levels)
        key = (wire.timestamp, wire.hash, hash((*reset.bids, -1, *reset.asks)))
        known = self._last_book.setdefault(frame.connection, {})
        if wire.hash and known.get(wire.asset_id) == key:
            return DUPLICATE
        known[wire.asset_id] = key
        reset.event = None if tick is not None else event
        actions.append(reset)
        if finer is not None:
            actions.append(MarketUpdate(token.market, {"tick_size": finer}))
        return Message(Outcome.APPLIED, actions)

    def _rest_book(self, raw: bytes) -> list[Action]:
        """An element of `POST /books`, or the answer of `GET /book`."""
        wire = REST_BOOK.decode(raw)
        levels, actions = (_levels(wire.bids), _levels(wire.asks)), list[Action]()
        reset = _reset(self._token(wire.market, wire.asset_id, actions), *levels)
        reset.source, reset.as_of = Source.REST, _time(wire.timestamp) if wire.timestamp else None
        return [*actions, reset]

    def _tick_size(self, wire: TickSizeFrame, frame: Frame) -> Message:
        """A new grid starts a new book: the levels that we keep are void."""
        tick, actions = price(wire.new_tick_size) / ONE, list[Action]()
        token = self._token(wire.market, wire.asset_id, actions)
        self._last_book.get(frame.connection, {}).pop(wire.asset_id, None)  # that book anew is no repeat
        return Message(
            Outcome.APPLIED, [*actions, Forget(token.market), MarketUpdate(token.market, {"tick_size": tick})]
        )

    # --- trades ----------------------------------------------------------------------------------

    def _last_trade(self, wire: LastTradeFrame, frame: Frame) -> Message:
        paid, amount, event, is_buyer = price(wire.price), size(wire.size), _time(wire.timestamp), _is_buy(wire.side)
        if amount == 0:
            raise BadFrame("a trade of size 0")
        if is_off_clock(event, frame.received):
            raise BadFrame("a trade's time is off")
        actions: list[Action] = []
        token = self._token(wire.market, wire.asset_id, actions)
        trade_price, is_buy = paid if token.is_first else ONE - paid, is_buyer is token.is_first
        trade_id = self._trade_id(wire, frame.connection)
        if trade_id in self._trade_ids:
            return DUPLICATE
        _remember(self._trade_ids, trade_id, None)
        if self._is_mirror(token, wire, trade_price, amount, is_buy):
            return Message(Outcome.DUPLICATE, actions)
        taker = TakerSide.BUY if is_buy else TakerSide.SELL
        actions.append(Trade(token.market, trade_id, trade_price, amount, taker, event))
        return Message(Outcome.APPLIED, actions)

    def _trade_id(self, wire: LastTradeFrame, connection: str) -> str:
        """The transaction's hash and the fill's ordinal on this connection, so that a second one counts alike."""
        counts = self._fills.setdefault(connection, Counter())
        if len(counts) > _REMEMBERED:
            del counts[next(iter(counts))]
        if wire.transaction_hash:
            return _fill_id(counts, wire.transaction_hash, wire.asset_id)
        key = "|".join((wire.asset_id, wire.timestamp, wire.price, wire.size, wire.side))
        counts[key] += 1
        return blake2b(f"{key}|{counts[key]}".encode(), digest_size=16).hexdigest()

    def _is_mirror(self, token: Token, wire: LastTradeFrame, paid: int, amount: int, is_buy: bool) -> bool:
        """Whether this fill was printed already on the market's other token."""
        key = (token.market, wire.transaction_hash or wire.timestamp, paid, amount, is_buy)
        first, second = self._prints.get(key, (0, 0))
        printed = (first + 1, second) if token.is_first else (first, second + 1)
        _remember(self._prints, key, printed)
        here, there = printed if token.is_first else printed[::-1]
        return here <= there

    def _fill(self, raw: bytes, frame: Frame) -> Message:
        """A row of the tape: a taker's fill, told once, on the token that was traded."""
        try:
            row, actions = fill(raw), list[Action]()
            token = self._token(row.condition_id, row.asset, actions)
        except (msgspec.DecodeError, BadFrame, RecursionError, UnicodeError) as exc:
            return dead(plain(exc), raw)
        counts = self._fills.setdefault(frame.connection, Counter())
        if len(counts) > _REMEMBERED:
            del counts[next(iter(counts))]
        taker = TakerSide.BUY if row.is_buyer is token.is_first else TakerSide.SELL
        paid = row.paid if token.is_first else ONE - row.paid
        trade_id = _fill_id(counts, row.transaction_hash, row.asset)
        if trade_id in self._trade_ids:
            return DUPLICATE
        _remember(self._trade_ids, trade_id, None)
        actions.append(Trade(token.market, trade_id, paid, row.amount, taker, row.event))
        return Message(Outcome.APPLIED, actions)

    # --- history ---------------------------------------------------------------------------------

    def _history(self, frame: Frame) -> list[Message]:
        """An answer names the tokens that were asked for: a message for each."""
        try:
            answers = POINTS_ANSWER.decode(frame.payload).history
        except (msgspec.DecodeError, RecursionError, UnicodeError) as exc:
            return [dead(plain(exc), frame.payload)]
        return [*once_a_market(self._points(token, bytes(raw), frame.received) for token, raw in answers.items())]

    def _points(self, token: str, raw: bytes, received: int) -> Message:
        place = self._tokens.get(token)
        if place is None:
            return ignored("history:unknown_token")
        try:
            bars = points(raw, received, is_first=place.is_first)
        except (msgspec.DecodeError, BadFrame, RecursionError, UnicodeError) as exc:
            return dead(plain(exc), raw)
        return Message(Outcome.APPLIED, [History(place.market, bars)])

    # --- metadata --------------------------------------------------------------------------------

    def _new_market(self, wire: NewMarketFrame) -> Message:
        if len(wire.assets_ids) != 2 or len(wire.outcomes) != 2:
            return ignored("new_market:not_binary")
        event = wire.event_message or {}
        fields: dict[str, object] = {
            "title": wire.question,
            "outcomes": wire.outcomes,
            "outcome_token_ids": wire.assets_ids,
            "status": MarketStatus.ACTIVE.value,
            "slug": wire.slug or None,
            "tags": wire.tags or [],
            "listed_time": _time(wire.timestamp),
            **said(category=category(wire.tags or ())),
        }
        if event.get("id"):
            fields["event_id"] = f"{Venue.POLYMARKET.value}:{event['id']}"
        if wire.order_price_min_tick_size is not None:
            fields["tick_size"] = price(wire.order_price_min_tick_size) / ONE
        return Message(Outcome.APPLIED, self._describe(wire.market, fields, wire.assets_ids))

    def _resolved(self, wire: ResolvedFrame) -> Message:
        known = self._pairs.get(_key(wire.market))
        tokens = wire.assets_ids if len(wire.assets_ids) == 2 else known
        if tokens is None or wire.winning_asset_id not in (known or tokens):
            raise BadFrame("market_resolved: the winner is none of the market's tokens")
        fields: dict[str, object] = {"status": MarketStatus.RESOLVED.value}
        if wire.winning_outcome:
            fields["result"] = wire.winning_outcome
        return Message(Outcome.APPLIED, self._describe(wire.market, fields, tokens))

    def _catalogue(self, raw: bytes, *, is_placing: bool) -> list[Action]:
        actions: list[Action] = []
        events, markets = catalogue(raw)
        actions.extend(event_fields(event) for event in events)
        for market, event in markets:
            found = market_fields(market, event)
            if found is None:
                continue
            if is_placing:
                actions.extend(self._describe(found.native_id, found.fields, found.tokens))
            else:
                name = market_id(Venue.POLYMARKET, found.native_id)
                tokens = {"outcome_token_ids": found.tokens} if found.tokens else {}
                actions.append(MarketUpdate(_key(found.native_id), {"market_id": name, **found.fields, **tokens}))
            actions.extend(found.figures)
        return actions

    def _describe(self, native: str, fields: dict[str, object], tokens: list[str]) -> list[Action]:
        """Metadata of a market, and its tokens' places; a placeholder that stood the other way round is turned."""
        key = _key(native)
        known = self._pairs.get(key)
        actions: list[Action] = []
        if known is None or key in self._placeholders:
            if known and tokens and known[0] != tokens[0]:
                actions += [Hole([key], Gap.DIRECTION_CHANGED), Forget(key)]
            if tokens:
                self._place(key, tokens)
                self._placeholders.discard(key)
        fields = {"market_id": market_id(Venue.POLYMARKET, native), **fields}
        if tokens and "outcome_token_ids" not in fields:
            fields["outcome_token_ids"] = self._pairs[key]
        return [*actions, MarketUpdate(key, fields)]

    def _token(self, native: str, token: str, actions: list[Action]) -> Token:
        """The token's place. A market that no catalogue has named is placed by the token first heard of."""
        found = self._tokens.get(token)
        if found is not None:
            return found
        if not token or not native:
            raise BadFrame("neither market nor asset_id may be empty")
        key = _key(native)
        pair = self._pairs.get(key, [])
        if len(pair) >= 2:
            raise BadFrame(f"token {token[:20]} is none of the two of market {native[:20]}")
        self._place(key, [*pair, token])
        self._placeholders.add(key)
        actions.append(
            MarketUpdate(
                key,
                {"market_id": market_id(Venue.POLYMARKET, native), "outcome_token_ids": self._pairs[key]},
            )
        )
        return self._tokens[token]

    def _place(self, key: int, tokens: list[str]) -> None:
        self._pairs[key] = list(tokens)
        for place, token in enumerate(tokens):
            self._tokens[token] = Token(key, place == 0)


def _key(native: str) -> int:
    return market_key(market_id(Venue.POLYMARKET, native))


def _fill_id(counts: Counter[str], transaction: str, token: str) -> str:
    """The transaction's hash and the fill's ordinal in it, counted in `counts`."""
    key = f"{transaction}:{token}"
    counts[key] += 1
    return f"{transaction}-{token[-6:]}-{counts[key]}"


def _time(milliseconds: str) -> int:
    if not milliseconds.isdecimal() or len(milliseconds) > 16:
        raise BadFrame(f"timestamp {milliseconds[:30]!r} is no number of milliseconds")
    return since_epoch(int(milliseconds) * 1000)


def _is_buy(side: str) -> bool:
    if side not in ("BUY", "SELL"):
        raise BadFrame(f"side {side[:20]!r} is neither BUY nor SELL")
    return side == "BUY"


def _fold(token: Token, bid: int | None, ask: int | None) -> tuple[int | None, int | None]:
    """Best prices of a token as those of the first outcome."""
    if token.is_first:
        return bid, ask
    return None if ask is None else ONE - ask, None if bid is None else ONE - bid


def _best(change: LevelChange) -> tuple[int | None, int | None] | None:
    if change.best_bid is None or change.best_ask is None:
        return None
    return quote(change.best_bid), quote(change.best_ask)


def _levels(sides: list[Side]) -> list[Level]:
    return [(price(side.price), size(side.size)) for side in sides]


def _reset(token: Token, bids: list[Level], asks: list[Level]) -> Reset:
    if token.is_first:
        return Reset(token.market, bids, asks, None)
    return Reset(token.market, _mirrored(asks), _mirrored(bids), None)


def _mirrored(levels: list[Level]) -> list[Level]:
    return [(ONE - level, amount) for level, amount in levels]


def _old_changes(wire: PriceChangeFrame) -> list[LevelChange]:
    if wire.changes is not None:
        return wire.changes
    if wire.price is None or wire.size is None or wire.side is None:
        raise BadFrame("price_change without price, size or side")
    return [LevelChange(wire.price, wire.size, wire.side)]


def _unfit(raw: bytes, exc: Exception) -> Message:
    """A known kind in an unknown form is dead; an unknown kind is ignored and counted by its name."""
    try:
        kind = KIND.decode(raw).event_type
    except (msgspec.DecodeError, UnicodeError, RecursionError) as bad:
        return dead(plain(bad), raw)
    if kind in KINDS:
        return dead(plain(exc), raw)
    return ignored("no_event_type" if kind is None else f"unknown:{kind}")


def _remember(memory: "OrderedDict[_Key, _Value]", key: _Key, value: _Value) -> None:
    memory[key] = value
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
