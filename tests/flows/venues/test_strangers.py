"""Kinds and fields that no struct knows are found, whatever the frame holds; what is documented is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.venues.base import Frame, Wire
from flows.venues.strangers import MOST, Sample, Stranger, strangers
from tests.flows.feed import FRAMES, frame

POLY, KAL = Wire.POLYMARKET_SOCKET, Wire.KALSHI_SOCKET
SOCKETS = {"polymarket": POLY, "kalshi": KAL}
NAMES = sorted(
    f"{venue}/{path.stem}"
    for venue in SOCKETS
    for path in (FRAMES / venue).glob("*.json")
    if any(key in json.loads(path.read_bytes()) for key in ("event_type", "type"))
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def found(wire: Wire, value: object) -> list[Stranger]:
    return strangers(wire, json.dumps(value).encode())


def test_a_new_field_is_found_where_it_is():
    """On top, in a list's items, and inside an envelope, each with a short example."""
    change = {"asset_id": "1", "price": "0.5", "size": "1", "side": "BUY", "fee": "7"}
    poly = {"event_type": "price_change", "market": "m", "timestamp": "1", "shard": 3, "price_changes": [change] * 2}
    assert found(POLY, [poly]) == [
        Stranger("price_change", "shard", "3"),
        Stranger("price_change", "price_changes[].fee", '"7"'),
    ]
    kal = {"type": "trade", "sid": 1, "seq": 2, "msg": {"trade_id": "t", "market_ticker": "T", "mood": {"a": [1]}}}
    assert found(KAL, kal) == [Stranger("trade", "msg.mood", '{"a":[1]}')]


def test_an_unknown_kind_is_found_as_a_whole():
    """By its name, which is made harmless, as is the example."""
    (one,) = found(POLY, {"event_type": "moon\x1b[31m\u202e", "x": "y" * 500})
    assert one.path == "" and one.kind == "moon[31m" and len(one.example) <= 60
    assert found(KAL, {"no": "type"})[0].kind == "None"


@pytest.mark.parametrize("name", NAMES)
def test_our_own_frames_hold_none(name):
    """Frames as the venues document them have no stranger, but for those that are told apart as unknown kinds."""
    assert [one for one in strangers(SOCKETS[name.partition("/")[0]], frame(name)) if one.path] == []


@pytest.mark.recordings
def test_recorded_frames(recordings):
    """Frames that the venues sent have none."""
    import gzip

    seen = 0
    for path in sorted((recordings / "polymarket").glob("*ws_frames*.jsonl")):
        for line in path.read_bytes().splitlines():
            row = json.loads(line)
            if isinstance(row.get("payload"), str):
                seen += 1
                assert strangers(POLY, row["payload"].encode()) == []
    for path in sorted((recordings / "kalshi").glob("ws_frames/*")):
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in text.splitlines():
            if b'"type"' in line and line.startswith(b'{"'):
                seen += 1
                assert [one for one in strangers(KAL, line) if one.path] == []
    assert seen > 50


def test_rest_answers():
    """What no struct reads of a market, an event and a trade is told by the kind of thing."""
    market = {"conditionId": "0x1", "question": "?", "moonPhase": 1, "events": [{"id": "7", "mood": 2}]}
    page = {"events": [{"id": "7", "markets": [market], "new": 1}]}
    named = {("event", "new"), ("market", "moonPhase"), ("market", "events[].mood")}
    assert {one[:2] for one in found(Wire.GAMMA, page)} == named
    assert {one[:2] for one in found(Wire.GAMMA, [market])} == named - {("event", "new")}
    answer = {"events": [{"event_ticker": "E", "x": 1, "markets": [{"ticker": "T", "y": 2}]}], "cursor": ""}
    assert {one[:2] for one in found(Wire.KALSHI_REST, answer)} == {("event", "x"), ("market", "y")}


@given(anything, st.sampled_from(list(Wire)))
def test_never_raises(value, wire):
    """Any JSON, and bytes that are none."""
    raw = json.dumps(value).encode()
    assert all(len(one.kind) <= 60 and len(one.example) <= 60 for one in strangers(wire, raw))
    strangers(wire, raw[: len(raw) // 2])


def test_a_sample_looks_at_some_and_keeps_few():
    """One frame in so many is looked at; of a flood of new names the first are kept, the rest is counted."""
    sample, raw = Sample(every=10), b'{"event_type":"moon"}'
    for seq in range(100):
        sample.look(Frame(seq, "c", 0, raw, POLY))
    assert sample.found == {(POLY, "moon", ""): (10, '{"event_type":"moon"}')}
    for number in range(MOST + 50):
        sample.look(Frame(0, "c", 0, b'{"event_type":"m%d"}' % number, POLY))
    assert len(sample.found) == MOST and sample.others == 51
