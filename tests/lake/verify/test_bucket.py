"""A lake in a bucket is looked at and mended as one in a folder is; an object store that fails is no damage."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.jobs.maintenance import maintain
from lake.errors import LakeError
from lake.lease import UPKEEP, sole
from lake.place import Bucket
from lake.schema import GAPS, QUOTES, SEGMENTS, TRADES
from lake.store import Store
from lake.verify import contents
from lake.verify.apart import Apart
from lake.verify.findings import What
from lake.verify.plan import Verb
from lake.verify.repair import repair
from lake.vocab import Mode
from tests.lake.verify.small import COUNT, NOW, errors, look, part, seal, where
from tests.objects import faulty, use


@pytest.fixture
def lake(service, tmp_path) -> Store:
    """A sound lake of four segments in a bucket."""
    store = Store.create(service.place(tmp_path), Mode.SIMULATED)
    for number in range(COUNT):
        seal(store, number)
    return store


@pytest.fixture
def processes(lake) -> Iterator[Apart]:
    """Processes with the keys of that bucket."""
    with Apart(1) as started:
        yield started


def elsewhere(lake: Store, folder: Path) -> Store:
    """The same lake, on another machine."""
    return Store.open(Bucket(lake.root.name, lake.root.prefix, folder))


def test_damage_is_found_and_mended(lake, processes):
    """A file cut, one deleted, one in the trash: aside, noted, back again, and the lost time of two is one gap."""
    report = look(lake, processes).report
    assert report.findings == [] and report.hashed == report.files == 4 * COUNT
    cut = lake.files.read(where(QUOTES, 1))[:100]
    lake.files.replace(where(QUOTES, 1), lambda path: path.write_bytes(cut))
    lake.remove(part(TRADES, 2))
    lake.trash([part(TRADES, 3)], NOW)
    found = {(What.DAMAGED, where(QUOTES, 1)), (What.MISSING, where(TRADES, 2)), (What.MISSING, where(TRADES, 3))}
    assert errors(look(lake, processes).report) == found
    done = []
    mended = repair(lake, lambda: look(lake, processes), NOW, processes, done.append)
    assert errors(mended.report) == set()
    assert [step.verb for step in done] == [Verb.QUARANTINE, Verb.RESTORE, Verb.NOTE, Verb.RECORD]
    assert lake.files.read(f"_quarantine/{where(QUOTES, 1)}") == cut
    assert lake.exists(part(TRADES, 3)) and lake.scan(GAPS).collect().height == 1


def test_a_line_is_written_again(lake, processes):
    """From its files, as they lie in the bucket."""
    before = lake.load(part(SEGMENTS, 1)).drop("opened_time", "closed_time")
    lake.files.replace(where(SEGMENTS, 1), lambda path: path.write_bytes(b"PAR1"))
    repair(lake, lambda: look(lake, processes), NOW, processes, lambda step: None)
    assert lake.load(part(SEGMENTS, 1)).drop("opened_time", "closed_time").equals(before)


@pytest.mark.soak
def test_a_store_that_fails_is_no_damage(lake, service, monkeypatch):
    """Neither a footer nor rows that cannot be had speak against a file: it is said that nothing is known."""
    with faulty(service.url, lambda method, path: "503" if ".parquet" in path else None) as url:
        use(monkeypatch, url)
        with Apart(1) as processes, pytest.raises(ConnectionError):
            processes.run(lake.root, contents.hashed, [[where(QUOTES, 1)]])
        with Apart(1) as processes, pytest.raises(ConnectionError):
            look(Store.open(lake.root), processes)


def test_one_machine_at_a_time(lake, processes, tmp_path):
    """While one merges or mends, another machine is refused both, and told who it is."""
    other = elsewhere(lake, tmp_path / "other")
    with sole(lake, UPKEEP):
        with pytest.raises(LakeError, match=r"process \d+ on .* is its maintenance already"):
            maintain(other, NOW, {}, reserve=0)
        with pytest.raises(LakeError, match=r"process \d+ on .* is its maintenance already"):
            repair(other, lambda: look(other, processes), NOW, processes, print)
    maintain(other, NOW, {}, reserve=0)
