"""Kalshi's socket, from frames to actions and rows."""

import json
from copy import deepcopy

import pytest

from flows.venues.base import Change, Hole, Outcome, Reset, Stats, Top, Trade, Wire
from lake.schema import DEAD_LETTERS, EVENTS, GAPS, MARKETS, QUOTES, TRADES, VENUE_STATS
from lake.vocab import Gap, Source, TakerSide
from tests.flows.feed import TICKER, TICKER_2, Feed, frame, kal, parse_kalshi, value

SOCKET = Wire.KALSHI_SOCKET


def feed(*names: str, **settings: bool) -> Feed:
    return Feed(SOCKET, **settings).named(*(f"kalshi/{name}" for name in names))


def last(*names: str, of: type) -> object:
    """The newest action of this type that these frames make."""
    messages = parse_kalshi(*(frame(f"kalshi/{name}") for name in names))
    return [action for message in messages for action in message.actions if isinstance(action, of)][-1]


def body(name: str, seq: int | None = None, sid: int | None = None, **msg: object) -> dict:
    """A frame of ours with another seq, sid or fields of `msg`."""
    found = deepcopy(value(f"kalshi/{name}"))
    found |= {"seq": seq} if seq is not None else {}
    found |= {"sid": sid} if sid is not None else {}
    found["msg"] = {key: text for key, text in (found.get("msg", {}) | msg).items() if text is not ...}
    return found


def test_dollars_and_cents_are_one_price():
    """The fixed-point dollars of today and the whole cents of before are the same quote, trade and book."""
    assert feed("ticker").tops(QUOTES)[0][:2] == feed("ticker_cents").tops(QUOTES)[0][:2] == (0.40, 0.42)
    now, old = last("trade", of=Trade), last("trade_legacy", of=Trade)
    assert now.price == old.price == 420_000
    assert feed("snapshot").tops(QUOTES) == [(0.40, 0.42, 150.0, 75.5)]
    assert feed("snapshot_cents").tops(QUOTES) == [(0.40, 0.42, 150.0, 75.0)]
    assert feed("snapshot_cents", "delta_cents").tops(QUOTES)[-1] == (0.40, 0.45, 150.0, 30.0)


def test_cents_alone():
    """A ticker with nothing but whole cents is read."""
    odd = body("ticker_cents", price_dollars=..., volume_fp=...)
    run = Feed(SOCKET).send(odd)
    assert run.tops(QUOTES) == [(0.40, 0.42, None, None)]
    assert run.rows(VENUE_STATS)[0]["volume_total_contracts"] == 1234.0


@pytest.mark.parametrize("name", ["ticker", "trade", "delta"])
def test_unknown_form_is_refused_and_counted(name):
    """A known kind whose prices are under unknown names is dead, and never a price of 0."""
    odd = body(name, **{key: ... for key in value(f"kalshi/{name}")["msg"] if "dollars" in key}, price_units="55")
    run = Feed(SOCKET).send(odd).finish()
    assert run.pipeline.counts.outcomes[Outcome.DEAD] == 1
    assert run.rows(QUOTES) == run.rows(TRADES) == []
    assert json.loads(run.rows(DEAD_LETTERS)[0]["frame"]) == odd


def test_ticker():
    """A ticker is a quote with sizes, at the venue's time, and the figures that the venue reports, in contracts."""
    top, stats = last("ticker", of=Top), last("ticker", of=Stats)
    assert (top.bid, top.ask, top.bid_size, top.ask_size) == (400_000, 420_000, 150_000_000, 75_500_000)
    assert (top.event, top.source) == (1_790_000_000_250_000, Source.TICKER)
    assert (stats.volume_total_contracts, stats.open_interest, stats.volume_24h_usd) == (1234.5, 900.0, None)


def test_ticker_without_a_quote():
    """Bid 0 and ask 1 are no quote: nulls, sizes too, and no half."""
    assert feed("ticker_no_quote").tops(QUOTES) == [(None, None, None, None)]


def test_trade():
    """A trade is written with the venue's id, price and size; who took yes bought."""
    row = feed("trade").rows(TRADES)[0]
    assert (row["market_key"], row["trade_id"]) == (kal(), "aaaaaaaa-0000-4000-8000-000000000001")
    assert (row["price"], row["size"], row["taker_side"], row["is_block_trade"]) == (0.42, 12.5, "buy", False)
    assert row["event_time"].timestamp() == 1_790_000_001.5


def test_who_took():
    """`taker_outcome_side` wins over the older `taker_side`; neither is not said, and not a buy."""
    for msg, side in (
        ({"taker_outcome_side": "no"}, TakerSide.SELL),
        ({"taker_outcome_side": ..., "taker_side": "no"}, TakerSide.SELL),
        ({"taker_outcome_side": ..., "taker_side": ...}, None),
        ({"taker_outcome_side": "maybe", "taker_side": ...}, None),
    ):
        found = parse_kalshi(json.dumps(body("trade", **msg)).encode())[0].actions[-1]
        assert found.taker_side is side


@pytest.mark.parametrize("name", ["count_fp", "yes_price_dollars"])
def test_trade_without_size_or_price(name):
    """What is not said is no 0: the trade is a dead letter with its bytes, and no row."""
    raw = body("trade")
    del raw["msg"][name]
    run = Feed(Wire.KALSHI_SOCKET).send(raw).finish()
    assert run.rows(TRADES) == [] and run.pipeline.counts.outcomes[Outcome.DEAD] == 1
    assert json.loads(run.rows(DEAD_LETTERS)[0]["frame"]) == raw


def test_trade_comes_once():
    """A trade id that was seen, on whatever sid or connection, is a duplicate."""
    run = feed("trade").send(body("trade", sid=9, seq=1), body("trade", seq=2)).named("kalshi/trade", connection="d")
    assert len(run.rows(TRADES)) == 1
    assert run.finish().pipeline.counts.outcomes[Outcome.DUPLICATE] == 3


# --- books ---------------------------------------------------------------------------------------


def test_no_bids_are_asks():
    """A no bid at p is an ask at 1 - p; the best of both sides come last and are found by value."""
    reset = last("snapshot", of=Reset)
    assert max(reset.bids) == (400_000, 150_000_000)
    assert min(reset.asks) == (420_000, 75_500_000)


def test_deltas_are_signed_changes():
    """A delta changes a level by its amount; at 0 the level is gone."""
    run = feed("snapshot").send(body("delta", seq=2, delta_fp="-5.50"), body("delta", seq=3, delta_fp="-70.00"))
    assert run.tops(QUOTES)[1:] == [(0.40, 0.42, 150.0, 70.0), (0.40, 0.45, 150.0, 30.0)]


@pytest.mark.parametrize(
    ("name", "top"), [("snapshot_one_side", (0.40, None, 150.0, None)), ("snapshot_empty", (None,) * 4)]
)
def test_absent_side_is_empty(name, top):
    """A side whose key is absent is empty; the book is known all the same."""
    assert feed(name).tops(QUOTES) == [top]


@pytest.mark.parametrize("flag", [None, True])
def test_yes_scale_equals_default(flag):
    """With `use_yes_price` the no side carries asks: seen or told, the rows are the default scale's."""
    default = feed("snapshot", "delta")
    scaled = feed("snapshot_yes_scale", "delta_yes_scale", use_yes_price=flag)
    assert default.tops(QUOTES) == scaled.tops(QUOTES) == [(0.40, 0.42, 150.0, 75.5), (0.40, 0.45, 150.0, 30.0)]


def test_flag_wins_over_the_look():
    """Where the flag is told, a single level that looks like either is read by the flag."""
    one = body("snapshot", no_dollars_fp=[["0.4200", "75.50"]])
    assert Feed(SOCKET, use_yes_price=True).send(one).tops(QUOTES) == [(0.40, 0.42, 150.0, 75.5)]
    assert Feed(SOCKET, use_yes_price=False).send(one).tops(QUOTES) == [(0.40, 0.58, 150.0, 75.5)]


def test_book_that_was_guessed_is_void_once_the_scale_is_known():
    """A book of one no level fits both scales; when a later snapshot shows the yes scale it is lost, not wrong."""
    guessed = body("snapshot", market_ticker=TICKER_2, no_dollars_fp=[["0.4200", "75.50"]])
    run = Feed(SOCKET).send(guessed, body("snapshot_yes_scale", seq=2))
    run.send(body("delta", seq=3, market_ticker=TICKER_2, price_dollars="0.4100", delta_fp="5.00"))
    assert run.tops(QUOTES, kal(TICKER)) == [(0.40, 0.42, 150.0, 75.5)]
    assert run.tops(QUOTES, kal(TICKER_2)) == [(0.40, 0.58, 150.0, 75.5)]
    run.finish()
    gap = next(row for row in run.rows(GAPS) if row["market_key"] == kal(TICKER_2))
    assert (gap["reason"], gap["end_time"]) == (Gap.BOOK_DAMAGED, None)


def test_delta_without_a_book():
    """A delta before its snapshot is ignored and counted."""
    run = feed("delta").finish()
    assert run.pipeline.counts.ignored == {"orderbook_delta:no_book": 1}
    assert run.rows(QUOTES) == []


def test_book_or_ticker_never_both():
    """Where the book is streamed, tickers make no quotes, only figures."""
    run = feed("snapshot").send(body("ticker", yes_bid_dollars="0.3000"))
    assert [row["source"] for row in run.rows(QUOTES)] == ["book"]
    assert len(run.rows(VENUE_STATS)) == 1


# --- sequence ------------------------------------------------------------------------------------


def test_control_replies_take_a_number():
    """`ok` and scoped errors count: the delta after them is in turn."""
    run = feed("snapshot", "ok").send(body("error_sequenced", seq=3), body("delta", seq=4))
    assert len(run.tops(QUOTES)) == 2
    assert run.rows(GAPS) == []


def test_unknown_kind_takes_its_number():
    """A kind that no rule knows takes the sid's next number, so no hole is seen behind it."""
    run = feed("snapshot", "unknown_kind").send(body("delta", seq=3)).finish()
    assert len(run.tops(QUOTES)) == 2
    assert run.pipeline.counts.ignored == {"unknown:fee_schedule_hint": 1}


@pytest.mark.parametrize("name", ["delta", "ok", "error_sequenced", "unsubscribed", "unknown_kind", "snapshot"])
def test_hole_voids_every_book_of_the_sid(name):
    """A missing number, before whatever kind of frame it shows, voids all books of that sid and no other's."""
    run = feed("snapshot").send(
        body("snapshot", seq=2, market_ticker=TICKER_2), body("snapshot", seq=1, sid=8, market_ticker="KXOTHER")
    )
    run.send(body(name, seq=5, **({"market_ticker": "KXNEW"} if name == "snapshot" else {})))
    run.send(body("delta", seq=6, delta_fp="1.00"), body("delta", seq=7, delta_fp="1.00", market_ticker=TICKER_2))
    for ticker in (TICKER, TICKER_2):
        assert len(run.tops(QUOTES, kal(ticker))) == 1
    run.send(body("delta", seq=2, sid=8, market_ticker="KXOTHER", delta_fp="1.00"))
    assert len(run.tops(QUOTES, kal("KXOTHER"))) == 2
    run.send(body("snapshot", seq=8), body("snapshot", seq=9, market_ticker=TICKER_2))
    gaps = run.rows(GAPS)
    assert {row["market_key"] for row in gaps} == {kal(TICKER), kal(TICKER_2)}
    assert all(row["end_time"] == row["detected_time"] for row in gaps)
    assert len(run.tops(QUOTES, kal(TICKER))) == 2


def test_book_that_another_hole_swallows():
    """A book that was voided and has not come since is voided again by the next hole: it may have been in there."""
    said = [
        body("snapshot", seq=1), body("snapshot", seq=2, market_ticker=TICKER_2), body("delta", seq=5),
        body("snapshot", seq=6), body("delta", seq=9), body("snapshot", seq=10),
        body("snapshot", seq=11, market_ticker=TICKER_2), body("delta", seq=12), body("delta", seq=14),
    ]  # fmt: skip
    frames = [json.dumps(each).encode() for each in said]
    holes = [action for message in parse_kalshi(*frames) for action in message.actions if isinstance(action, Hole)]
    assert [set(hole.markets) for hole in holes] == [{kal(), kal(TICKER_2)}] * 3


def test_hole_starts_at_the_sids_last_good_frame():
    """A market that was quiet for long is unknown from the last good frame of its sid, not from its own last change."""
    run = feed("snapshot")  # at second 1
    run.send(body("snapshot", seq=2, market_ticker=TICKER_2), at=100)
    run.send(body("delta", seq=3, market_ticker=TICKER_2, ts_ms=1_790_000_200_000), at=200)
    run.send(body("trade", seq=1), at=250)
    run.send(body("snapshot", seq=9), at=300)
    gap = next(row for row in run.rows(GAPS) if row["market_key"] == kal(TICKER))
    assert (gap["start_time"].timestamp(), gap["end_time"].timestamp()) == (1_790_000_200, 1_790_000_300)
    assert gap["reason"] == Gap.SEQUENCE_HOLE


def test_number_of_before_is_a_duplicate():
    """A number that was passed is a duplicate and changes no level."""
    run = feed("snapshot", "delta", "delta").finish()
    assert run.tops(QUOTES)[-1] == (0.40, 0.45, 150.0, 30.0)
    assert run.pipeline.counts.outcomes[Outcome.DUPLICATE] == 1


def test_numbers_are_a_sids_own():
    """Each sid counts by itself, and afresh on each connection."""
    run = feed("snapshot").send(body("trade", seq=7), body("delta", seq=2))
    run.opened().send(body("snapshot", seq=1), body("delta", seq=2))
    assert [row["reason"] for row in run.rows(GAPS)] == [Gap.DISCONNECTED]


def test_unreadable_delta_is_a_hole():
    """A delta that cannot be read was missed: the next number shows the hole."""
    run = feed("snapshot").send(body("delta", seq=2, price_dollars="5.8"), body("delta", seq=3, delta_fp="1.00"))
    run.send(body("snapshot", seq=4))
    assert [row["reason"] for row in run.rows(GAPS)] == [Gap.SEQUENCE_HOLE]
    assert len(run.tops(QUOTES)) == 2


def test_unsubscribed_book_is_unknown():
    """A book whose subscription ended is unknown until its next snapshot."""
    run = feed("snapshot", "unsubscribed").send(body("snapshot", sid=9, seq=1))
    assert [row["reason"] for row in run.rows(GAPS)] == [Gap.UNSUBSCRIBED]
    assert [row["end_time"] is not None for row in run.rows(GAPS)] == [True]


# --- life ----------------------------------------------------------------------------------------


def test_life_of_a_market():
    """created, activated, deactivated, determined, settled: the market's versions tell its life in order."""
    names = ["created", "activated", "deactivated", "close_date_updated", "determined", "settled"]
    rows = feed(*(f"lifecycle_{name}" for name in names)).rows(MARKETS)
    assert [row["status"] for row in rows] == ["initialized", "active", "inactive", "inactive", "proposed", "resolved"]
    first, final = rows[0], rows[-1]
    assert first["title"] == "Will the Halcyon Bridge reopen before June?"
    assert (first["event_id"], first["outcomes"], first["tick_size"]) == (
        "kalshi:KXHALCYON-27JAN",
        ["Yes", "No"],
        0.001,
    )
    assert first["close_time"].timestamp() == 1_800_000_000
    assert rows[3]["close_time"].timestamp() == 1_795_000_000
    assert final["result"] == "Yes"


def test_one_version_a_frame():
    """A listing is one version of the market, title and all, though its ticker was new as well."""
    rows = feed("lifecycle_created").rows(MARKETS)
    assert [(row["market_id"], row["title"]) for row in rows] == [
        (f"kalshi:{TICKER}", "Will the Halcyon Bridge reopen before June?")
    ]


def test_new_grid():
    """A changed price grid sets the finest step; a change of wording alone is applied and makes no row."""
    rows = feed("lifecycle_created", "lifecycle_price_level_structure_updated", "lifecycle_metadata_updated").rows(
        MARKETS
    )
    assert [row["tick_size"] for row in rows] == [0.001, 0.01]


def test_event():
    """An event's announcement becomes a row of events."""
    row = feed("event_lifecycle").rows(EVENTS)[0]
    assert (row["event_id"], row["series_id"], row["mutually_exclusive"]) == (
        "kalshi:KXHALCYON-27JAN",
        "kalshi:KXHALCYON",
        True,
    )


def test_unknown_step_of_life():
    """A step that no rule knows is ignored by its name."""
    assert parse_kalshi(frame("kalshi/lifecycle_new_kind"))[0].kind == "market_lifecycle_v2:paused_for_lunch"


@pytest.mark.parametrize("name", ["subscribed", "ok", "ok_list", "unsubscribed"])
def test_control_frames_are_applied(name):
    """Answers to our own commands count as applied; a refusal is ignored by kind."""
    assert parse_kalshi(frame(f"kalshi/{name}"))[0].outcome is Outcome.APPLIED
    assert parse_kalshi(frame("kalshi/error"))[0].kind == "error"


# --- frames that are not as they should be -------------------------------------------------------

HOSTILE = [
    b"", b"{", b"[]", b"[{}]", b"null", b"17", b"PONG", b"\xff", b"{}", b'{"type":null}', b'{"type":7}',
    b'{"type":"ticker"}', b'{"type":"ticker","msg":{"market_ticker":"\xff"}}',
    b'{"type":"ok","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b'{"type":"ticker","msg":{"market_ticker":"","yes_bid_dollars":"0.1","yes_ask_dollars":"0.2"}}',
    b'{"type":"ticker","msg":{"market_ticker":"\\ud800","yes_bid_dollars":"0.1","yes_ask_dollars":"0.2"}}',
]  # fmt: skip


@pytest.mark.parametrize("payload", HOSTILE, ids=lambda payload: payload[:24].hex())
def test_unreadable_frame_is_dead_and_kept(payload):
    """Bytes that are no frame make one dead message that keeps them, and no error."""
    run = Feed(SOCKET).send(payload).finish()
    assert run.pipeline.counts.messages == 1
    assert run.rows(DEAD_LETTERS)[0]["frame"] == payload


BAD_VALUES = ["-0.1", "1.2", "55", "NaN", "1e400", "x", "9" * 5000, 0.5, True, [], {}]


@pytest.mark.parametrize("bad", BAD_VALUES, ids=lambda bad: repr(bad)[:12])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("ticker", "yes_bid_dollars"),
        ("trade", "yes_price_dollars"),
        ("delta", "price_dollars"),
        ("snapshot", "yes_dollars_fp"),
        ("ticker", "market_ticker"),
        ("trade", "trade_id"),
    ],
)
def test_value_outside_its_domain(name, key, bad):
    """A required field of another type or outside its domain makes the message dead, clamped never."""
    if key == "yes_dollars_fp":
        bad = [[bad, "5.00"]] if not isinstance(bad, float) else [["0.4", bad, "extra"]]
    elif key in ("market_ticker", "trade_id") and isinstance(bad, str):
        return
    found = parse_kalshi(json.dumps(body(name, **{key: bad})).encode())
    assert found[0].outcome is Outcome.DEAD


@pytest.mark.parametrize("bad", [-5, 10**15, 10**30, "soon", 1.5])
@pytest.mark.parametrize("name", ["ticker", "trade", "delta"])
def test_time_that_no_table_holds(name, bad):
    """A time outside the calendar is dead: a single one would break the segment that it is in."""
    assert parse_kalshi(json.dumps(body(name, ts_ms=bad)).encode())[0].outcome is Outcome.DEAD


def test_actions_of_a_delta():
    """A delta on the no side is a change of an ask."""
    change = last("snapshot", "delta", of=Change)
    assert (change.levels, change.is_delta) == ([(False, 420_000, -75_500_000)], True)
    assert not any(
        isinstance(action, Hole) for message in parse_kalshi(frame("kalshi/snapshot")) for action in message.actions
    )
