"""What a capture counts, and what it answers of open questions, whatever a venue sends."""

import json
from io import StringIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from flows.collector.capture import Wanted
from flows.collector.census import Census, spread
from flows.collector.questions import answered
from flows.show import captured
from flows.venues.base import Closed, Frame, Opened, Wire
from lake.vocab import Gap, Venue
from tests.flows.feed import SECOND, START
from tests.flows.venues.test_strangers import anything

POLY, KAL = Wire.POLYMARKET_SOCKET, Wire.KALSHI_SOCKET
HOSTILE = "[red]\x1b[31m\u202e<script>alert(1)</script>"


def taken(wire: Wire, *messages: Any, step: int = SECOND) -> Census:
    """A census of these frames, a second apart."""
    census = Census()
    census.take(Opened("c", START, wire))
    for place, message in enumerate(messages):
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        census.take(Frame(place, "c", START + place * step, raw, wire))
    return census


def delta(seq: int, sid: int = 1, **msg: Any) -> dict[str, Any]:
    return {"type": "orderbook_delta", "sid": sid, "seq": seq, "msg": {"market_ticker": "T"} | msg}


def test_holes_and_repeats_of_numbers():
    """Missing numbers are counted by hole and in all, repeats apart, each subscription for itself."""
    census = taken(KAL, *map(delta, (1, 2, 5, 5, 6, 9)), *(delta(seq, 2) for seq in (7, 8)))
    census.take(Closed("c", START, Gap.DISCONNECTED))
    census.take(Opened("c", START, KAL))
    census.take(Frame(0, "c", START, json.dumps(delta(4)).encode(), KAL))
    first, second, anew = census.holes()
    assert (first["messages"], first["holes"], first["missing"], first["repeats"]) == (6, 2, 4, 1)
    assert (second["sid"], second["holes"], anew["life"], anew["holes"]) == (2, 0, 2, 0)
    (lane,) = census.connections(10, {"c": 1})
    assert lane["opens"] == 2 and lane["closes"] == {"disconnected": 1} and lane["messages_per_second"] == 0.9


def test_sizes_lag_and_silence():
    """Lag is ours less the venue's, of changes and not of books; silence is between data, heartbeats aside."""
    change = {"event_type": "price_change", "market": "m", "timestamp": str(START // 1000 - 40)}
    change["price_changes"] = [{"asset_id": "1"}, {"asset_id": "2"}]
    book = {"event_type": "book", "asset_id": "1", "timestamp": "1000"}
    census = taken(POLY, change, book, b"PONG", b"PONG", change, b"{nonsense")
    (lane,) = census.connections(6, {})
    assert lane["lag_ms"] == {"p50": 4_040.0, "p99": 40.0, "max": 4_040.0} and lane["longest_silence_s"] == 3.0
    assert lane["kinds"]["PONG"]["messages"] == 2 and lane["unreadable"] == 1 and lane["asked"] is None
    assert lane["seen"] == 2 and lane["books"] == 1
    assert spread([]) == {"p50": None, "p99": None, "max": None}
    assert spread(range(1, 101)) == {"p50": 51, "p99": 99, "max": 100}


def test_questions_are_answered_by_what_came():
    """Scale of the no side, pace of tickers, combos, numbers on turns of life; the rest is not seen."""
    book = {"type": "orderbook_snapshot", "sid": 1, "seq": 1}
    body = {
        "market_ticker": "KXMVE-1",
        "yes_dollars_fp": [["0.40", "1"]],
        "no_dollars_fp": [["0.99", "1"], ["0.42", "1"]],
    }
    ticks = [{"type": "ticker", "sid": 2, "msg": {"market_ticker": "T", "ts_ms": 1_000 * n}} for n in (1, 2, 4)]
    life = {"type": "market_lifecycle_v2", "sid": 3, "msg": {"market_ticker": "T"}}
    census = taken(KAL, book | {"msg": body}, *ticks, life, life | {"seq": 1})
    seen = {one.question: one.seen for one in answered(census, {}, {"c": 9}) if one.venue is Venue.KALSHI}
    assert seen["prices of the no side with use_yes_price"] == "yes scale in 1 snapshots"
    assert seen["pause between two tickers of a market"] == "median 2,000 ms of 2, shortest 1,000 ms"
    assert seen["combos among the markets of a socket"] == "1 of 2"
    assert seen["numbers on messages of a market's life"] == "1 of 2 have one"
    assert seen["markets a subscription takes"] == "c: asked 9, heard of 2, whole books of 1"
    assert seen["what a request costs"] is None


keys = st.sampled_from(
    ["event_type", "type", "msg", "sid", "seq", "asset_id", "timestamp", "price_changes", "market_ticker", "ts_ms"]
)
values = anything | st.dictionaries(keys, anything | st.dictionaries(keys, anything))


@given(st.lists(st.tuples(st.sampled_from(list(Wire)), values), max_size=8))
def test_never_raises(frames):
    """Any JSON is counted, and the report is plain values."""
    census = Census()
    for place, (wire, value) in enumerate(frames):
        census.take(Frame(place, wire.value, START, json.dumps(value).encode(), wire))
    said = [census.connections(1, {}), census.holes(), census.strangers(), answered(census, {}, {})]
    assert json.dumps(said, allow_nan=False)
    assert sum(lane["frames"] for lane in said[0]) == len(frames)


def test_hostile_text_is_shown_harmless():
    """Kinds, fields and values of a venue act on no terminal and are no markup."""
    census = taken(POLY, {"event_type": HOSTILE}, {"event_type": "best_bid_ask", HOSTILE: HOSTILE, "asset_id": HOSTILE})
    unknown, unread = census.strangers()
    report = {
        "seconds": 1.0, "bytes_on_disk": 1, "connections": census.connections(1, {}), "sequences": [], "dead": {},
        "clock_offset_ms": {"gamma": None}, "rest": [], "unknown": unknown,
        "questions": [{"venue": "polymarket", "question": "q", "seen": HOSTILE}],
    }  # fmt: skip
    console = Console(width=200, record=True, file=StringIO())
    console.print(captured(report))
    text = console.export_text()
    assert "[red]" in text and "\x1b" not in text and "\u202e" not in text
    assert len(unknown) == 2 and unread == []
    assert Wanted(1).venues == tuple(Venue)
