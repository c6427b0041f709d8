"""What a collector takes up from the lake when it starts."""

from pathlib import Path

import pytest

from flows.collector.former import last_word, next_epoch, remember
from flows.collector.sealing import frames_of, publish
from flows.venues.base import Frame, Wire
from lake.clock import day_of
from lake.hot import Hot
from lake.layout import Life
from lake.schema import GAPS, MARKETS, QUOTES, SEGMENTS
from lake.store import Store
from lake.vocab import Mode, Venue
from tests.flows.feed import SECOND, START, Feed, frame


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "lake", Mode.SIMULATED)


def lived(store: Store, *, ended_well: bool) -> Feed:
    """A life of epoch 7 in the lake: a Kalshi book, then the next segment, which is the last."""
    run = Feed(Wire.KALSHI_SOCKET).named("kalshi/snapshot", at=1).named("kalshi/trade", at=62)
    if ended_well:
        run.finish()
    else:
        run.pipeline.tick(run.now + 70_000_000, 0)
    for segment in run.sealed:
        publish(store, segment, "main")
    return run


def test_epochs_rise(store):
    """The next epoch is above all of that collector, files included whose segment never had its line."""
    assert next_epoch(store, "main") == 0
    lived(store, ended_well=True)
    assert next_epoch(store, "main") == 8
    assert next_epoch(store, "other") == 0
    for part in store.parts(SEGMENTS):
        store.path(part).unlink()
    assert next_epoch(store, "main") == 8


def test_life_that_broke_off(store):
    """A life that wrote no end was last heard of with its last row; another venue never was."""
    run = lived(store, ended_well=False)
    assert last_word(store, "main", Venue.KALSHI) == run.now
    assert last_word(store, "main", Venue.POLYMARKET) is None
    assert last_word(store, "other", Venue.KALSHI) is None


def test_life_that_ended_well(store):
    """A life that was stopped has its end in the gaps: nothing is added to it."""
    lived(store, ended_well=True)
    assert store.scan(GAPS).collect()["reason"].to_list() == ["feed_ended"]
    assert last_word(store, "main", Venue.KALSHI) is None


def test_known_markets_make_no_rows_again(store):
    """What the lake holds of a market is no news to the next life; what changed is."""
    page = frame("polymarket/gamma_keyset")
    first = Feed(Wire.GAMMA).send(page).finish()
    for segment in first.sealed:
        publish(store, segment, "main")
    second = Feed(Wire.GAMMA)
    remember(store, MARKETS, second.pipeline.markets)
    second.send(page)
    assert first.pipeline.counts.rows["markets"] > 0
    assert second.pipeline.counts.rows["markets"] == 0
    second.send(page.replace(b'"question":"', b'"question":"New: '))
    assert second.pipeline.counts.rows["markets"] == first.pipeline.counts.rows["markets"]


def test_markets_that_were_only_shown_are_news(store):
    """A killed life's rows that are not published may not come again: the next life writes them itself."""
    page = frame("polymarket/gamma_keyset")
    killed = Feed(Wire.GAMMA).send(page).finish()
    hot = Hot(store.local, Life("main", 7))
    for (table, venue), rows in frames_of(killed.sealed[0]).items():
        hot.append(table, venue, killed.sealed[0].first_seq, day_of(START), rows)
    assert store.scan(MARKETS).collect().height == killed.pipeline.counts.rows["markets"] > 0
    after = Feed(Wire.GAMMA)
    remember(store, MARKETS, after.pipeline.markets)
    after.send(page)
    assert after.pipeline.counts.rows["markets"] == killed.pipeline.counts.rows["markets"]


def test_published_twice_is_there_once(store):
    """A segment that is published again, as after a failure half-way, adds nothing."""
    run = Feed(Wire.KALSHI_SOCKET).named("kalshi/ticker").finish()
    added = [publish(store, run.sealed[0], "main") for _ in range(2)]
    assert added[0] > 0 and added[1] == 0
    assert store.scan(QUOTES).collect().height == 1


def life(store: Store, epoch: int, *, absent: int, at: float | None) -> None:
    """A life that is killed: it starts with the gap of its absence, and may hear of a Kalshi book at `at`."""
    run = Feed(Wire.KALSHI_SOCKET)
    run.pipeline.absent(Venue.KALSHI, START + absent * SECOND, START + 100 * SECOND, epoch << 40)
    if at is not None:
        payload = frame("kalshi/snapshot")
        run.pipeline.feed(Frame((epoch << 40) + 1, "c", START + round(at * SECOND), payload, run.wire))
    run.pipeline.tick(START + 500 * SECOND, 0)
    publish(store, run.sealed[0], "main")


@pytest.mark.parametrize(("at", "last"), [(101, 101), (None, 100)])
def test_life_that_broke_off_at_once(store, at, last):
    """The gap with which a life starts is no word of its end: lives that are killed one after the other lose none."""
    life(store, 8, absent=5, at=at)
    assert last_word(store, "main", Venue.KALSHI) == START + last * SECOND
