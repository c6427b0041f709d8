"""What a capture counts of each connection: rates, sizes, kinds, lag, silence, holes, ids, strangers."""

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from flows.collector.journal import Item
from flows.venues.base import Closed, Frame, Opened, Wire, elements
from flows.venues.strangers import Sample
from lake.clock import SECOND_US
from lake.errors import BadFrame
from lake.text import safe_text

MOST: Final = 1_000_000
"""Sizes and lags that are kept of a connection."""

MOST_NAMES: Final = 200
_STALE: Final = frozenset(("book", "orderbook_snapshot"))
"""Kinds whose time is the book's last change, not that of the message."""

_IDS: Final = (
    "market", "condition_id", "asset_id", "token_id", "assets_ids", "clob_token_ids", "market_ticker", "market_id", "id"
)  # fmt: skip


class Lane:
    """One connection."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.opens = 0
        self.closes: Counter[str] = Counter()
        self.frames = self.bytes = self.unreadable = 0
        self.kinds: Counter[str] = Counter()
        self.sizes, self.lags = array("q"), array("q")
        self.seen: Counter[str] = Counter()  # tokens or tickers
        self.books: set[str] = set()  # those of which a whole book came
        self.last_data: int | None = None
        self.longest_silence = 0  # microseconds between two frames with a market's data
        self.seqs: dict[
            tuple[int, int], list[int]
        ] = {}  # life and sid to last number, messages, holes, missing, repeats
        self.numbered: Counter[str] = Counter()  # kinds with a seq
        self.paces: dict[str, int] = {}  # market to the time of its last ticker
        self.pauses = array("q")  # between two tickers of a market, milliseconds
        self.scales: Counter[str] = Counter()  # what the sides of a snapshot show


class Census:
    """Tell it everything that came in; `report` has the answers in plain values."""

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}
        self.strange = Sample(every=1)
        self.ids: Counter[str] = Counter()
        self.id_examples: dict[str, str] = {}

    def take(self, item: Item) -> None:
        """The next item."""
        match item:
            case Frame():
                self._frame(item)
            case Opened():
                lane = self._lane(item.connection, item.wire)
                lane.opens += 1
                lane.last_data, lane.paces = None, {}
            case Closed() if item.connection in self.lanes:
                self.lanes[item.connection].closes[item.reason.value] += 1

    def _lane(self, name: str, wire: Wire) -> Lane:
        return self.lanes.setdefault(name, Lane(wire))

    def _frame(self, frame: Frame) -> None:
        lane = self._lane(frame.connection, frame.wire)
        lane.frames += 1
        lane.bytes += len(frame.payload)
        _keep(lane.sizes, len(frame.payload))
        self.strange.look(frame)
        if frame.wire.is_poll:
            lane.kinds["answer"] += 1
            return
        try:
            messages = [msgspec.json.decode(raw) for raw in elements(frame.payload)]
        except (BadFrame, msgspec.DecodeError, RecursionError, UnicodeError):
            text = safe_text(frame.payload[:20].decode("ascii", "replace"))
            _count(lane.kinds, text if text in ("PONG", "PING") else "unreadable")
            lane.unreadable += text not in ("PONG", "PING")
            return
        for message in messages:
            if isinstance(message, dict):
                self._message(lane, frame, message)

    def _message(self, lane: Lane, frame: Frame, message: dict[str, Any]) -> None:
        is_kalshi = frame.wire is Wire.KALSHI_SOCKET
        kind = safe_text(str(message.get("type" if is_kalshi else "event_type")), 60)
        _count(lane.kinds, kind)
        inner = message.get("msg")
        body = inner if is_kalshi and isinstance(inner, dict) else message
        self._note_ids(body, kind)
        name = body.get("market_ticker" if is_kalshi else "asset_id")
        for each in [name, *_tokens(body)]:
            if isinstance(each, str) and each and (each in lane.seen or len(lane.seen) < MOST):
                lane.seen[each] += 1
        if isinstance(name, str) and kind in _STALE:
            lane.books.add(name)
        if is_kalshi:
            self._number(lane, message, kind)
            self._pace(lane, body, kind)
        at = body.get("ts_ms" if is_kalshi else "timestamp")
        if kind not in _STALE and str(at).isdecimal() and len(str(at)) <= 16:
            _keep(lane.lags, frame.received - int(str(at)) * 1000)
        if name or _tokens(body):
            if lane.last_data is not None:
                lane.longest_silence = max(lane.longest_silence, frame.received - lane.last_data)
            lane.last_data = frame.received

    def _note_ids(self, body: dict[str, Any], kind: str) -> None:
        for name in _IDS:
            if name in body:
                key = f"{kind}.{name}"
                _count(self.ids, key)
                if len(self.id_examples) < MOST_NAMES:
                    self.id_examples.setdefault(key, safe_text(str(body[name]), 48))

    @staticmethod
    def _number(lane: Lane, message: dict[str, Any], kind: str) -> None:
        sid, seq = message.get("sid"), message.get("seq")
        if not isinstance(sid, int) or not isinstance(seq, int):
            return
        _count(lane.numbered, kind)
        known = lane.seqs.get((lane.opens, sid))
        if known is None:
            lane.seqs[lane.opens, sid] = [seq, 1, 0, 0, 0]
            return
        step = seq - known[0]
        known[1] += 1
        if step > 1:
            known[2] += 1
            known[3] += step - 1
        elif step < 1:
            known[4] += 1
        known[0] = max(known[0], seq)

    @staticmethod
    def _pace(lane: Lane, body: dict[str, Any], kind: str) -> None:
        name, at = body.get("market_ticker"), body.get("ts_ms")
        if kind == "ticker" and isinstance(name, str) and isinstance(at, int) and len(lane.paces) < MOST:
            if name in lane.paces:
                _keep(lane.pauses, min(max(at - lane.paces[name], 0), 1 << 40))
            lane.paces[name] = at
        elif kind == "orderbook_snapshot":
            scale = _scale(_prices(body.get("yes_dollars_fp")), _prices(body.get("no_dollars_fp")))
            if scale is not None:
                lane.scales[scale] += 1

    # --- answers ---------------------------------------------------------------------------------

    def connections(self, seconds: float, asked: dict[str, int]) -> list[dict[str, Any]]:
        """A dict a connection: counts, rates a second, sizes in bytes, lag and silence."""
        return [self._connection(name, lane, max(seconds, 0.001), asked.get(name)) for name, lane in self.lanes.items()]

    @staticmethod
    def _connection(name: str, lane: Lane, seconds: float, asked: int | None) -> dict[str, Any]:
        messages = sum(lane.kinds.values())
        return {
            "name": name,
            "wire": lane.wire.value,
            "opens": lane.opens,
            "closes": dict(lane.closes),
            "asked": asked,
            "seen": len(lane.seen),
            "books": len(lane.books),
            "frames": lane.frames,
            "messages": messages,
            "messages_per_second": round(messages / seconds, 2),
            "bytes": lane.bytes,
            "unreadable": lane.unreadable,
            "size": spread(lane.sizes),
            "lag_ms": {key: None if value is None else value / 1000 for key, value in spread(lane.lags).items()},
            "longest_silence_s": round(lane.longest_silence / SECOND_US, 1),
            "kinds": {
                kind: {"messages": n, "per_second": round(n / seconds, 3)} for kind, n in lane.kinds.most_common()
            },
        }

    def holes(self) -> list[dict[str, Any]]:
        """What Kalshi's numbers show, a dict a subscription; `life` counts the openings of the connection."""
        names = ("messages", "holes", "missing", "repeats")
        return [
            {"connection": name, "life": life, "sid": sid, **dict(zip(names, known[1:], strict=True))}
            for name, lane in self.lanes.items()
            for (life, sid), known in sorted(lane.seqs.items())
        ]

    def strangers(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """What no struct knows: of sockets, where it is news; of REST answers, where we read a part only."""
        found = [
            {"wire": wire.value, "kind": kind, "field": path or None, "count": count, "example": example}
            for (wire, kind, path), (count, example) in sorted(self.strange.found.items())
        ]
        polls = {wire.value for wire in Wire if wire.is_poll}
        return [row for row in found if row["wire"] not in polls], [row for row in found if row["wire"] in polls]


def spread(values: Sequence[int]) -> dict[str, float | None]:
    """p50, p99 and max; None without any."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": None, "p99": None, "max": None}
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[int(0.99 * (len(ordered) - 1))], "max": ordered[-1]}


def _keep(values: "array[int]", value: int) -> None:
    if len(values) < MOST and abs(value) < 1 << 62:
        values.append(value)


def _count(counter: Counter[str], name: str) -> None:
    """Count, but no more than `MOST_NAMES` names: they are the venue's."""
    counter[name if name in counter or len(counter) < MOST_NAMES else "other"] += 1


def _tokens(body: dict[str, Any]) -> list[Any]:
    """The tokens that a message of several names."""
    changes = body.get("price_changes")
    return [one.get("asset_id") for one in changes if isinstance(one, dict)] if isinstance(changes, list) else []


def _scale(yes: list[float], no: list[float]) -> str | None:
    """On which scale the no side of a book is; None where nothing shows it: bids of both legs add up to 1 at most."""
    if not yes or not no:
        return None
    if max(yes) + max(no) > 1:
        return "yes scale"
    return "own leg" if min(no) <= max(yes) else None


def _prices(levels: Any) -> list[float]:
    try:
        return [float(level[0]) for level in levels or ()]
    except (TypeError, ValueError, LookupError):
        return []
