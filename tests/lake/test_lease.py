"""`lake.lease`: one writer of a role on a lake in a bucket, also where another machine would be a second."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from random import Random

import pytest

from flows.collector.former import next_epoch
from lake import bucket, lease
from lake.bucket import BucketFiles
from lake.errors import LakeError, LakeUnwritable, LeaseLost, PublishConflict
from lake.lease import LIFE, Holder, Lease, sole
from lake.place import Bucket
from lake.schema import QUOTES
from lake.store import Store
from lake.vocab import Mode
from tests.builders import quote
from tests.lake.lakes import new_lake, part_of, publish, rows
from tests.lake.thief import rob
from tests.objects import faulty, use

PATH = "_collector-main.lease"
ROLE = "collector-main"


class Time:
    """Both clocks of a machine, set by hand."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class World:
    """Machines that want one role on one lake."""

    def __init__(self, place: Bucket) -> None:
        self.place, self.time = place, Time()

    def machine(self, name: str, pid: int = 1) -> Lease:
        files = BucketFiles(self.place, tries=1, rng=Random(1), sleep=lambda seconds: None)
        return Lease(files, ROLE, Holder(name, pid, name, 0, None), wall=self.time, monotonic=self.time)

    def said(self) -> dict[str, object]:
        return json.loads(BucketFiles(self.place).read(PATH))


@pytest.fixture
def world(service, tmp_path) -> World:
    return World(service.place(tmp_path))


def test_the_first_has_it_and_the_second_is_told(world):
    """By host and process; the file says who, since when, and which epoch."""
    first, second = world.machine("alder", 7), world.machine("birch", 8)
    first.take(3)
    assert world.said() == {"host": "alder", "pid": 7, "machine": "alder", "epoch": 3, "renewed": 1_000.0}
    with pytest.raises(LakeError, match=r"lake s3://movers/\S+: process 7 on alder is its collector-main already"):
        second.take()
    first.require()
    with pytest.raises(LakeUnwritable):
        second.require()


def test_it_lasts_as_long_as_it_is_renewed(world):
    """By the holder's monotonic clock up to the last moment, and for others as long by the wall clock."""
    first, second = world.machine("alder"), world.machine("birch")
    first.take()
    for _ in range(5):
        world.time.now += LIFE - 1
        first.renew()
    world.time.now += LIFE - 0.1
    first.require()
    with pytest.raises(LakeError, match="on alder"):
        second.take()
    world.time.now += 0.2
    with pytest.raises(LakeUnwritable, match="could not be renewed for 15 s; nothing is published until it is"):
        first.require()
    first.renew()  # nobody wanted it
    first.require()


def test_who_lost_it_publishes_no_more(world):
    """Taken over after it had run out: the former holder learns it with its next renewal, for ever, and by name."""
    first, second = world.machine("alder"), world.machine("birch", 8)
    first.take()
    world.time.now += LIFE
    second.take()
    assert second.epoch == first.epoch + 1
    for _ in range(2):
        with pytest.raises(LeaseLost, match="is now that of process 8 on birch; nothing more is published here"):
            first.renew()
        with pytest.raises(PublishConflict):  # where a sealer stops instead of trying again
            first.require()
    second.renew()
    second.require()


def test_of_two_who_take_it_over_one_has_it(world, monkeypatch):
    """They saw the same lease run out; the slower one's PUT is refused."""
    world.machine("alder").take()
    world.time.now += LIFE
    slow, quick = world.machine("birch"), world.machine("cedar")
    read, is_first = slow._read, iter([True])

    def read_and_wait():
        found = read()
        if next(is_first, False):
            quick.take()
        return found

    monkeypatch.setattr(slow, "_read", read_and_wait)
    with pytest.raises(LakeError, match="process 1 on cedar is its collector-main already"):
        slow.take()
    quick.require()


def test_who_gives_it_up_leaves_it_free(world):
    """The next one waits for nothing, and has a larger epoch."""
    first, second = world.machine("alder"), world.machine("birch")
    first.take(4)
    first.give_up()
    with pytest.raises(LakeUnwritable):
        first.require()
    second.take(4)
    second.require()
    assert second.epoch == 5


def test_a_process_that_was_killed_is_followed_at_once_on_its_machine(world):
    """Its successor holds the local lock, so it is dead; on another machine nobody knows that before it ran out."""
    world.machine("alder", 7).take()
    with pytest.raises(LakeError):
        world.machine("birch").take()
    again = world.machine("alder", 8)
    again.take()
    again.require()
    assert again.epoch == 1


def test_a_lease_that_was_removed_is_lost(world):
    """Somebody meddled: to go on would be a guess."""
    first = world.machine("alder")
    first.take()
    BucketFiles(world.place).remove(PATH)
    with pytest.raises(LeaseLost, match="was removed"):
        first.renew()


def test_a_file_that_is_no_lease_is_named(world):
    """It is not overwritten."""
    BucketFiles(world.place).replace(PATH, lambda path: path.write_text("{}"))
    with pytest.raises(LakeError, match=r"_collector-main\.lease: is no lease; remove it"):
        world.machine("alder").take()


@pytest.mark.parametrize("fault", ["lost", "503"])
def test_an_answer_that_is_lost(fault, world, service, monkeypatch):
    """F30: what is there tells whether it was applied; the lease is kept, and never held by two."""
    plan: list[str] = []
    with faulty(service.url, lambda method, path: plan.pop(0) if method == "PUT" and plan else None) as url:
        use(monkeypatch, url)
        first, second = world.machine("alder"), world.machine("birch")
        for ask in (first.take, first.renew):
            plan.append(fault)
            world.time.now += 1
            if fault == "lost":
                ask()
            else:
                with pytest.raises(ConnectionError):
                    ask()
                ask()
            first.require()
        with pytest.raises(LakeError, match="on alder"):
            second.take()


def test_a_renewal_that_was_applied_unseen_is_ours(world, service, monkeypatch):
    """Neither the answer nor the look afterwards came through: the next renewal finds our own name in it."""
    asked: list[str] = []
    plan = {"PUT": "lost", "GET": "503"}
    with faulty(service.url, lambda method, path: plan.get(method) if asked else None) as url:
        use(monkeypatch, url)
        first = world.machine("alder")
        first.take()
        asked.append("now")
        world.time.now += 5
        with pytest.raises(ConnectionError):
            first.renew()
        asked.clear()
        assert world.said()["renewed"] == 1_005.0
        world.time.now += 5
        first.renew()
        first.require()
        assert world.said()["renewed"] == 1_010.0


# The whole: `sole`


def test_a_second_machine_is_refused_within_two_seconds(service, tmp_path):
    """F10: another local folder is another machine. The one that is refused has written nothing."""
    place = service.place(tmp_path / "alder")
    store = Store.create(place, Mode.SIMULATED)
    other = Store.open(Bucket(place.name, place.prefix, tmp_path / "birch"))
    with sole(store, ROLE) as own:
        publish(own, {(QUOTES, "kalshi"): [quote()]}, number=1)
        before, began = store.files.walk(""), time.monotonic()
        with pytest.raises(LakeError, match=r"process \d+ on .* is its collector-main already"), sole(other, ROLE):
            pass
        assert time.monotonic() - began < 2
        with sole(other, "jobs"):
            pass
        assert [path for path in store.files.walk("") if path != "_jobs.lease"] == before
    with sole(other, ROLE) as own:
        own.require_owner()


def test_a_second_process_of_this_machine_is_refused_by_the_lock(service, tmp_path):
    """It would else take the first for its own dead self."""
    store = Store.create(service.place(tmp_path / "alder"), Mode.SIMULATED)
    with sole(store, ROLE):
        again = Store.open(store.root)
        with pytest.raises(LakeError, match=r"lake s3://\S+: process \d+ on"), sole(again, ROLE):
            pass


def test_a_lake_that_was_taken_over_is_not_written_to(service, tmp_path, monkeypatch):
    """Every way to write is closed, and the file that the former holder wanted is not there."""
    monkeypatch.setattr(lease, "BEAT", 0.01)
    monkeypatch.setattr(bucket, "FIRST_PAUSE", 0.0)
    store = Store.create(service.place(tmp_path / "alder"), Mode.SIMULATED)
    with sole(store, ROLE) as own:
        publish(own, {(QUOTES, "kalshi"): [quote()]}, number=1)
        rob(own, ROLE)
        before, now, part = store.files.walk(""), datetime.now(UTC), part_of(1)
        for write in (
            lambda: publish(own, {(QUOTES, "kalshi"): [quote()]}, number=2),
            lambda: own.publish(part, rows(QUOTES, [quote(market=2)])),
            lambda: own.publish_file(part, Path.touch, print),
            lambda: own.replace(part, rows(QUOTES, [])),
            lambda: own.write_new(part, Path.touch),
            lambda: own.write_over(part, Path.touch),
            lambda: own.set_watermark("bars", {}),
            lambda: own.remove(part),
            lambda: own.move(part, PurePosixPath("_trash/x")),
            lambda: own.trash([part], now),
            lambda: own.empty_trash(now),
            lambda: own.sweep(now),
        ):
            with pytest.raises(LeaseLost, match="process 8 on birch"):
                write()
        assert store.files.walk("") == before
    assert json.loads(store.files.read(PATH))["host"] == "birch"


def test_epochs_of_holders_differ(service, tmp_path):
    """A former holder may keep segments of an epoch that no file tells of: its successor takes a larger one."""
    place = service.place(tmp_path / "alder")
    store = Store.create(place, Mode.SIMULATED)
    epochs = []
    for name in ("alder", "birch", "alder"):
        other = Store.open(Bucket(place.name, place.prefix, tmp_path / name))
        with sole(other, ROLE, lambda: next_epoch(store, "main")) as own:
            epochs.append(next_epoch(own, "main"))
    assert epochs == [0, 1, 2]
    assert next_epoch(store, "main") == 0


def test_a_folder_needs_no_lease(tmp_path):
    """Its lock is the system's; nothing of a lease is left there, and the store is the one that was given."""
    store = new_lake(tmp_path)
    with sole(store, ROLE) as own:
        assert own is store
        with pytest.raises(LakeError, match="is its collector-main already"), sole(store, ROLE):
            pass
    assert sorted(path.name for path in store.root.iterdir()) == ["_collector-main.lock", "_lake.json"]
