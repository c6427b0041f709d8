"""What venues serve of the past becomes bars of five minutes, of the first outcome, each named by its start."""

import json

import pytest

from flows.venues.base import Bar, Frame, History, Message, Outcome, Wire
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.clock import DAY_US, MINUTE_US, SECOND_US
from tests.flows.feed import NO, START, TICKER, TICKER_2, YES, frame, kal, poly, value

FIRST = 1_789_999_200 * SECOND_US
NOTHING = (None, None, None, None)


def told(messages: list[Message]) -> dict[int, list[Bar]]:
    """Bars by market; of a market that is told twice, those of the last."""
    return {one.market: one.bars for message in messages for one in message.actions if isinstance(one, History)}


def points(answer: object, received: int = START) -> list[Message]:
    adapter = Polymarket()
    adapter.parse(Frame(0, "c", START, frame("polymarket/gamma_market"), Wire.GAMMA))
    return adapter.parse(Frame(1, "c", received, json.dumps(answer).encode(), Wire.POLYMARKET_HISTORY))


def candles(answer: object, received: int = START) -> list[Message]:
    return Kalshi().parse(Frame(1, "c", received, json.dumps(answer).encode(), Wire.KALSHI_HISTORY))


def test_points_are_bars():
    """A point alone in its five minutes is open, high, low and close; there are no quotes and no volume."""
    answer = {"history": {YES: value("polymarket/history_points")["history"][YES]}}
    bars = told(points(answer))[poly()]
    assert [bar[0] for bar in bars] == [FIRST, FIRST + 5 * MINUTE_US]
    assert bars[0] == (FIRST, (410_000,) * 4, NOTHING, NOTHING, None)


def test_points_of_the_second_outcome_are_turned():
    """Prices of the second token are one minus those of the first; several points of a bar are its four prices."""
    answer = {"history": {NO: value("polymarket/history_points")["history"][NO]}}
    bars = told(points(answer))[poly()]
    assert bars[0][1] == (400_000, 420_000, 400_000, 420_000)
    assert bars[1][1] == (390_000,) * 4


def test_candles_are_bars():
    """Minutes become bars: first open, highest, lowest, last close, volumes summed; 0 and 1 are no quotes."""
    first, second = told(candles(value("kalshi/history_candles")))[kal(TICKER)]
    assert first[0] == FIRST and second[0] == FIRST + 5 * MINUTE_US
    assert first[1] == (410_000, 430_000, 390_000, 390_000)
    assert first[2] == (400_000, 410_000, 380_000, 370_000)
    assert first[3] == (420_000, 450_000, 400_000, 440_000)
    assert first[4] == 15_500_000
    assert second[1] == NOTHING and second[4] == 0


def test_market_without_candles():
    """A quiet market is answered without minutes: applied, and no bar."""
    assert told(candles(value("kalshi/history_candles")))[kal(TICKER_2)] == []


@pytest.mark.parametrize(("late", "bars"), [(0, 0), (299, 0), (300, 1), (600, 2)])
def test_open_bar_waits(late, bars):
    """A bar that was not over when the answer came is left out."""
    answer = {"history": {YES: value("polymarket/history_points")["history"][YES][:2]}}
    assert len(told(points(answer, FIRST + late * SECOND_US))[poly()]) == bars


def test_unknown_token_is_ignored():
    """Points of a token that no catalogue has named are counted, and change nothing."""
    found = points({"history": {"12345": [{"t": 1_789_999_200, "p": 0.5}]}})
    assert [(message.outcome, message.kind) for message in found] == [(Outcome.IGNORED, "history:unknown_token")]


@pytest.mark.parametrize("p", [1.5, -0.1, "x", None, float("1e300"), []])
def test_bad_point_loses_no_other_token(p):
    """A price outside 0 to 1 makes its token's answer a dead letter; the other token's bars stand."""
    bad = {YES: [{"t": 1_789_999_200, "p": p}], NO: [{"t": 1_789_999_200, "p": 0.6}]}
    found = points({"history": bad})
    assert [message.outcome for message in found] == [Outcome.DEAD, Outcome.APPLIED]


@pytest.mark.parametrize("t", [0, -1, 10**18, (START + DAY_US) // SECOND_US, (START - 20 * DAY_US) // SECOND_US])
def test_point_off_the_clock_is_dead(t):
    """A point of the future, or from before anything that is asked for, is no history."""
    assert [message.outcome for message in points({"history": {YES: [{"t": t, "p": 0.5}]}})] == [Outcome.DEAD]


@pytest.mark.parametrize("answer", [[], {}, {"history": []}, {"markets": {}}, "no", None])
def test_answer_of_another_form_is_dead(answer):
    """An answer that is none of these is one dead letter, on either wire."""
    assert [message.outcome for message in points(answer)] == [Outcome.DEAD]
    assert [message.outcome for message in candles(answer)] == [Outcome.DEAD]


def test_bad_candles_lose_no_other_market():
    """A market whose candles cannot be read is dead; the others stand."""
    answer = value("kalshi/history_candles")
    answer["markets"][1]["candlesticks"] = [{"end_period_ts": "soon"}]
    assert [message.outcome for message in candles(answer)] == [Outcome.APPLIED, Outcome.DEAD]


def test_market_that_is_told_twice():
    """Both tokens of a market, or a market twice: the second answer is a duplicate, so a bar is there once."""
    both = points({"history": {YES: [{"t": 1_789_999_200, "p": 0.4}], NO: [{"t": 1_789_999_200, "p": 0.6}]}})
    answer = value("kalshi/history_candles")
    answer["markets"].append(answer["markets"][0])
    assert [message.outcome for message in both] == [Outcome.APPLIED, Outcome.DUPLICATE]
    assert [message.outcome for message in candles(answer)] == [Outcome.APPLIED] * 2 + [Outcome.DUPLICATE]
