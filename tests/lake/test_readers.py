"""Readers in other processes while segments are published and merged: every answer is what was published by then."""

import json
import multiprocessing
from datetime import UTC, datetime, timedelta

import pytest

from flows.jobs.maintenance import maintain
from lake.layout import Merged
from lake.schema import QUOTES
from tests.lake.lakes import new_lake
from tests.lake.merging import Sum, segment, together, total
from tests.lake.readers import read_until
from tests.waiting import until

ROWS = 3
START = datetime(2026, 2, 27, tzinfo=UTC)


@pytest.mark.parametrize(
    ("readers", "days", "a_day"),
    [pytest.param(2, 4, 2, id="short"), pytest.param(8, 20, 6, id="long", marks=pytest.mark.soak)],
)
def test_readers_see_a_prefix_of_what_was_published(tmp_path, readers, days, a_day):
    """Processes scan without pause while hours become days and days months: no error, no row lost or doubled."""
    times = [
        START + timedelta(days=1) * day + timedelta(days=1) / a_day * turn
        for day in range(days)
        for turn in range(a_day)
    ]
    rehearsal, known = new_lake(tmp_path / "rehearsal"), [Sum(0, 0)]
    for time in times:
        span = segment(rehearsal, time, ROWS, only=(QUOTES,))
        part = next(part for part in rehearsal.parts(QUOTES, dates=[time.date()]) if part.name == span.name)
        known.append(together(known[-1], total(rehearsal.load(part))))

    lake, stop = new_lake(tmp_path), tmp_path / "stop"
    spawn = multiprocessing.get_context("spawn")
    outs = [tmp_path / f"reader-{number}.json" for number in range(readers)]
    processes = [spawn.Process(target=read_until, args=(lake.root, stop, out, ROWS, known)) for out in outs]
    for process in processes:
        process.start()
    try:
        until(lambda: all(out.exists() for out in outs), 60, every=0.01)
        for place, time in enumerate(times):
            segment(lake, time, ROWS, only=(QUOTES,))
            if place % a_day == a_day - 1:
                maintain(lake, time + timedelta(hours=4), {}, reserve=0)
        maintain(lake, START + timedelta(days=days + 40), {}, reserve=0)
    finally:
        stop.touch()
        for process in processes:
            process.join(60)
            process.kill()
    told = [json.loads(out.read_text()) for out in outs]
    assert [each["faults"] for each in told] == [[]] * readers
    assert all(each["answers"] > 2 for each in told), "they did not look while it was written"
    assert all(Merged.parse(part.name) for part in lake.parts(QUOTES))
    assert total(lake.scan(QUOTES).select(*QUOTES.columns).collect()) == known[-1]
    print({name: sum(each[name] for each in told) for name in ("looks", "again", "answers", "rows", "seconds")})
