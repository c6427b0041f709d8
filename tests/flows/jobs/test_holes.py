"""What a back-fill asks for: each hole once, gaps first, and nothing that is held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.collector.spans import is_within, joined
from flows.collector.universe import Listed
from flows.jobs.answered import AnsweredFile
from flows.jobs.holes import PAD_US, Ask, Gap, Kind, Known, filled, plan
from flows.venues.base import HISTORY_US as BAR
from lake.clock import DAY_US, SECOND_US
from lake.errors import LakeUnwritable
from lake.vocab import Venue
from tests.strategies import examples

BARS = 24
MARKETS = (1, 2, 3)
edges = st.integers(0, BARS * BAR // (60 * SECOND_US)).map(lambda minute: minute * 60 * SECOND_US)
bar_spans = st.lists(
    st.tuples(st.integers(0, BARS), st.integers(0, BARS)).map(lambda pair: (pair[0] * BAR, pair[1] * BAR)), max_size=3
).map(joined)
by_market = st.dictionaries(st.sampled_from(MARKETS), bar_spans)
gap = st.builds(
    lambda market, start, length: Gap(market, start, None if length is None else start + length),
    st.sampled_from((None, *MARKETS)),
    edges,
    st.none() | edges,
)


def one(number: int, listed: int | None = None) -> Listed:
    return Listed(number, f"M{number}", (), 0.0, listed)


def bars(spans) -> set[int]:
    return {bar for start, end in spans for bar in range(start - start % BAR, end, BAR)}


@examples(300)
@given(
    st.lists(gap, max_size=4),
    st.fixed_dictionaries(dict.fromkeys(Kind, bar_spans)),
    st.dictionaries(st.sampled_from(MARKETS), edges),
    by_market,
    st.fixed_dictionaries(dict.fromkeys(Kind, by_market)),
    st.dictionaries(st.sampled_from(MARKETS), edges),
)
def test_every_hole_once(gaps, live, followed, history, answered, listed):
    """Bar by bar: asked for once if it is a gap's or not held, was not answered, and the market was listed."""
    end = BARS * BAR
    markets = [one(number, listed.get(number)) for number in MARKETS]
    asks = plan(markets, gaps, Known(live, followed, history), answered, 0, end)
    for each in markets:
        missed = bars(
            (gap.start - PAD_US, end if gap.end is None else gap.end + PAD_US)
            for gap in gaps
            if gap.market in (None, each.market)
        )
        for kind in Kind:
            there = bars(answered[kind].get(each.market, ()))
            there |= bars(history.get(each.market, ())) if kind is Kind.HISTORY else set()
            held = {bar for bar in bars(live[kind]) if each.market in followed and bar >= followed[each.market]}
            life = {bar for bar in range(0, end, BAR) if bar + BAR > (each.listed_time or 0)}
            mine = [ask for ask in asks if ask.kind is kind and ask.market == each]
            due = {True: missed & life - there, False: life - missed - held - there}
            for is_gap, wanted in due.items():
                spans = [(ask.start, ask.end) for ask in mine if ask.is_gap is is_gap]
                assert bars(spans) == wanted and sum(b - a for a, b in spans) == BAR * len(wanted)
    assert [ask.is_gap for ask in asks] == sorted((ask.is_gap for ask in asks), reverse=True)


def test_a_span_lies_in_one_day():
    """What goes over midnight is asked for in two."""
    nothing = {kind: {} for kind in Kind}
    known = Known({kind: [] for kind in Kind})
    asks = plan([one(1)], [], known, nothing, DAY_US - 2 * BAR, DAY_US + BAR)
    assert sorted({(ask.start, ask.end) for ask in asks}) == [(DAY_US - 2 * BAR, DAY_US), (DAY_US, DAY_US + BAR)]


def test_what_counts_as_filled():
    """A gap of the venue is filled when it is for each market; one that goes on, or ends too late, is not."""
    known = Known({kind: [] for kind in Kind}, {}, {2: [(0, 2 * BAR)]})
    answered = {Kind.HISTORY: {1: [(0, 4 * BAR)]}, Kind.TRADES: {1: [(0, 4 * BAR)], 2: [(0, BAR)]}}
    inside, over = Gap(None, BAR // 2, BAR - PAD_US), Gap(None, BAR // 2, BAR)
    gaps = [inside, over, Gap(1, BAR, None), Gap(1, BAR, 2 * BAR), Gap(2, BAR, 2 * BAR), Gap(9, 0, BAR)]
    gaps.append(Gap(1, 3 * BAR, 4 * BAR))
    found = [*filled(gaps, [one(1), one(2)], known, answered, 4 * BAR)]
    assert found == [inside, Gap(1, BAR, 2 * BAR)]
    assert [*filled([over], [one(1), one(2, listed=2 * BAR)], known, answered, 4 * BAR)] == [over]


def test_what_was_answered_is_kept(tmp_path):
    """It is read again as it was written, old spans are forgotten, and a folder that cannot be written is named."""
    file, old = AnsweredFile(tmp_path), -60 * DAY_US
    for span in ((0, BAR), (BAR, 2 * BAR), (old, old + BAR)):
        file.add(Venue.KALSHI, [Ask(Kind.TRADES, one(-5), *span, True)])
    file.save(0)
    again = AnsweredFile(tmp_path)
    assert again.of(Venue.KALSHI) == {Kind.TRADES: {-5: [(0, 2 * BAR)]}, Kind.HISTORY: {}}
    assert is_within((0, 2 * BAR), again.of(Venue.KALSHI)[Kind.TRADES][-5])
    with pytest.raises(LakeUnwritable, match="no such file"):
        AnsweredFile(tmp_path / "gone").save(0)
