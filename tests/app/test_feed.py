"""One look for all sessions."""

import shutil
import weakref
from datetime import timedelta

import pytest

from app import feed as feeds
from app.feed import NO_LAKE, Feed, Snapshot
from lake.query import Lake
from lake.vocab import Mode
from tests.app.world import ALDER, World, key, move


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path / "lake")


def feed_of(world: World) -> Feed:
    return Feed(world.root, world.mode, lambda: world.now)


def test_first_look_reads_everything(world):
    """Boards with titles, status, counts, catalogue and the newest ticks."""
    feed = feed_of(world.usual())
    assert feed.look()
    found = feed.snapshot
    assert found.boards["15m"].sort("biggest_rank")["title"].to_list()[0] == "Will the Aldergate dam vote pass?"
    assert found.status["venue"].to_list() == ["kalshi", "polymarket"]
    assert (found.counts.quotes, found.counts.trades, found.catalogue.height) == (2, 1, 2)
    assert (found.mode, found.latest, found.quotes.height) == ("simulated", world.now, 2)


def test_nothing_new_is_not_read(world, monkeypatch):
    """Without a new file a look asks for the marks and nothing else."""
    feed = feed_of(world.usual())
    feed.look()
    for name in ("news", "board", "status", "counts", "catalogue"):
        monkeypatch.setattr(Lake, name, lambda *args: pytest.fail("was read"))
    before = feed.snapshot
    assert not feed.look()
    assert feed.snapshot is before


def test_new_segment_is_told_once(world):
    """Every listener gets the same snapshot, with the new quote in it."""
    feed = feed_of(world.usual())
    feed.look()
    heard: list[list[Snapshot]] = [[], []]
    for each in heard:
        feed.listen(each.append)
    world.now += timedelta(seconds=1)
    world.quote(bid=0.70, ask=0.72)
    assert feed.look()
    assert not feed.look()
    assert [len(each) for each in heard] == [1, 1]
    assert heard[0][0] is heard[1][0]
    assert heard[0][0].quotes.filter(market_key=key(ALDER))["bid"].to_list() == [0.66, 0.70]


def test_new_board_is_read(world):
    """A board that was published since stands in the next snapshot."""
    feed = feed_of(world.usual())
    feed.look()
    world.now += timedelta(minutes=1)
    world.board(move(now=0.75))
    assert feed.look()
    assert feed.snapshot.boards["15m"]["price_now"].to_list() == [0.75]
    assert feed.snapshot.boards["15m"]["as_of"].item(0) == world.now


def test_states_grow_old_by_themselves(world):
    """Where nothing comes in, sessions are told every few seconds all the same."""
    feed = feed_of(world.usual())
    feed.look()
    world.now += feeds.BEAT
    assert feed.look()
    assert feed.snapshot.now == world.now


def test_hidden_page_is_not_told(world):
    """A page in the background costs nothing, and one that left is forgotten."""
    feed, heard = feed_of(world.usual()), []
    listener = feed.listen(heard.append)
    listener.is_hidden = True
    feed.look()
    assert heard == []
    feed.leave(listener)
    feed.leave(listener)
    assert feed.listeners == 0


def test_one_broken_session_harms_no_other(world):
    """An error in telling one is logged, and the next one is told."""
    feed, heard = feed_of(world.usual()), []
    feed.listen(lambda snapshot: 1 / 0)
    feed.listen(heard.append)
    feed.look()
    assert len(heard) == 1


def test_lake_comes_and_goes(world):
    """No lake, an empty one, a filled one, none again, another one: each is told as it is."""
    feed = feed_of(world)
    feed.look()
    assert (feed.snapshot.problem, feed.snapshot.mode) == (NO_LAKE, None)
    assert not feed.look()
    assert world.store
    feed.look()
    assert (feed.snapshot.problem, feed.snapshot.mode, feed.snapshot.latest) == (None, "simulated", None)
    world.usual()
    feed.look()
    assert feed.snapshot.latest == world.now
    shutil.rmtree(world.root)
    feed.look()
    assert (feed.snapshot.problem, feed.snapshot.boards) == (NO_LAKE, {})
    World(world.root).markets(ALDER)
    feed.look()
    assert (feed.snapshot.problem, feed.snapshot.catalogue.height, feed.snapshot.quotes.height) == (None, 1, 0)


def test_replaced_lake_leaves_nothing_behind(world, tmp_path):
    """Another lake in the same place between two looks: no row of the old one stays."""
    feed = feed_of(world.usual())
    feed.look()
    other = World(tmp_path / "other", collector="d")
    other.markets("kalshi:KXNEW")
    other.quote("kalshi:KXNEW")
    world.root.rename(tmp_path / "old")
    other.root.rename(world.root)
    feed.look()
    assert feed.snapshot.quotes["market_key"].to_list() == [key("kalshi:KXNEW")]
    assert feed.snapshot.catalogue["market_id"].to_list() == ["kalshi:KXNEW"]
    assert feed.snapshot.boards == {}


def test_lake_of_another_mode_is_a_problem_in_words(world):
    """The line of the error is shown, and no traceback."""
    feed = Feed(World(world.root, Mode.REPLAY).usual().root, Mode.LIVE, lambda: world.now)
    feed.look()
    assert "'replay' data, not 'live'" in feed.snapshot.problem


def test_damaged_file_is_a_problem_in_words(world):
    """A cut file is named; when it is gone, the next look reads on."""
    feed = feed_of(world.usual())
    (bad,) = (world.root / "trades").rglob("*.parquet")
    whole = bad.read_bytes()
    bad.write_bytes(whole[:40])
    feed.look()
    assert "is damaged" in feed.snapshot.problem
    bad.write_bytes(whole)
    feed.look()
    assert (feed.snapshot.problem, feed.snapshot.trades.height) == (None, 1)


def test_recorded_lake_answers_as_on_that_day(world):
    """In a replay now is the newest row, so ages are those of that day."""
    replay = World(world.root, Mode.REPLAY).usual()
    feed = Feed(replay.root, Mode.REPLAY, lambda: replay.now + timedelta(days=60))
    feed.look()
    assert feed.snapshot.now == replay.now
    assert not feed.snapshot.is_live


def test_made_once_for_all_sessions(world):
    """What is made of a snapshot is made once, and anew of the next one; the old one is not held."""
    feed, calls = feed_of(world.usual()), []
    made = feeds.once(lambda snapshot, word: calls.append(word) or word)
    feed.look()
    assert [made(feed.snapshot, word) for word in ("a", "a", "b")] == ["a", "a", "b"]
    assert calls == ["a", "b"]
    old = weakref.ref(feed.snapshot.quotes)
    world.quote()
    feed.look()
    assert made(feed.snapshot, "a") == "a"
    assert calls == ["a", "b", "a"]
    assert old() is None


def test_memory_of_ticks_is_bounded(world, monkeypatch):
    """Ticks older than a quarter of an hour are dropped."""
    feed = feed_of(world.usual())
    feed.look()
    world.now += timedelta(minutes=20)
    world.quote()
    feed.look()
    assert feed.snapshot.quotes["received_time"].to_list() == [world.now]
