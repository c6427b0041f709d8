"""What was not seen: from the last good frame to the first good state, once."""

from typing import Any

import polars as pl
import pytest

from flows.venues.base import Closed, Wire
from lake.derived.prices import distinct_gaps, reference
from lake.schema import GAPS, QUOTES, TRADES
from lake.vocab import Gap, Venue
from tests.flows.feed import SECOND, START, TICKER, TICKER_2, Feed, kal, value
from tests.flows.venues.test_kalshi import body

SOCKET, REST = Wire.KALSHI_SOCKET, Wire.KALSHI_REST


def spans(run: Feed) -> list[tuple[str, float, float | None]]:
    """Reason, start and end of each gap, in seconds after the start of the recording."""

    def seconds(moment: Any) -> float | None:
        return None if moment is None else round(moment.timestamp() - 1_790_000_000, 3)

    return [(row["reason"], seconds(row["start_time"]), seconds(row["end_time"])) for row in run.rows(GAPS)]


def test_reconnect():
    """A reconnect is a gap of each of its markets, from the last frame to the snapshot, which writes a row."""
    run = Feed(SOCKET).send(body("snapshot"), body("snapshot", seq=2, market_ticker=TICKER_2), at=10)
    run.send(body("trade"), at=20).opened(at=50).send(body("snapshot"), at=55)
    assert spans(run) == [("disconnected", 20.0, 55.0)]
    assert len(run.tops(QUOTES, kal(TICKER))) == 2
    run.send(body("snapshot", seq=2, market_ticker=TICKER_2), at=70)
    assert spans(run) == [("disconnected", 20.0, 55.0), ("disconnected", 20.0, 70.0)]


def test_first_opening_is_no_gap():
    """The first time that a connection opens nothing was missed."""
    assert spans(Feed(SOCKET).opened(at=1).send(body("snapshot"))) == []


def test_other_connections_stay():
    """What another connection keeps is not touched."""
    run = (
        Feed(SOCKET).send(body("snapshot"), at=10).send(body("snapshot", market_ticker=TICKER_2), connection="d", at=11)
    )
    run.opened(connection="d", at=20).send(body("snapshot"), at=30)
    assert spans(run) == []


def test_twice_down_is_one_gap():
    """Two reconnects before the first good state are one gap, from the first loss on."""
    run = Feed(SOCKET).send(body("snapshot"), at=10).opened(at=20).opened(at=40).send(body("snapshot"), at=50)
    assert spans(run) == [("disconnected", 10.0, 50.0)]


def test_hole_inside_a_gap_changes_nothing():
    """A market that is unknown already is not lost again: the gap keeps its start and its reason."""
    run = Feed(SOCKET).send(body("snapshot"), at=10).opened(at=20)
    run.send(body("snapshot", seq=1, market_ticker=TICKER_2), body("snapshot", seq=9, market_ticker="KXNEW"), at=25)
    run.send(body("snapshot", seq=10), at=30)
    assert ("disconnected", 10.0, 30.0) in spans(run)


def test_feed_ended():
    """What was known when the feed ended is unknown after its connection's last frame, without an end."""
    run = Feed(SOCKET).send(body("snapshot"), at=10).send(body("trade"), at=33).finish()
    assert spans(run) == [("feed_ended", 33.0, None)]


def test_gap_that_is_open_at_the_end():
    """A gap that has not ended is written at the end, once, without an end."""
    run = Feed(SOCKET).send(body("snapshot"), at=10).opened(at=20).finish()
    assert spans(run) == [("disconnected", 10.0, None)]


MARKETS = value("kalshi/rest_markets")
EVERY = {"rest": 60_000_000}


def poll(run: Feed, at: float, **market: Any) -> Feed:
    return run.send({"markets": [MARKETS["markets"][0] | market]}, at=at, connection="rest")


def test_poll_day_without_a_change():
    """A day of polls that say the same writes one row and no gap."""
    run = Feed(REST, poll_every=EVERY)
    for minute in range(24 * 60):
        poll(run, 60 * minute + minute % 7)
    assert len(run.tops(QUOTES)) == 1
    assert spans(run) == []


def test_poll_that_did_not_come():
    """Polls that did not come when they were due are a gap from then to the next one, which writes a row."""
    run = poll(poll(poll(Feed(REST, poll_every=EVERY), 0), 60), 300)
    assert spans(run) == [("poll_missed", 120.0, 300.0)]
    assert len(run.tops(QUOTES)) == 2


def test_late_poll_is_no_gap():
    """A poll that is late by less than its pause is none."""
    assert spans(poll(poll(Feed(REST, poll_every=EVERY), 0), 119)) == []


def test_poll_holds_until_the_next_is_due():
    """A polled state holds until its next poll would have been due, and no longer than the feed."""
    run = poll(Feed(REST, poll_every=EVERY), 0)
    assert spans(poll(run, 30, ticker=TICKER_2).finish()) == [("feed_ended", 30.0, None)] * 2
    run = poll(Feed(REST, poll_every=EVERY), 0)
    assert spans(poll(run, 500, ticker=TICKER_2).finish()) == [("feed_ended", 60.0, None), ("feed_ended", 500.0, None)]


@pytest.mark.parametrize("reason", list(Gap))
def test_reasons_are_words(reason):
    """Every reason is spelled in lower case, as the table holds it."""
    assert reason.value == reason.value.lower()


def test_number_from_far_back_voids_the_books():
    """After a number that was far too high, the true ones are no repeats: the books are void, and go on."""
    run = (
        Feed(SOCKET).send(body("snapshot"), at=10).send(body("ok", seq=10**9), at=20).send(body("delta", seq=3), at=21)
    )
    run.send(body("snapshot", seq=4), at=30)
    assert spans(run) == [("sequence_hole", 10.0, 30.0)]


def best(bid: str, ask: str) -> dict[str, str]:
    return {"ticker": TICKER, "yes_bid_dollars": bid, "yes_ask_dollars": ask}


def test_polls_serve_while_the_stream_is_down():
    """After a disconnect every poll counts, not only the first, until the stream is back."""
    run = Feed(SOCKET, poll_every={"rest": 10_000_000}).send(body("snapshot"), at=0).opened(at=5)
    for second, bid in ((10, "0.45"), (20, "0.46"), (30, "0.48")):
        run.send(best(bid, "0.50"), at=second, wire=REST, connection="rest")
    assert [top[0] for top in run.tops(QUOTES)][1:] == [0.45, 0.46, 0.48]
    run.send(body("snapshot"), at=35).send(best("0.10", "0.90"), at=40, wire=REST, connection="rest")
    assert run.tops(QUOTES)[-1][:2] == run.tops(QUOTES)[0][:2]


def test_ticker_serves_once_the_book_is_unsubscribed():
    """The order book where subscribed, else the ticker."""
    run = Feed(SOCKET).send(body("snapshot"), at=0).send(body("unsubscribed", seq=2), at=5).send(body("ticker"), at=10)
    assert len(run.tops(QUOTES)) == 2
    assert [(reason, end) for reason, _, end in spans(run)] == [("unsubscribed", 10.0)]


def test_subscription_anew_counts_from_one():
    """Where no reconnect was recorded, `subscribed` voids what the sid knew, and nothing is a repeat."""
    run = Feed(SOCKET).send(body("snapshot"), body("delta", seq=2), at=1)
    run.send(
        {"type": "subscribed", "id": 1, "msg": {"channel": "orderbook_delta", "sid": body("snapshot")["sid"]}}, at=600
    )
    run.send(body("snapshot", seq=1), body("delta", seq=2), at=601)
    assert [(reason, end) for reason, _, end in spans(run)] == [("disconnected", 601.0)]
    assert run.finish().pipeline.counts.outcomes["duplicate"] == 0


@pytest.mark.parametrize("code", [10, 25])
def test_error_that_ends_a_subscription(code):
    """After a channel error or an overflow nothing comes: its markets are not seen."""
    sid = body("snapshot")["sid"]
    run = Feed(SOCKET).send(body("snapshot"), at=1)
    run.send({"type": "error", "sid": sid, "seq": 2, "msg": {"code": code, "msg": "over"}}, at=5).finish()
    assert [span[0] for span in spans(run)] == ["unsubscribed"]


def test_market_that_an_update_leaves_out():
    """The answer to an update names every market that is left; the others are no longer seen."""
    run = Feed(SOCKET).send(body("snapshot"), body("snapshot", seq=2, market_ticker=TICKER_2), at=1)
    sid = body("snapshot")["sid"]
    run.send({"type": "ok", "sid": sid, "seq": 3, "msg": {"market_tickers": [TICKER_2]}}, at=5).finish()
    reasons = {row["market_key"]: row["reason"] for row in run.rows(GAPS)}
    assert reasons == {kal(TICKER): "unsubscribed", kal(TICKER_2): "feed_ended"}


def test_gap_is_told_before_it_ends():
    """A gap that lasts is written without an end, once, as the clock says; the row with its end has the same key."""
    run = Feed(SOCKET).send(body("snapshot"), body("snapshot", seq=2, market_ticker=TICKER_2), at=10)
    run.pipeline.closed(Closed("c", run.now + 1))
    for second in (11, 14, 15, 16, 40):
        run.pipeline.tick(START + second * SECOND, 0)
    assert spans(run) == [("disconnected", 10.0, None)] * 2
    run.opened(at=50).send(body("snapshot"), at=55)
    assert spans(run).count(("disconnected", 10.0, 55.0)) == 1
    known = distinct_gaps(run.table(GAPS).lazy()).collect()
    assert known.height == 2 and known["end_time"].null_count() == 1
    run.finish()
    assert len(spans(run)) == 4 and ("feed_ended", 55.0, None) in spans(run)


def test_short_gap_is_told_once():
    """A connection that is back within seconds leaves one row."""
    run = Feed(SOCKET).send(body("snapshot"), at=10)
    run.pipeline.closed(Closed("c", run.now))
    run.pipeline.tick(START + 12 * SECOND, 0)
    run.opened(at=13).send(body("snapshot"), at=14)
    run.pipeline.tick(START + 40 * SECOND, 0)
    assert spans(run) == [("disconnected", 10.0, 14.0)]


def test_absence_of_a_former_life():
    """What nobody saw between two lives is a gap of the whole venue, and no price comes back before a quote."""
    run = Feed(SOCKET).send(body("snapshot"), at=1)
    run.pipeline.absent(Venue.KALSHI, START + 5 * SECOND, START + 9 * SECOND, 7 << 40)
    assert spans(run) == [("collector_down", 5.0, 9.0)]
    assert run.rows(GAPS)[0]["market_key"] is None
    run.pipeline.closed(Closed("c", START + 9 * SECOND))
    run.opened(at=19).send(body("snapshot"), at=20)
    gaps = run.table(GAPS).filter(pl.col("market_key").is_null())
    states = reference(run.table(QUOTES).lazy(), run.table(TRADES).lazy(), gaps.lazy()).collect()
    assert [(row["event_time"].timestamp() - 1_790_000_000, row["price"] is None) for row in states.to_dicts()] == [
        (1.0, False), (5.0, True), (20.0, False),
    ]  # fmt: skip


def test_absence_after_the_clock_was_set_back():
    """A gap never starts after its end, whatever the former life's clock said."""
    run = Feed(SOCKET)
    run.pipeline.absent(Venue.KALSHI, START + 50 * SECOND, START + 9 * SECOND, 7 << 40)
    assert spans(run) == [("collector_down", 9.0, 9.0)]


def test_dropped_market_has_no_gap():
    """What is followed no longer is not missed: not at the next reconnect, not at the end."""
    run = Feed(SOCKET).send(body("snapshot"), body("snapshot", seq=2, market_ticker=TICKER_2), at=10)
    run.pipeline.drop([kal(TICKER)], run.now)
    run.opened(at=20).finish()
    assert {row["market_key"] for row in run.rows(GAPS)} == {kal(TICKER_2)}
    assert len(run.pipeline._books) == 1


def test_market_that_is_dropped_inside_a_gap():
    """An open gap ends when its market is followed no longer."""
    run = Feed(SOCKET).send(body("snapshot"), at=10)
    run.pipeline.closed(Closed("c", run.now))
    run.pipeline.tick(START + 20 * SECOND, 0)
    run.pipeline.drop([kal(TICKER)], START + 30 * SECOND)
    run.pipeline.tick(START + 31 * SECOND, 0)
    assert spans(run.finish()) == [("disconnected", 10.0, None), ("disconnected", 10.0, 30.0)]


def test_polls_that_do_not_come_are_a_gap_while_it_lasts():
    """A poll outage is told by the clock, before the next poll; the row with its end has the same start."""
    run = poll(Feed(REST, poll_every=EVERY), 0)
    for second in range(200):
        run.pipeline.tick(START + second * SECOND, 0)
    assert spans(run) == [("poll_missed", 60.0, None)]
    assert spans(poll(run, 300)) == [("poll_missed", 60.0, None), ("poll_missed", 60.0, 300.0)]
