"""What the fault run says, on a few faults; all of them by `python -m tests.soak.faults`, and in the soak."""

import asyncio
from dataclasses import replace

import pytest

from flows.collector.timing import Timing
from tests.soak.faults import CASES, run

TIMING = Timing(longest_delay=1, poll_every=5, failures_before_polling=3, drain_within=30)
SHORT = ("abort (kalshi)", "malformed (kalshi)", "terminate 10 (kalshi)")


@pytest.mark.parametrize("names", [SHORT, pytest.param((), marks=pytest.mark.soak)], ids=["some", "all"])
def test_faults_are_survived(tmp_path, names):
    """Each leaves the gap that it should and no other; what is in no gap is stored, and nothing is made up."""
    cases = [replace(case, rest=3) if names else case for case in CASES if not names or case.name in names]
    assert len(cases) >= 3
    result = asyncio.run(run(tmp_path, cases, TIMING, markets=80, rate=400))
    wrong = [(each.case.name, each.gaps, each.others) for each in result.outcomes if not each.is_right]
    assert wrong == []
    assert result.quotes.is_right, (result.quotes.missing, result.quotes.extra)
    assert result.trades.is_right, (result.trades.missing, result.trades.extra)
    assert result.unbalanced == 0 and result.quotes.matched > 100
