"""Whatever comes in, every message is accounted for and every row may stand in the lake."""

import json
import os
from datetime import timedelta
from itertools import count
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.collector.books import Books
from flows.collector.journal import Cut, Tick
from flows.collector.pipeline import Pipeline
from flows.collector.segments import SEGMENT_BYTES, Rule, Segment
from flows.venues.base import Closed, Frame, Outcome, Wire
from lake.clock import HOUR_US, MINUTE_US, from_us
from lake.schema import DEAD_LETTERS, FEED_HEALTH, GAPS, MARKETS, QUOTES, TABLES, TRADES
from lake.vocab import Gap, Venue
from tests.flows.feed import SECOND, START, TICKER, Feed, frame, value
from tests.flows.fuzz import mutated

WIRES = list(Wire)
FRAMES = 400 if os.environ.get("MOVERS_PROFILE") != "soak" else 20_000  # a wire: 3,200 in all


def require_sound(run: Feed, payloads: list[bytes]) -> None:
    """What holds for any feed that has finished."""
    counts = run.pipeline.counts
    assert counts.frames == len(payloads) and counts.failed == 0
    assert counts.bytes == sum(map(len, payloads))
    assert counts.messages == sum(counts.outcomes[outcome] for outcome in Outcome)
    assert counts.ignored.total() == counts.outcomes[Outcome.IGNORED]
    assert counts.dead.total() == counts.outcomes[Outcome.DEAD] == len(run.rows(DEAD_LETTERS))
    health = run.table(FEED_HEALTH)
    assert health["frames"].sum() == counts.frames
    for outcome in Outcome:
        assert health[outcome.value].sum() == counts.outcomes[outcome]
    assert health.filter(pl.sum_horizontal("applied", "ignored", "duplicate", "dead") != pl.col("messages")).is_empty()
    for name, made in counts.rows.items():
        table = TABLES[name]
        rows = run.table(table)  # as the lake would store them, so a value that no column holds fails here
        assert rows.height == made
        if table is not GAPS:
            assert not rows.select(table.key).is_duplicated().any(), name
    quotes, trades = run.table(QUOTES), run.table(TRADES)
    for price in (quotes["bid"], quotes["ask"], trades["price"]):
        assert price.drop_nulls().is_between(0, 1).all()
    assert (quotes["bid"] < quotes["ask"]).drop_nulls().all()
    assert (trades["size"] >= 0).all()
    assert (pl.concat([quotes["bid_size"], quotes["ask_size"]]).drop_nulls() >= 0).all()
    assert quotes.filter(pl.col("bid").is_null() & pl.col("bid_size").is_not_null()).is_empty()
    for letter in run.rows(DEAD_LETTERS):
        assert letter["frame"] in payloads[letter["seq"] % 2**40]
    numbers = [segment.first_seq for segment in run.sealed]
    assert numbers == sorted(numbers)
    assert sum(segment.frames for segment in run.sealed) == len(payloads)


@pytest.mark.parametrize("wire", WIRES)
def test_mutated_frames(wire):
    """Mutated frames of every wire: messages = applied + ignored + duplicate + dead, without an error."""
    payloads = mutated(wire, Random(f"{wire}-1"), FRAMES)
    run = Feed(wire)
    run.polymarket.parse(Frame(0, "c", START, frame("polymarket/gamma_market"), Wire.GAMMA))  # so that tokens are known
    run.send(*payloads, step=0.3).finish()
    require_sound(run, payloads)
    assert run.pipeline.counts.outcomes[Outcome.DEAD] > FRAMES / 50
    assert run.pipeline.counts.outcomes[Outcome.APPLIED] > FRAMES / 10


@given(
    st.lists(
        st.tuples(st.sampled_from(WIRES), st.binary(max_size=60) | st.from_regex(rb"\A[\[{][^\x00]{0,40}[\]}]\Z")),
        max_size=20,
    )
)
def test_any_bytes(frames):
    """Any bytes on any wire are accounted for, without an error."""
    run = Feed(Wire.KALSHI_SOCKET)
    for wire, payload in frames:
        run.send(payload, wire=wire, connection=wire.value)
    require_sound(run.finish(), [payload for _, payload in frames])


@given(st.integers(0, 2**32), st.sampled_from(WIRES))
def test_any_seed(seed, wire):
    """Short sessions of mutated frames over a reconnect: the law holds for each of them."""
    random = Random(seed)
    payloads = mutated(wire, random, 8)
    run = Feed(wire).send(*payloads[:4]).opened().send(*payloads[4:]).finish()
    require_sound(run, payloads)


def test_messages_are_those_of_the_document():
    """A socket frame that is a JSON array holds as many messages as elements; any other document holds one."""
    for payload in mutated(Wire.POLYMARKET_SOCKET, Random(3), 300):
        try:
            document = json.loads(payload.decode(), parse_constant=lambda _: 1 / 0)
        except (ValueError, ZeroDivisionError):
            continue
        run = Feed(Wire.POLYMARKET_SOCKET).send(payload).finish()
        assert run.pipeline.counts.messages == (len(document) if isinstance(document, list) else 1)


def test_dead_letters_keep_bytes_and_place():
    """The broken element of an array is kept alone, with its place."""
    run = Feed(Wire.POLYMARKET_SOCKET).named("polymarket/array")
    letter = run.rows(DEAD_LETTERS)[0]
    assert letter["element"] == 1
    assert json.loads(letter["frame"])["bids"] == "none"
    assert "array" in letter["reason"]


def test_own_code_that_fails(monkeypatch):
    """A frame on which our own code fails is a dead letter as a whole, and the book that it touched is not known."""
    run = Feed(Wire.POLYMARKET_SOCKET).named("polymarket/new_market", "polymarket/best_bid_ask")
    settle = Books.settle

    def failing(self, book, received, seq):
        raise ZeroDivisionError

    monkeypatch.setattr(Books, "settle", failing)
    bad = json.dumps(json.loads(frame("polymarket/best_bid_ask")) | {"best_bid": "0.41"}).encode()
    run.send(bad)
    monkeypatch.setattr(Books, "settle", settle)
    run.named("polymarket/best_bid_ask").finish()
    letter = run.rows(DEAD_LETTERS)[0]
    assert (letter["frame"], letter["reason"], letter["element"]) == (bad, "failed on: ZeroDivisionError", -1)
    assert run.pipeline.counts.failed == 1
    assert [(gap["reason"], gap["start_time"], gap["end_time"]) for gap in run.rows(GAPS)][:1] == [
        (Gap.BOOK_DAMAGED.value, letter["received_time"], run.rows(QUOTES)[-1]["event_time"])
    ]


def test_one_row_a_frame_and_market():
    """A frame that changes a top twice makes one row, of the state after the whole frame."""
    best = json.loads(frame("polymarket/best_bid_ask"))
    run = Feed(Wire.POLYMARKET_SOCKET).named("polymarket/new_market")
    run.send([best | {"best_bid": bid} for bid in ("0.40", "0.45", "0.50")])
    assert run.tops(QUOTES) == [(0.50, 0.53, None, None)]


def test_rows_of_a_frame_share_its_seq():
    """All rows of a frame carry its seq: the epoch in the high bits, the frame's number in the low ones."""
    run = Feed(Wire.KALSHI_SOCKET).named("kalshi/ok_list", "kalshi/ticker")
    for table in (QUOTES, MARKETS):
        assert run.table(table)["seq"].to_list() == [(7 << 40) + 1]


def test_health_of_a_minute():
    """Each connection and minute has one row: what came in, what became of it, and how late."""
    run = Feed(Wire.KALSHI_SOCKET).named("kalshi/ticker", "kalshi/error", at=1).named("kalshi/ticker", at=61)
    run.named("kalshi/ticker", connection="d", at=62).opened(at=63).named("kalshi/ticker", at=64).finish()
    rows = run.table(FEED_HEALTH).sort("connection", "minute").to_dicts()
    assert [(row["connection"], row["frames"], row["ignored"], row["reconnects"]) for row in rows] == [
        ("c", 2, 1, 0), ("c", 2, 0, 1), ("d", 1, 0, 0),
    ]  # fmt: skip
    assert rows[0]["lag_p50_ms"] == 750.0
    assert json.loads(rows[0]["ignored_kinds"]) == {"error": 1}


# --- segments ------------------------------------------------------------------------------------


def starts(*times: float, size: int = 10) -> list[float]:
    """The first frame's second of each segment of frames at these seconds."""
    run = Feed(Wire.POLYMARKET_SOCKET)
    for at in times:
        run.send(b" " * size, at=at)
    run.finish()
    return [(segment.first_received - START) / 1e6 for segment in run.sealed]


def test_segment_closes_at_sixty_seconds():
    """The frame that comes 60 s after a segment's first one begins the next."""
    assert starts(0, 59.999, 60, 119, 120.5) == [0, 60, 120.5]


def test_segment_closes_at_the_hour():
    """A UTC hour's edge ends a segment, however young."""
    edge = (HOUR_US - START % HOUR_US) / 1e6
    assert starts(edge - 1, edge - 0.001, edge, edge + 1) == [edge - 1, edge]


def test_large_segment_closes_once_it_is_ten_seconds_old():
    """At 16 MiB a segment ends, but not before it is 10 s old."""
    assert starts(0, 1, 9.9, 10, 11, size=SEGMENT_BYTES) == [0, 10]
    assert starts(0, 10, 20, size=SEGMENT_BYTES // 2 - 1) == [0]


def test_ranges_are_contiguous():
    """Segments hold each frame once, in order, without a hole."""
    run = Feed(Wire.POLYMARKET_SOCKET).send(*[b"PONG"] * 500, step=0.7).finish()
    first, *rest = run.sealed
    assert first.first_seq == 7 << 40
    last = first
    for segment in rest:
        assert segment.first_seq == last.last_seq + 1
        last = segment
    assert last.last_seq == (7 << 40) + 499
    assert all(segment.last_seq - segment.first_seq + 1 == segment.frames for segment in run.sealed)


def test_feed_without_a_frame():
    """A feed that ends before its first frame seals nothing."""
    assert Feed(Wire.POLYMARKET_SOCKET).finish().sealed == []


def test_clock_that_steps_back():
    """A received time before the segment's first one starts a segment: none stays open until the clock is back."""
    assert Rule().is_over(START, 0, START - 1)
    assert starts(100, 50, 99, 111) == [100, 50, 111]


def test_trade_of_another_century_is_a_dead_letter():
    """A trade whose time cannot be right is kept aside with its bytes, and moves no clock."""
    odd = value("kalshi/trade")
    odd["msg"]["ts_ms"] = 4_000_000_000_000
    run = Feed(Wire.KALSHI_SOCKET).send(odd).finish()
    assert run.rows(TRADES) == []
    assert run.rows(DEAD_LETTERS)[0]["frame"] == json.dumps(odd, separators=(",", ":")).encode()
    require_sound(run, [json.dumps(odd, separators=(",", ":")).encode()])


def test_quote_of_another_century_counts_from_its_receipt():
    """A price with an impossible time is as of its receipt, as one without a time is."""
    odd = value("kalshi/ticker")
    odd["msg"]["ts_ms"] = 4_000_000_000_000
    row = Feed(Wire.KALSHI_SOCKET).send(odd).finish().rows(QUOTES)[0]
    assert row["event_time"] == row["received_time"]


def test_poll_does_not_undo_the_stream():
    """A REST answer may be older than the stream that keeps the book; once the stream is down, it serves."""
    poll = {"ticker": TICKER, "yes_bid_dollars": "0.1000", "yes_ask_dollars": "0.9000"}
    run = Feed(Wire.KALSHI_SOCKET).named("kalshi/snapshot").send(poll, wire=Wire.KALSHI_REST, connection="rest")
    streamed = run.tops(QUOTES)
    assert len(streamed) == 1
    run.opened().send(poll, wire=Wire.KALSHI_REST, connection="rest")
    assert [top[:2] for top in run.tops(QUOTES)] == [streamed[0][:2], (0.1, 0.9)]


# --- live: the clock, catalogues, who listens ----------------------------------------------------


def test_idle_segment_closes_by_the_clock():
    """Where no frame comes the clock closes a segment that is over, and writes the minute of a silent connection."""
    run = Feed(Wire.KALSHI_SOCKET).named("kalshi/ticker", at=1)
    run.pipeline.tick(START + 30 * SECOND, 0)
    assert run.sealed == [] and run.rows(FEED_HEALTH) == []
    run.pipeline.tick(START + 61 * SECOND, 0)
    assert [segment.frames for segment in run.sealed] == [1]
    assert len(run.rows(FEED_HEALTH)) == 1
    run.pipeline.tick(START + 200 * SECOND, 0)
    assert len(run.sealed) == 1


def test_rows_without_a_frame_have_a_segment():
    """What the clock writes while no segment is open has one of its own, with a number that no frame has."""
    run = Feed(Wire.KALSHI_SOCKET).named("kalshi/snapshot", at=1)
    run.pipeline.tick(START + 61 * SECOND, 0)
    run.pipeline.closed(Closed("c", run.now))
    run.pipeline.tick(START + 90 * SECOND, (7 << 40) + 1)
    run.pipeline.finish(START + 91 * SECOND, 0)
    assert [(s.first_seq - (7 << 40), s.last_seq - (7 << 40), s.frames) for s in run.sealed] == [(0, 0, 1), (1, 1, 0)]
    assert len(run.rows(GAPS)) == 1


def test_length_of_segments_can_be_given():
    """Live the length depends on the collector's age; here it is five seconds."""
    sealed: list[Segment] = []
    run = Feed(Wire.POLYMARKET_SOCKET)
    run.pipeline = Pipeline({Venue.POLYMARKET: run.polymarket}, sealed.append, rule=Rule(lambda received: 5 * SECOND))
    run.send(b"PONG", at=0).send(b"PONG", at=4.9).send(b"PONG", at=5).finish()
    assert [segment.frames for segment in sealed] == [2, 1]


def test_catalogue_describes_and_makes_no_quotes():
    """Pages of a catalogue make rows of markets, events and figures; quotes come of what is followed."""
    run = Feed(Wire.GAMMA)
    adapters = {Venue.POLYMARKET: run.polymarket}
    run.pipeline = Pipeline(adapters, run.sealed.append, describing=["catalog"])
    run.send(frame("polymarket/gamma_keyset_events"), connection="catalog").finish()
    counts = run.pipeline.counts.rows
    assert counts["markets"] and counts["events"] and counts["venue_stats"]
    assert counts["quotes"] == 0


def test_pages_that_nobody_keeps_decide_nothing():
    """A walk's page tells tokens and places none: later frames are read as without it; what is kept does not grow."""
    run = Feed(Wire.GAMMA_PAGES)
    before = run.polymarket.state()
    run.send(frame("polymarket/gamma_keyset_events")).finish()
    assert run.polymarket.state() == before
    placed = Feed(Wire.GAMMA).send(frame("polymarket/gamma_keyset_events")).finish()
    told, other = (sorted(map(str, ([*row.values()][:-2] for row in each.rows(MARKETS)))) for each in (run, placed))
    assert told == other and any("outcome_token_ids" in row for row in run.rows(MARKETS))
    assert placed.polymarket.state() != before


class Heard:
    """A listener that notes what it is told."""

    def __init__(self) -> None:
        self.markets: list[dict[str, object]] = []
        self.lost: list[tuple[str, int, str]] = []
        self.minutes = 0

    def market_changed(self, venue, market, fields):
        self.markets.append(dict(fields))

    def books_lost(self, connection, markets, reason):
        self.lost.append((connection, len(markets), reason.value))

    def minute_ended(self, connection, minute):
        self.minutes += 1


def test_listener():
    """Who listens is told of new facts about markets, of books to be asked for, and of ended minutes."""
    heard, run = Heard(), Feed(Wire.KALSHI_SOCKET)
    run.pipeline = Pipeline({Venue.KALSHI: run.kalshi}, run.sealed.append, listener=heard)
    run.named("kalshi/lifecycle_created", "kalshi/lifecycle_created")
    assert sum("listed_time" in fields for fields in heard.markets) == 1
    snapshot = value("kalshi/snapshot")
    run.send(snapshot, snapshot | {"seq": snapshot["seq"] + 5})
    assert heard.lost == [("c", 1, "sequence_hole")]
    run.finish()
    assert heard.minutes == 1


def test_subscribed_is_in_the_health():
    """Markets asked for on a connection, where it is known."""
    run = Feed(Wire.KALSHI_SOCKET)
    run.pipeline.subscribed["c"] = 7
    run.named("kalshi/ticker").named("kalshi/ticker", connection="d").finish()
    assert {row["connection"]: row["subscribed"] for row in run.rows(FEED_HEALTH)} == {"c": 7, "d": None}


def test_a_minute_is_accounted_for_in_its_segment():
    """A segment that ends at the minute's edge holds the account of that minute, without waiting for the next one."""
    run = Feed(Wire.KALSHI_SOCKET)
    run.pipeline._rule = Rule(edge=MINUTE_US)
    edge = (START // MINUTE_US + 1) * MINUTE_US
    for at in (edge - START - 2 * SECOND, edge - START - SECOND, edge - START + SECOND):
        run.named("kalshi/ticker", at=at / SECOND)
    (sealed,) = run.sealed
    (health,) = (rows for (table, _), rows in sealed.rows.items() if table is FEED_HEALTH)
    minute = dict(zip(FEED_HEALTH.columns, health[0], strict=True))
    assert (len(health), minute["frames"], minute["minute"]) == (1, 2, edge - MINUTE_US)


def test_time_is_told():
    """What is due by the clock is due with the tick that says so, in the segment of that tick; a cut ends it."""
    run = Feed(Wire.KALSHI_SOCKET)
    run.pipeline = Pipeline({Venue.KALSHI: run.kalshi}, run.sealed.append, rule=None)
    seqs = count(7 << 40)
    snapshot = Frame(next(seqs), "kalshi-1", START, frame("kalshi/snapshot"), Wire.KALSHI_SOCKET)
    run.pipeline.take(snapshot)
    run.pipeline.take(Closed("kalshi-1", START + SECOND, Gap.SILENCE, next(seqs)))
    run.pipeline.take(Tick(seq=next(seqs), received=START + 3 * SECOND))
    assert run.rows(GAPS) == [], "it has not lasted long enough to be told of"
    run.pipeline.take(Tick(seq=next(seqs), received=START + 7 * SECOND))
    (gap,) = run.rows(GAPS)
    assert (gap["reason"], gap["end_time"]) == ("silence", None)
    run.pipeline.take(Cut(seq=next(seqs), received=START + 8 * SECOND))
    (segment,) = run.sealed
    assert (segment.first_seq, segment.last_seq) == (7 << 40, (7 << 40) + 4) and segment.known
    assert [type(item).__name__ for item in segment.items] == ["Frame", "Closed", "Tick", "Tick", "Cut"]


def test_a_heartbeat_is_no_sign_of_life():
    """A connection that only answers heartbeats is unknown since it last told of a market."""
    run = Feed(Wire.POLYMARKET_SOCKET).opened().named("polymarket/new_market", "polymarket/best_bid_ask")
    last = run.now
    run.send(*[b"PONG"] * 5)
    run.pipeline.closed(Closed("c", run.now, Gap.SILENCE))
    run.opened().named("polymarket/best_bid_ask")
    [gap] = run.rows(GAPS)
    assert gap["reason"] == Gap.SILENCE.value
    assert gap["start_time"] == from_us(last) + timedelta(microseconds=1)
