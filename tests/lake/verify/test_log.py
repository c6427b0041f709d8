"""A lake beside a log: what a killed collector left is no error, and a recovery makes the lake sound, damage or not."""

import asyncio
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.collector import journal
from flows.collector.recover import recover
from flows.collector.sealing import frames_of, span_of
from flows.jobs.maintenance import maintain
from lake import layout, ledger, wal
from lake.clock import day_of
from lake.layout import Life
from lake.schema import GAPS, QUOTES, SEGMENTS
from lake.store import Store
from lake.verify.apart import Apart
from lake.verify.findings import Report, Severity, What
from lake.verify.plan import Step, Verb
from lake.verify.repair import repair
from lake.verify.survey import Survey, survey
from lake.vocab import Mode
from tests.flows.collector.lived import LIFE, Lived, make
from tests.flows.collector.test_live import collecting
from tests.flows.collector.venues import running, until
from tests.flows.jobs.test_catalog import Catalogues, sync
from tests.lake.verify.small import errors
from tests.soak.feeder import Feeder
from tests.soak.kills import Child


@pytest.fixture(scope="module")
def lived(tmp_path_factory) -> Lived:
    """A life of some segments that was broken off."""
    return Lived(tmp_path_factory.mktemp("lived") / "wal").run(3_000).end()


@pytest.fixture
def killed(lived, tmp_path) -> Store:
    """A lake with its log and its first two segments; of the third the quotes alone, one less than a recovery makes."""
    store = Store.create(tmp_path / "lake", Mode.SIMULATED)
    shutil.copytree(lived.folder, store.root / "wal")
    for segment in lived.segments[:2]:
        lived.seal(store, segment)
    third = lived.segments[2]
    quotes = frames_of(third, LIFE.collector, "boot")[QUOTES, "polymarket"]
    name, day = span_of(third, LIFE.collector).name, day_of(third.first_received)
    store.publish(layout.part(QUOTES, name, venue="polymarket", date=day), quotes[1:])
    return store


def full(store: Store, processes: Apart) -> Survey:
    """A full survey, now."""
    return survey(store, processes, now=datetime.now(UTC), full=True)


def look(store: Store, processes: Apart) -> Report:
    """What it reports."""
    return full(store, processes).report


def flip(path: Path) -> None:
    """Change a bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("damaged", [None, 2, 3])
def test_recovered(lived, killed, processes, damaged, known):
    """Whichever file of the log is damaged: before the recovery no error is told, after it the lake is sound.

    What was lost is in `gaps`. The file that was there already is kept as it was, and the ledger says so.
    """
    folder = killed.root / "wal"
    if damaged is not None:
        flip(wal.files(folder, LIFE)[damaged])
    if known:
        for segment in lived.segments:
            wal.write_state(folder, LIFE, journal.number_of(segment.last_seq, LIFE.epoch) + 1, segment.known)
    before = look(killed, processes)
    assert {(each.severity, each.what) for each in before.findings} == {(Severity.INFORMATION, What.WAITING)}
    kept = killed.listed(QUOTES)[-1]
    rows = killed.load(kept)
    recover(killed, folder, LIFE, make, now=lived.now + 90_000_000)
    after = look(killed, processes)
    assert after.is_sound and {each.what for each in after.findings} == ({What.LOST} if damaged else set())
    assert killed.load(kept).equals(rows)
    assert set(killed.scan(GAPS).collect()["reason"]) >= {"collector_down", *(["segment_damaged"] if damaged else [])}


@pytest.mark.asyncio
async def test_lives_of_every_kind(lived, killed, processes):
    """A life recovered, two passes over the catalogues, a repair, all merged, and a repair again: sound each time."""
    recover(killed, killed.root / "wal", LIFE, make, now=lived.now + 90_000_000)
    pages = Catalogues()
    await sync(killed, pages)
    pages.events["events"][0]["markets"][0]["title"] = "Another question?"
    await sync(killed, pages)
    later = datetime.now(UTC) + timedelta(days=70)
    for _ in range(2):
        assert look(killed, processes).is_sound
        killed.remove(killed.listed(QUOTES)[0])
        killed.empty_trash(later + timedelta(days=1))
        done: list[Step] = []
        found = repair(killed, lambda: full(killed, processes), datetime.now(UTC), processes, done.append)
        assert found.report.is_sound and Verb.RECORD in {step.verb for step in done}
        maintain(killed, later, {}, reserve=0)
    assert look(killed, processes).is_sound
    names = {span.collector for span in ledger.sealed(killed)}
    assert names == {LIFE.collector, "catalog", "repair"}


async def killed_by(number: signal.Signals, life: Life, feeder: Feeder, folder: Path) -> None:
    """That life of a collector, from its start until a second after its first message; former lives are recovered."""
    async with Child.living("collect", feeder, folder, set()) as child:
        await asyncio.sleep(1)
        await until(lambda: wal.lives(folder / "lake/wal") == [life])
        await child.end(number)


@pytest.mark.soak
@pytest.mark.asyncio
async def test_killed_collectors(tmp_path, processes):
    """A life killed under load: its log waits, and that is all; after the next, which ends well, nothing does."""
    feeder = Feeder(500)
    async with running(feeder):
        await killed_by(signal.SIGKILL, Life("main", 0), feeder, tmp_path)
        store = Store.open(tmp_path / "lake")
        found = await asyncio.to_thread(look, store, processes)
        assert {(each.severity, each.what) for each in found.findings} == {(Severity.INFORMATION, What.WAITING)}
        await killed_by(signal.SIGTERM, Life("main", 1), feeder, tmp_path)
        found = await asyncio.to_thread(look, store, processes)
        assert found.findings == [] and found.lines


@pytest.mark.asyncio
async def test_while_a_collector_seals(tmp_path, processes):
    """Segments come again and again while it is looked at, and in between: no error."""
    feeder = Feeder(200)
    async with running(feeder), collecting(feeder, tmp_path, collector_mode="polymarket", backfill_hours=0) as run:
        for _ in range(4):
            count = len(run.store.listed(SEGMENTS))
            await until(lambda: len(run.store.listed(SEGMENTS)) > count, 20)  # noqa: B023
            report = await asyncio.to_thread(look, run.store, processes)
            assert errors(report) == set() and report.lines > 0
    assert look(run.store, processes).findings == []
