"""A lake in a bucket: every promise of `lake.store`, over HTTP, with an object store that fails."""

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import PurePosixPath
from random import Random

import pytest

from lake import bucket, layout, ledger, sql
from lake.compact import Ledger, merge, plan
from lake.errors import (
    LakeError,
    LakeMismatch,
    LakeMissing,
    LakeUnreachable,
    LakeUnwritable,
    PublishConflict,
    SettingError,
)
from lake.layout import Level, SeqRange
from lake.place import Bucket
from lake.query import Lake
from lake.schema import BARS, QUOTES, SCHEMA_VERSION, SEGMENTS, TRADES
from lake.store import Store
from lake.vocab import Mode
from tests.builders import TODAY, instant, quote
from tests.lake.lakes import derive, part_of, publish, row, rows
from tests.lake.merging import segment
from tests.objects import SECRET, at_random, faulty, use

TOMORROW = TODAY + timedelta(days=1)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Between tries; how many there are stays."""
    monkeypatch.setattr(bucket, "FIRST_PAUSE", 0.0)


@pytest.fixture
def store(service, tmp_path) -> Store:
    return Store.create(service.place(tmp_path / "local"), Mode.SIMULATED)


def test_a_lake_in_a_bucket_is_made_once(store):
    """Made again it is the same; another mode is refused by name; nothing of it is on this machine."""
    assert Store.create(store.root, Mode.SIMULATED) == store == Store.open(store.root) == Lake.open(store.root).store
    with pytest.raises(LakeMismatch, match=r"lake s3://movers/lakes/\d+: holds 'simulated' data, not 'live'"):
        Store.open(store.root, Mode.LIVE)
    assert store.files.walk("") == [layout.MARKER]
    assert [path for path in store.local.rglob("*") if path.is_file()] == []


def test_the_address_alone_opens_it(store):
    """As text, as the command line gives it; what is not there is missed by its whole name."""
    assert Store.open(str(store.root)).mode == store.mode
    with pytest.raises(LakeMissing, match="lake s3://movers/nothing/here: there is none"):
        Store.open("s3://movers/nothing/here")
    with pytest.raises(SettingError, match="no place for a lake"):
        Store.open("ftp://movers/x")


def test_an_older_lake_is_brought_up_to_date(store):
    """In a bucket as in a folder: see `Store.create`."""
    text = f'{{"mode": "simulated", "schema_version": {SCHEMA_VERSION - 1}}}'
    store.files.replace(layout.MARKER, lambda path: path.write_text(text))
    Store.create(store.root, Mode.SIMULATED)
    assert str(SCHEMA_VERSION) in store.files.read(layout.MARKER).decode()


def test_publishing_twice_changes_nothing(store):
    """The same rows are no news, and other rows under the same name are a conflict; the first stay."""
    frame = rows(QUOTES, [quote(market=1), quote(market=2)])
    assert store.publish(part_of(1), frame)
    before = store.files.stat(str(part_of(1).path))
    assert not store.publish(part_of(1), frame)
    with pytest.raises(PublishConflict, match=r"c-0-1-1\.parquet: is there with other rows"):
        store.publish(part_of(1), frame.head(1))
    assert store.files.stat(str(part_of(1).path)) == before
    assert store.load(part_of(1)).equals(frame)


def test_the_same_rows_in_other_bytes_are_the_same(store):
    """As another version of Polars writes them, or an older program that knew fewer columns."""
    frame = rows(QUOTES, [quote(market=1), quote(market=2)])
    store.write_new(part_of(1), lambda path: frame.drop("source").write_parquet(path, compression="snappy"))
    assert not store.publish(part_of(1), frame)


def test_a_segment_is_published_twice(store):
    """Rows, ledger and sizes are those of once; a crash before the ledger is made up for."""
    given = {(QUOTES, "kalshi"): [quote(market=1)], (TRADES, "polymarket"): []}
    assert publish(store, given, number=1) == 1
    before = store.files.walk("")
    assert publish(store, given, number=1) == 0
    assert store.files.walk("") == before
    (ledger_part,) = store.parts(SEGMENTS)
    store.remove(ledger_part)
    assert publish(store, given, number=1) == 0
    assert store.files.walk("") == before
    line = store.scan(SEGMENTS).collect().row(0, named=True)
    assert line["bytes"] == store.files.stat(str(part_of(1).path)).size
    assert ledger.sealed(store) == [SeqRange("c", 0, 1, 1)]


def test_parts_and_scans_by_venue_and_day(store):
    """Each row once, with its partition; strangers are reported and read by nobody."""
    for number in range(6):
        venue, day = ("kalshi", "polymarket")[number % 2], TODAY + timedelta(days=number // 4)
        publish(store, {(QUOTES, venue): [quote(market=key, seq=number) for key in range(number + 1)]}, day, number)
    for stray in ("quotes/stray.parquet", "quotes/venue=kalshi/date=20260101/c-0-1-1.parquet"):
        store.files.replace(stray, lambda path: path.write_bytes(b"x"))
    assert [str(path) for path in store.strangers()] == [
        "quotes/stray.parquet",
        "quotes/venue=kalshi/date=20260101/c-0-1-1.parquet",
    ]
    counts = store.scan(QUOTES).group_by("venue", "date").len().sort("venue", "date").collect().rows()
    assert counts == [
        ("kalshi", TODAY, 4), ("kalshi", TOMORROW, 5), ("polymarket", TODAY, 6), ("polymarket", TOMORROW, 6),
    ]  # fmt: skip
    parts = store.parts(QUOTES)
    assert parts == sorted(parts, key=lambda part: part.path) and len(parts) == 6
    assert store.parts(QUOTES, venues=["kalshi"], dates=[TOMORROW]) == [part_of(4, day=TOMORROW)]
    assert store.parts(QUOTES, dates=[TOMORROW]) == [part for part in parts if part.partition["date"] == str(TOMORROW)]
    assert store.days(QUOTES) == [TODAY, TOMORROW]
    assert list(store.published([part_of(4, day=TOMORROW), part_of(5)])) == [part_of(4, day=TOMORROW)]
    found = sql.run(store, "SELECT venue, date, count(*) FROM quotes GROUP BY ALL ORDER BY ALL")
    assert found.rows() == counts
    some = sql.run(store, f"SELECT count(*) FROM quotes WHERE date = '{TOMORROW}' AND venue = 'kalshi'")
    assert some.item() == 5


def test_derived_files_are_replaced_and_removed(store):
    """As a whole; no rows leave no file."""
    for keys in ([1, 2], [3]):
        derive(store, BARS, [row(BARS, market_key=key, ticks=1) for key in keys], interval="1m")
        assert store.scan(BARS).collect()["market_key"].to_list() == keys
    derive(store, BARS, [], interval="1m")
    derive(store, BARS, [], interval="1m")
    assert store.parts(BARS) == []


def test_a_file_is_moved_out_of_its_table(store):
    """No reader finds it there any more, and it is not lost."""
    publish(store, {(QUOTES, "kalshi"): [quote()]}, number=1)
    store.move(part_of(1), PurePosixPath("_trash/20260101T000000") / part_of(1).path)
    assert store.scan(QUOTES).collect().is_empty()
    assert store.files.walk("_trash") == [f"_trash/20260101T000000/{part_of(1).path}"]


def test_watermarks_and_marks(store):
    """What a job has reached survives; a look tells whether something was published since."""
    before = Lake(store).marks()
    store.set_watermark("bars", {"c-0": 5})
    store.set_watermark("movers", {"c-0": 7})
    again = Store.open(store.root)
    assert (again.watermark("bars"), again.watermark("movers"), again.watermark("x")) == ({"c-0": 5}, {"c-0": 7}, {})
    assert Lake(again).marks() == before
    publish(store, {(QUOTES, "kalshi"): [quote()]}, number=1)
    after = Lake(again).marks()
    assert (after.lake, after.boards) == (before.lake, before.boards)
    assert after.segments != before.segments
    assert Lake(again).news().segments == {"c-0-1-1"}


def test_a_damaged_file_is_named(store):
    """By its address, wherever an engine stumbles over it."""
    publish(store, {(QUOTES, "kalshi"): [quote()]}, number=1)
    store.files.replace(str(part_of(1).path), lambda path: path.write_bytes(b"x" * 100))
    assert store.damaged() == [part_of(1)]
    told = r"s3://movers/lakes/\d+/quotes/.*c-0-1-1\.parquet: is damaged; move it away"
    with pytest.raises(LakeError, match=told), store.reading():
        store.scan(QUOTES).collect()
    with pytest.raises(LakeError, match=told):
        sql.run(store, "SELECT * FROM quotes")
    with pytest.raises(LakeError, match=r"c-0-1-1\.parquet: cannot be read"):
        store.load(part_of(1))
    with pytest.raises(LakeError, match="is in a bucket"):
        store.path(part_of(1))


@pytest.mark.parametrize("ignored", ["PUT", "If-Match"])
def test_a_store_that_ignores_conditions_is_refused(ignored, service, tmp_path, monkeypatch):
    """Two writers could overwrite each other there. Found out at the start, and nothing was changed by that."""
    puts: list[str] = []

    def plan(method: str, path: str) -> str | None:
        puts.extend([path] if method == "PUT" else [])
        is_blind = ignored == "PUT" or len(puts) == 3  # marker; If-None-Match; If-Match
        return "blind" if method == "PUT" and is_blind else None

    place = service.place(tmp_path)
    with faulty(service.url, plan) as url:
        use(monkeypatch, url)
        with pytest.raises(LakeUnwritable, match="takes no notice of If-None-Match and If-Match") as caught:
            Store.create(place, Mode.SIMULATED)
    assert "\n" not in str(caught.value)
    use(monkeypatch, service.url)
    assert Store.create(place, Mode.SIMULATED).files.walk("") == [layout.MARKER]


def test_a_bucket_that_is_not_there(service, tmp_path):
    """It is not made: whoever owns it does that."""
    with pytest.raises(LakeUnwritable, match=r"lake s3://nobodys: the object store said 404 Not Found; give a bucket"):
        Store.create(Bucket("nobodys", "", tmp_path), Mode.SIMULATED)


def test_what_a_killed_writer_left_is_swept(store):
    """After an hour, at the next start; what may be at work is left alone."""
    for name, age in ((".put-old", 4_000), (".put-young", 10)):
        (store.local / name).mkdir()
        (store.local / name / "x.parquet").touch()
        os.utime(store.local / name, times=(time.time() - age,) * 2)
    Store.create(store.root, Mode.SIMULATED)
    assert [path.name for path in store.local.iterdir()] == [".put-young"]


def test_refused_keys_are_told_and_not_shown(store, monkeypatch):
    """F31: expired or wrong; the rows stay with the caller, who tries again."""
    with faulty("http://127.0.0.1:9", lambda method, path: "403") as url:
        use(monkeypatch, url)
        lake = Store(store.root, store.mode, bucket.BucketFiles(store.root))
        with pytest.raises(LakeUnwritable, match=r"403 Forbidden: refused; look at AWS_ACCESS_KEY_ID") as caught:
            lake.publish(part_of(1), rows(QUOTES, [quote()]))
        assert SECRET not in str(caught.value) and "\n" not in str(caught.value)
    assert store.publish(part_of(1), rows(QUOTES, [quote()]))


def test_a_store_that_does_not_answer(store, monkeypatch):
    """Said in one line, for writers and for readers; when it answers again all is well."""
    publish(store, {(QUOTES, "kalshi"): [quote()]}, number=1)
    lake = Lake(store)
    with faulty("http://127.0.0.1:9", lambda method, path: "503") as url:
        use(monkeypatch, url)
        gone = Store(store.root, store.mode, bucket.BucketFiles(store.root))
        with pytest.raises(LakeUnwritable, match="503 Service Unavailable, 6 times; nothing of that file"):
            gone.publish(part_of(2), rows(QUOTES, [quote()]))
        with pytest.raises(LakeUnreachable, match=r"lake s3://.*503 Service Unavailable.*try again later"):
            Store.open(store.root)
        with pytest.raises(LakeUnreachable, match="try again later"):
            Lake(gone).counts()
    assert lake.counts().quotes == 1


def test_a_footer_that_cannot_be_had(store, monkeypatch):
    """What a merged file covers is not guessed: while it cannot be asked, nobody reads it and its inputs beside it."""
    segment(store, "2026-03-02 10:05")
    segment(store, "2026-03-02 10:06")
    known, now = Ledger(store), instant("2026-03-02 12:00")
    (wanted,) = plan(store, known, QUOTES, Level.HOUR, now).merges
    merge(store, known, wanted, now)
    for part in wanted.inputs:  # as a kill leaves them
        store.files.move(f"{layout.TRASH}/{layout.stamp(now)}/{part.path}", str(part.path))
    with faulty(os.environ["AWS_ENDPOINT_URL"], _first(bucket.TRIES, "GET", "hour-10")) as url:
        use(monkeypatch, url)
        lake = Lake(Store(store.root, store.mode, bucket.BucketFiles(store.root)))
        with pytest.raises(LakeUnreachable, match="503 Service Unavailable, 6 times.*try again later"):
            lake.quotes(0)
        assert lake.store.scan(QUOTES).collect().height == 6


def _first(most: int, method: str, part: str):
    """A plan by which so many of these requests fail, and all after them pass."""
    left = iter(range(most))

    def plan(asked: str, path: str) -> str | None:
        return "503" if asked == method and part in path and next(left, None) is not None else None

    return plan


def until_written(write: Callable[[], int]) -> tuple[int, int]:
    """What it returns once it succeeds, and how often it failed before: the rows stay with who wrote, as the sealer."""
    for failed in range(50):
        try:
            return write(), failed
        except LakeUnwritable:
            continue
    raise AssertionError("not written in 50 tries")


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.soak)])
def test_publishes_under_faults(count, store, service, monkeypatch):
    """F30, F31: of every ten requests three fail, before or after they were applied. Each file is there once, none is
    lost, and each was new to somebody once: the caller keeps what could not be written and tries again, as the sealer.
    """
    asked = dict.fromkeys(("requests", "faults"), 0)
    roll = at_random(Random(11), 0.3, "503", "500", "lost")

    def plan(method: str, path: str) -> str | None:
        fault = roll(method, path)
        asked["requests"] += 1
        asked["faults"] += fault is not None
        return fault

    with faulty(service.url, plan) as url:
        use(monkeypatch, url)
        writer, added, kept = Store.open(store.root), 0, 0
        for number in range(count):
            given = {(QUOTES, "kalshi"): [quote(market=number, seq=number)]}
            new, failed = until_written(lambda: publish(writer, given, number=number))  # noqa: B023
            added, kept = added + new, kept + failed
    assert asked["faults"] > 0.2 * asked["requests"] > count / 5
    assert sorted(store.scan(QUOTES).collect()["market_key"]) == list(range(count))
    assert len(store.parts(QUOTES)) == len(store.parts(SEGMENTS)) == count
    assert count - kept <= added <= count


@pytest.mark.parametrize("count", [4, pytest.param(50, marks=pytest.mark.soak)])
def test_two_writers_of_the_same_names(count, store, service, monkeypatch):
    """They race for the same names with the same rows, under faults: both succeed, each file is there once. Of other
    rows one writer's are published, and the other is told.
    """
    told: set[tuple[int, int]] = set()
    failed: list[BaseException] = []

    def write(lake: Store, me: int) -> None:
        try:
            for number in range(count):
                until_written(lambda: lake.publish(part_of(number), same))  # noqa: B023
                own = rows(QUOTES, [quote(market=me, seq=1)])
                try:
                    until_written(lambda: lake.publish(part_of(number, day=TOMORROW), own))  # noqa: B023
                except PublishConflict:
                    told.add((number, me))
        except BaseException as exc:
            failed.append(exc)

    same = rows(QUOTES, [quote(market=1, seq=1)])
    with faulty(service.url, at_random(Random(5), 0.3, "503", "lost")) as url:
        use(monkeypatch, url)
        threads = [threading.Thread(target=write, args=(Store.open(store.root), me), daemon=True) for me in (2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10 + 2 * count)
            assert not thread.is_alive(), "a writer did not come to an end"
    assert failed == []
    found = store.scan(QUOTES).collect()
    assert found.filter(date=TODAY)["market_key"].to_list() == [1] * count
    assert len(store.parts(QUOTES)) == found.height == 2 * count
    own = store.parts(QUOTES, dates=[TOMORROW])
    owners = {SeqRange.parse(part.name).first: store.load(part)["market_key"].item() for part in own}
    assert told == {(number, {2: 3, 3: 2}[owner]) for number, owner in owners.items()}
