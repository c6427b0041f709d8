"""Whatever happens to a lake, in any order: each accepted row is there exactly once, and none that was not sent."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import polars as pl
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from flows.collector.former import next_epoch
from flows.collector.recover import recover
from flows.jobs.maintenance import maintain
from lake import hot, ledger, wal
from lake.clock import HOUR_US, SECOND_US, from_us, to_us
from lake.schema import QUOTES, RAW, SEQ_BITS, TRADES
from lake.store import Store
from lake.vocab import Mode
from tests.soak.feeder import FIRST
from tests.soak.kills import numbers
from tests.soak.lives import NAME, Collector, make

RUNS, STEPS = 100, 50
"""Of the long form."""

START = to_us(datetime(2060, 2, 26, 22, 59, 30, tzinfo=UTC))
"""Long after any file here is written: by the disk's own clock all are old enough to be removed."""

DAY = 86_400
WAITS = st.sampled_from([0.25, 10, 61, 61, 1_800, 3_600, 6 * 3_600, DAY, 3 * DAY, 40 * DAY])
BURSTS = st.lists(st.tuples(st.integers(1, 6), WAITS), max_size=4)
AGAIN = st.sampled_from([True, True, True, False])
SHARES = st.sampled_from([0.0, 0.3, 0.8, 0.999])

is_alive = precondition(lambda machine: machine.collector is not None)


class Machine(RuleBasedStateMachine):
    """A lake, its collector while one lives, and what must be in the lake."""

    at_work: Counter[str] = Counter()
    """How often each rule had something to do, in all runs."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="machine-"))
        self.store = Store.create(self.folder / "lake", Mode.SIMULATED)
        self.log = self.store.local / "wal"
        self.now = START
        self.came: dict[int, int] = {}  # each number that was sent, and when
        self.visible = set[int]()  # what our readers see
        self.sealed = set[int]()  # what anybody sees
        self.retired = set[int]()  # what retention took
        self.collector: Collector | None = None
        self.start()
        self.former: list[Collector] = []  # killed, and not recovered yet

    def teardown(self) -> None:
        """In the end all of it is in the lake, and stays there when it is merged."""
        try:
            while self.former:
                self.recover()
            if self.collector is not None:
                self.stop([], again=False)
            assert self.visible == self.sealed
            self.end()
            self.each_row_is_there_once()
            spans = ledger.sealed(self.store)
            assert all(span.epoch < other.epoch or span.last < other.first for span, other in pairwise(spans))
            assert not list(self.log.glob("*.*")) and not hot.lives(self.store.local)
        finally:
            rmtree(self.folder)

    def end(self) -> None:
        """What else is to be looked at in the end."""

    # --- the collector ---------------------------------------------------------------------------

    @precondition(lambda machine: machine.collector is None)
    @rule()
    def start(self) -> None:
        """A new life, whether the former ones were recovered or not."""
        epochs = [next_epoch(self.store, NAME), *(life.epoch + 1 for life in wal.lives(self.log))]
        self.collector = Collector(self.store, max(epochs), lambda: self.now)
        self.at_work["start"] += 1

    def append(self, bursts: list[tuple[int, float]]) -> None:
        """Trades and quotes come in, and the clock moves; before most of what happens to a collector."""
        for count, seconds in bursts:
            first = FIRST + len(self.came)
            self.collector.send(range(first, first + count))
            self.came |= dict.fromkeys(range(first, first + count), self.now)
            self.wait(seconds)
            self.at_work["burst"] += 1

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * SECOND_US)
        if self.collector is not None:
            self.collector.tick()

    @is_alive
    @rule(bursts=BURSTS, how=st.sampled_from(["commit", "show", "seal one", "seal all"]))
    def work(self, bursts: list[tuple[int, float]], how: str) -> None:
        """What came in is accepted; or is seen as well; or the first or all closed segments go into the lake."""
        self.append(bursts)
        if how == "commit":
            self.collector.commit()
        else:
            self.collector.show()
            self.visible |= self.collector.accepted - self.retired
        count = {"seal one": 1, "seal all": len(self.collector.closed)}.get(how, 0)
        for _ in range(min(count, len(self.collector.closed))):
            segment = self.collector.seal()
            first, last = (seq % (1 << SEQ_BITS) for seq in (segment.first_seq, segment.last_seq))
            self.sealed |= {number for number, record in self.collector.sent.items() if first <= record <= last}
            self.at_work["segment sealed"] += 1
        self.at_work[how] += 1

    @is_alive
    @rule(bursts=BURSTS, share=SHARES, again=AGAIN)
    def crash(self, bursts: list[tuple[int, float]], share: float, again: bool) -> None:
        """The collector is killed while it writes what it has not committed; another one may start at once."""
        self.append(bursts)
        self.collector.die(share)
        if self.collector.life in wal.lives(self.log):
            self.former.append(self.collector)
        self.collector = None
        self.at_work["crash"] += 1
        if again:
            self.start()

    @is_alive
    @rule(bursts=BURSTS, again=AGAIN)
    def stop(self, bursts: list[tuple[int, float]], again: bool) -> None:
        """The collector ends well."""
        self.append(bursts)
        self.collector.end()
        self.visible |= self.collector.accepted - self.retired
        self.sealed |= self.collector.accepted - self.retired
        self.collector = None
        self.at_work["stop"] += 1
        if again:
            self.start()

    @precondition(lambda machine: machine.former)
    @rule()
    def recover(self) -> None:
        """Of the oldest dead life comes back what was accepted, and of the rest no more than its beginning."""
        dead = self.former.pop(0)
        recover(self.store, self.log, dead.life, make, self.now)
        found = set(self.scanned(self.store)) & dead.sent.keys()
        assert dead.accepted <= found | self.retired, "what was accepted is lost"
        last = max(found, default=0)
        assert found == {number for number in dead.sent if number <= last} - self.retired
        self.visible |= found
        self.sealed |= found
        self.at_work["recover"] += 1

    # --- the lake --------------------------------------------------------------------------------

    @rule(seconds=WAITS)
    def compact(self, seconds: float) -> None:
        """A while later closed hours, days and months are merged."""
        self.wait(seconds)
        self.at_work["compact"] += self.maintain({})

    @rule(days=st.sampled_from([1, 2, 5, 70]), seconds=WAITS)
    def retain(self, days: int, seconds: float) -> None:
        """A while later of what is old enough any may go, but for the newest day of a table."""
        self.wait(seconds)
        before = self.plain()
        keep = timedelta(days=days)
        self.maintain(dict.fromkeys((QUOTES.name, TRADES.name, RAW.name), keep))
        gone = self.sealed - self.plain_numbers().keys()
        for number in gone:
            table, came = before[number % 2], from_us(self.came[number])
            ended = from_us((self.came[number] // HOUR_US + 1) * HOUR_US)
            assert ended <= from_us(self.now) - keep, "what went was not old enough"
            assert came.date() < table["received_time"].max().date(), "the newest day went"
        self.visible -= gone
        self.sealed -= gone
        self.retired |= gone
        self.at_work["retain"] += bool(gone)

    def maintain(self, keep: dict[str, timedelta]) -> bool:
        report = maintain(self.store, from_us(self.now), keep, reserve=0, confirmed=True)
        assert not report.faults and not report.refused
        return bool(report.merged)

    # --- what is seen ----------------------------------------------------------------------------

    @invariant()
    def each_row_is_there_once(self) -> None:
        """To our readers all that was shown or sealed, to any other all that was sealed; no more, and none twice."""
        fresh = self.scanned(Store.open(self.store.root))
        seen = ((self.scanned(self.store), self.visible), (fresh, self.visible), (self.plain_numbers(), self.sealed))
        for found, wanted in seen:
            assert set(found) == wanted
            assert all(count == 1 for count in found.values())
        assert not self.visible & self.retired and self.visible <= self.came.keys()

    @staticmethod
    def scanned(store: Store) -> Counter[int]:
        return numbers(*(store.scan(table).collect() for table in (TRADES, QUOTES)))

    def plain_numbers(self) -> Counter[int]:
        return numbers(*self.plain())

    def plain(self) -> list[pl.DataFrame]:
        """Trades and quotes as Polars finds them without our code."""
        found = []
        for table in (TRADES, QUOTES):
            folder = self.store.root / table.name
            is_there = any(folder.glob("**/*.parquet"))
            rows = pl.read_parquet(folder / "**" / "*.parquet", hive_partitioning=True) if is_there else table.empty()
            found.append(rows.lazy().collect())
        return found


class Thorough(Machine):
    """The same, and when all is over it is merged into months."""

    def end(self) -> None:
        self.wait(400 * DAY)
        self.maintain({})


def run(machine: type[Machine], runs: int, steps: int) -> str:
    """Live so often so many steps; what was at work."""
    Machine.at_work.clear()
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    wanted = settings(max_examples=runs, stateful_step_count=steps, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(machine, settings=wanted)
    return ", ".join(f"{name} {count:,}" for name, count in Machine.at_work.items())


def test_some_lives(no_fsync):
    """The short form."""
    told = run(Machine, 6, 12)
    assert all(name in +Machine.at_work for name in ("crash", "segment sealed", "recover", "compact")), told


@pytest.mark.soak
def test_many_lives(capsys):
    """The long form: every rule is at work."""
    began = time.monotonic()
    told = run(Thorough, RUNS, STEPS)
    with capsys.disabled():
        print(f"\n{RUNS:,} runs of {STEPS} steps in {time.monotonic() - began:.0f} s: {told}")
    assert len(Machine.at_work) == 12 and min(Machine.at_work.values()) > 0
