"""Every fault of the simulated venues, one after the other, and what became of it in the lake.

python -m tests.soak.faults [kind ...]       a table: seconds to detection and to recovery, gaps, rows lost

A real collector, with the pauses and limits that it has in life, collects from both simulated venues, while faults come
and go. At the end its lake is held against the truth: what happened is stored, or lies in a gap, and nothing else is.
"""

import asyncio
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from flows.collector.service import CollectReport, collect
from flows.collector.timing import Clock, Timing
from flows.simulator import truth_frames
from flows.simulator.comparing import Verdict, compare_quotes, compare_trades
from flows.simulator.service import Simulation
from lake.clock import SECOND_US, from_us
from lake.schema import DEAD_LETTERS, FEED_HEALTH, GAPS, QUOTES, TRADES
from lake.settings import load
from lake.store import Store
from lake.vocab import Gap, Venue
from tests.flows.collector.venues import until
from tests.simulated import simulated

SETTLE = 3  # seconds at both ends of a run that are not compared


@dataclass(frozen=True)
class Case:
    """A fault, how long it lasts, and what it has to leave behind."""

    kind: str
    venue: Venue
    seconds: float  # of the fault
    rest: float  # seconds after it until the next one
    reasons: frozenset[Gap] = frozenset()  # of which gaps have to be; none = no gap at all
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        value = self.said.get("value")
        return f"{self.kind}{'' if value is None else f' {value:g}'} ({self.venue.value})"


LOST = frozenset({Gap.DISCONNECTED})
HOLED = frozenset({Gap.SEQUENCE_HOLE})
ENDED = frozenset({Gap.UNSUBSCRIBED, Gap.DISCONNECTED})
POLY, KALSHI = Venue.POLYMARKET, Venue.KALSHI
CASES = [
    *(Case("abort", venue, 0.1, 8, LOST) for venue in Venue),
    *(Case("close", POLY, 0.1, 8, LOST, {"value": code}) for code in (1000, 1001, 1011, 1013)),
    Case("close", KALSHI, 0.1, 8, LOST, {"value": 1011}),
    *(Case("silence", venue, 17, 12, frozenset({Gap.SILENCE, Gap.FROZEN})) for venue in Venue),
    *(Case("malformed", venue, 4, 4, frozenset(), {"share": 0.2}) for venue in Venue),
    Case("bad-utf8", POLY, 4, 4, frozenset(), {"share": 0.2}),
    *(Case("unknown-kind", venue, 4, 4, frozenset(), {"share": 0.2}) for venue in Venue),
    *(Case("unknown-field", venue, 4, 4, frozenset(), {"share": 0.5}) for venue in Venue),
    *(Case("freeze", venue, 60, 10, frozenset({Gap.FROZEN})) for venue in Venue),
    *(Case(kind, POLY, 4, 4, frozenset(), {"share": 0.2}) for kind in ("missing-field", "wrong-type")),
    *(Case(kind, KALSHI, 4, 8, HOLED, {"share": 0.02}) for kind in ("missing-field", "wrong-type")),
    *(Case("duplicate", venue, 4, 4, frozenset(), {"share": 0.3}) for venue in Venue),
    Case("reorder", POLY, 4, 4),
    Case("hole", KALSHI, 2, 8, HOLED, {"share": 0.02}),
    *(
        Case("terminate", KALSHI, 0.1, 10, frozenset({Gap.UNSUBSCRIBED, Gap.DISCONNECTED}), {"value": code})
        for code in (10, 25)
    ),
    Case("huge", POLY, 0.1, 6, frozenset(), {"value": 9}),
    Case("huge", KALSHI, 0.1, 10, LOST, {"value": 33}),
    *(Case("status", venue, 10, 4, frozenset(), {"value": code}) for venue, code in ((POLY, 429), (KALSHI, 503))),
    *(Case(kind, POLY, 8, 4) for kind in ("html", "empty", "truncated", "redirect")),
    *(Case(kind, KALSHI, 8, 4) for kind in ("html", "cut-json", "slow")),
]
"""In turn; those whose fault is a message's or an answer's leave no gap."""


@dataclass
class Outcome:
    """What became of a fault."""

    case: Case
    start: int  # microseconds
    end: int = 0
    detected: float | None = None  # seconds from its first effect to the first word of a gap
    recovered: float | None = None  # seconds from its end to the end of its last gap
    gaps: int = 0
    others: set[str] = field(default_factory=set)  # reasons of gaps that should not be

    @property
    def is_right(self) -> bool:
        return not self.others and bool(self.gaps) is bool(self.case.reasons)


@dataclass
class Result:
    """A whole run."""

    outcomes: list[Outcome]
    quotes: Verdict
    trades: Verdict
    report: CollectReport
    dead: int
    seconds: float
    unbalanced: int  # minutes in which messages do not add up


async def run(
    folder: Path, cases: list[Case], timing: Timing, *, markets: int = 160, rate: float = 1_000, quiet: float = 0
) -> Result:
    """Collect while the faults come, `quiet` seconds before the first one."""
    clock, outcomes = Clock(), list[Outcome]()
    async with simulated(folder, markets, rate) as (simulation, settings):
        config = load(lake_uri=str(folder / "lake"), backfill_hours=0, **settings)
        store, stop = Store.create(config.lake_root, config.collector_mode), asyncio.Event()
        task = asyncio.create_task(collect(config, store, stop, say=print, rng=Random(1), timing=timing))
        await until(lambda: {*store.scan(QUOTES).collect()["venue"]} == {each.value for each in Venue}, 60)
        await asyncio.sleep(SETTLE)
        start = clock.wall()
        await asyncio.sleep(quiet)
        for case in cases:
            said = case.said | ({"market": liveliest(simulation, case.venue)} if case.kind == "freeze" else {})
            fault = simulation.fault(case.venue, case.kind, seconds=case.seconds, **said)
            outcome = Outcome(case, clock.wall())
            await asyncio.sleep(case.seconds)
            outcome.end = clock.wall()
            await asyncio.sleep(case.rest)
            outcome.start = fault.first or outcome.start
            outcomes.append(outcome)
            print(f"{from_us(outcome.start):%T.%f} {case.name}")
        ended = clock.wall()
        end = ended - SETTLE * SECOND_US
        stop.set()
        report = await asyncio.wait_for(task, 120)
        gaps = store.scan(GAPS).collect()
        told = gaps.filter(pl.col("reason") != Gap.FEED_ENDED.value)
        for outcome, following in zip(outcomes, [*(each.start for each in outcomes[1:]), ended], strict=False):
            judge(outcome, told, following)
        within = pl.col("event_time").is_between(from_us(start), from_us(end), closed="right")
        stored = {table: store.scan(table).filter(within).collect() for table in (QUOTES, TRADES)}
        slack = timedelta(seconds=2)
        quotes = compare_quotes(stored[QUOTES], truth_frames.quotes(simulation.truth, start, end), told, slack=slack)
        trades = compare_trades(stored[TRADES], truth_frames.trades(simulation.truth, start, end), told, slack=slack)
        health = store.scan(FEED_HEALTH).collect()
    sums = pl.sum_horizontal("applied", "ignored", "duplicate", "dead")
    unbalanced = health.filter(sums != pl.col("messages")).height
    dead = store.scan(DEAD_LETTERS).collect().height
    return Result(outcomes, quotes, trades, report, dead, (end - start) / SECOND_US, unbalanced)


def liveliest(simulation: Simulation, venue: Venue) -> str:
    """The market whose best prices changed most in the last minute."""
    moves, last = Counter[str](), dict[str, tuple[int | None, int | None]]()
    for top in simulation.truth.tops(venue, simulation.at - 60 * SECOND_US, simulation.at):
        name, prices = top.market.native_id, (top.bid, top.ask)
        moves[name] += last.get(name, prices) != prices
        last[name] = prices
    return moves.most_common(1)[0][0]


def judge(outcome: Outcome, gaps: pl.DataFrame, following: int) -> None:
    """Fill in what the gaps say that were noticed between this fault and the next one."""
    is_its = pl.col("detected_time").is_between(from_us(outcome.start - SECOND_US), from_us(following), closed="left")
    its = gaps.filter(is_its, pl.col("venue") == outcome.case.venue.value)
    wanted = its.filter(pl.col("reason").is_in([reason.value for reason in outcome.case.reasons]))
    outcome.gaps = wanted["market_key"].n_unique()
    outcome.others = {*its["reason"]} - {reason.value for reason in outcome.case.reasons}
    if wanted.is_empty():
        return
    first, last = wanted["detected_time"].min(), wanted["end_time"].max()
    outcome.detected = (first - from_us(outcome.start)).total_seconds()
    if last is not None:
        outcome.recovered = max(0.0, (last - from_us(outcome.end)).total_seconds())


def table(result: Result) -> Table:
    """The outcomes, a line each."""
    shown = Table("fault", "lasted s", "detected s", "markets in gaps", "recovered s", "right")
    for each in result.outcomes:
        seconds = (f"{value:.1f}" if value is not None else "" for value in (each.detected, each.recovered))
        found, back = seconds
        lasted = f"{each.case.seconds:g}"
        right = "yes" if each.is_right else f"no: {', '.join(sorted(each.others)) or 'no gap'}"
        shown.add_row(each.case.name, lasted, found, str(each.gaps or ""), back, right)
    shown.caption = (
        f"{result.seconds:.0f} s, {result.report.counts.messages:,} messages: "
        f"quotes {result.quotes}; trades {result.trades}; "
        f"{result.dead:,} dead letters, {result.unbalanced} minutes that do not add up, "
        f"{result.report.connects} connects"
    )
    return shown


def main(kinds: list[str]) -> int:
    chosen = [case for case in CASES if not kinds or case.kind in kinds]
    timing = Timing(longest_delay=5, poll_every=5, failures_before_polling=3)
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(run(Path(folder), chosen, timing))
    Console(width=150).print(table(result))
    with pl.Config(tbl_cols=-1, tbl_width_chars=200, tbl_rows=20):
        for verdict in (result.quotes, result.trades):
            for name, rows in (("missing", verdict.missing), ("extra", verdict.extra)):
                if not rows.is_empty():
                    print(name, rows)
    return (
        0 if all(each.is_right for each in result.outcomes) and result.quotes.is_right and result.trades.is_right else 1
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
