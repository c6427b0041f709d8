"""A replay: the collector's path over recorded frames, whole, repeatable, and at any pace."""

from pathlib import Path

import polars as pl
import pytest

from flows.collector import replay as module
from flows.collector.recordings import Recording, find
from flows.collector.replay import ReplayReport, replay
from flows.jobs.refresh import refresh_bars
from lake.errors import LakeError, RecordingError
from lake.schema import BARS, DEAD_LETTERS, FEED_HEALTH, GAPS, MARKETS, QUOTES, SEGMENTS, TABLES, TRADES
from lake.store import Store
from lake.vocab import Gap, Mode
from tests.flows.collector.test_recordings import payload_lines
from tests.flows.feed import START
from tests.frames import make_session

NAMES = ("kalshi/lifecycle_created", "kalshi/snapshot", "kalshi/delta", "kalshi/trade", "kalshi/ticker", "kalshi/error")


def store(folder: Path) -> Store:
    return Store.create(folder, Mode.REPLAY)


def recording(path: Path) -> Recording:
    return find(path)[0][0]


def small(folder: Path, name: str = "day", *, step: int = 20_000, names: tuple[str, ...] = NAMES) -> Recording:
    """A recording of a few frames over some segments."""
    return recording(payload_lines(folder / f"{name}.jsonl", *names, step=step))


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a lake: its bytes and its time of change."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {name: text for name, (text, _) in tree(folder).items()}


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, ReplayReport]]:
    """Our own two sessions in one lake."""
    lake = store(tmp_path_factory.mktemp("sessions") / "lake")
    return lake, {one.name: replay(one, lake) for one in find(make_session.FOLDER)[0]}


def test_same_recording_twice_adds_nothing(tmp_path):
    """The same recording again adds no row and touches no file, not even its time of change."""
    lake = store(tmp_path / "lake")
    first = replay(small(tmp_path), lake)
    before = tree(lake.root)
    again = replay(small(tmp_path, "copy"), lake)
    assert first.added > 0
    assert again.added == 0
    assert tree(lake.root) == before
    assert again.counts == first.counts
    assert again.epoch == first.epoch


@pytest.mark.parametrize("step", ["before a segment", "between a segment's files", "before its line in segments"])
@pytest.mark.parametrize("whole", [0, 1])
def test_broken_off_and_repeated(tmp_path, monkeypatch, step, whole):
    """A replay that was killed after some segments, at any point of the next, and repeated gives the same lake."""
    expected = store(tmp_path / "expected")
    replay(small(tmp_path), expected)

    lake, publish, calls = store(tmp_path / "lake"), Store._publish, [0]
    per_segment = [len(parts) for parts in _by_segment(expected).values()]
    extra = {
        "before a segment": 0,
        "between a segment's files": 1,
        "before its line in segments": per_segment[whole] - 1,
    }
    allowed = sum(per_segment[:whole]) + extra[step]

    def killed(self, part, frame):
        calls[0] += 1
        if calls[0] > allowed:
            raise KeyboardInterrupt
        return publish(self, part, frame)

    monkeypatch.setattr(Store, "_publish", killed)
    with pytest.raises(KeyboardInterrupt):
        replay(small(tmp_path), lake)
    monkeypatch.undo()
    assert len(contents(lake.root)) == allowed + 1
    replay(small(tmp_path), lake)
    assert contents(lake.root) == contents(expected.root)


def _by_segment(lake: Store) -> dict[str, list[str]]:
    """Files by segment, in the order of the segments."""
    found: dict[str, list[str]] = {}
    for table in TABLES.values():
        for part in lake.parts(table):
            found.setdefault(part.name, []).append(str(part.path))
    return dict(sorted(found.items()))


def test_damaged_recording_leaves_the_lake_untouched(tmp_path):
    """A recording that is damaged at its end is refused by one clear error before anything is written."""
    lake = store(tmp_path / "lake")
    replay(small(tmp_path), lake)
    before = tree(lake.root)
    path = payload_lines(tmp_path / "bad.jsonl.gz", *NAMES * 20, step=5_000)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(RecordingError, match=r"bad\.jsonl\.gz"):
        replay(recording(path), lake)
    assert tree(lake.root) == before


def test_colliding_epochs(tmp_path, monkeypatch):
    """Recordings whose digests fall on one epoch get different ones, each its own for ever; a full lake says so."""
    monkeypatch.setattr(module, "EPOCHS", 2)
    lake = store(tmp_path / "lake")
    first = replay(small(tmp_path, "a"), lake)
    second = replay(small(tmp_path, "b", names=NAMES[:-1]), lake)
    assert {first.epoch, second.epoch} == {0, 1}
    before = tree(lake.root)
    assert replay(small(tmp_path, "a"), lake).epoch == first.epoch
    assert replay(small(tmp_path, "b", names=NAMES[:-1]), lake).epoch == second.epoch
    with pytest.raises(LakeError, match="replay into another folder"):
        replay(small(tmp_path, "c", names=NAMES[:-2]), lake)
    assert tree(lake.root) == before


def test_recorded_times_stay(tmp_path):
    """Received times are the recorder's and event times the venue's, whenever the replay runs."""
    lake = store(tmp_path / "lake")
    report = replay(small(tmp_path), lake)
    received = lake.scan(QUOTES).collect()["received_time"].sort().dt.timestamp("us").to_list()
    assert received == [START + 20_000_000, START + 40_000_000]
    assert lake.scan(TRADES).collect()["event_time"].dt.timestamp("us").to_list() == [START + 1_500_000]
    assert report.first.timestamp() == START / 1e6
    assert report.last.timestamp() == START / 1e6 + 100


class Clock:
    """A clock that moves only when it is slept on."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@pytest.mark.parametrize("speed", [1.0, 60.0, 0.5])
def test_pace(tmp_path, speed):
    """At a speed of n the replay takes an n-th of the recorded time, frame by frame."""
    clock = Clock()
    report = replay(small(tmp_path), store(tmp_path / "lake"), speed=speed, sleep=clock.sleep, timer=lambda: clock.now)
    assert clock.naps == pytest.approx([20 / speed] * 5)
    assert report.seconds == pytest.approx(100 / speed)


def test_pace_after_a_delay(tmp_path):
    """A replay that fell behind does not sleep until it has caught up."""
    clock = Clock()

    def late() -> float:
        clock.now += 15
        return clock.now

    replay(small(tmp_path), store(tmp_path / "lake"), speed=1.0, sleep=clock.sleep, timer=late)
    assert sum(clock.naps) < 40


def test_as_fast_as_it_goes(tmp_path):
    """Without a speed nothing is slept on."""
    clock = Clock()
    replay(small(tmp_path), store(tmp_path / "lake"), sleep=clock.sleep)
    assert clock.naps == []


def test_progress(tmp_path):
    """Progress ends with all frames of all frames."""
    words: list[tuple[int, int]] = []
    one = small(tmp_path, names=NAMES * 200, step=10)
    replay(one, store(tmp_path / "lake"), progress=lambda done, total: words.append((done, total)))
    assert words == [(500, 1200), (1000, 1200), (1200, 1200)]


def test_segments_say_what_must_exist(tmp_path):
    """Contiguous ranges, and the rows of each file, are written down for every segment."""
    lake = store(tmp_path / "lake")
    report = replay(small(tmp_path), lake)
    lines = lake.scan(SEGMENTS).collect()
    spans = lines.select("first_seq", "last_seq", "frames").unique().sort("first_seq").rows()
    assert [last - first + 1 for first, last, _ in spans] == [frames for _, _, frames in spans]
    assert [first for first, _, _ in spans[1:]] == [last + 1 for _, last, _ in spans[:-1]]
    for table in (QUOTES, TRADES, MARKETS, GAPS, FEED_HEALTH):
        said = lines.filter(pl.col("table") == table.name)["rows"].sum()
        assert said == lake.scan(table).collect().height == report.counts.rows[table.name]
    assert report.added == lines["rows"].sum()


def test_lake_holds_every_message(sessions):
    """Our own sessions: messages add up, and the health of every minute adds up to them."""
    lake, reports = sessions
    health = lake.scan(FEED_HEALTH).collect()
    for name, report in reports.items():
        mine = health.filter(pl.col("venue") == name)
        assert report.counts.frames == len(make_session.SESSIONS[name]()) + 1  # and the last word
        assert (
            mine["messages"].sum()
            == report.counts.messages
            == mine.select("applied", "ignored", "duplicate", "dead").sum_horizontal().sum()
        )
        assert report.counts.outcomes["dead"] == report.counts.outcomes["duplicate"] == 1
        assert report.counts.ignored["unknown:harbour_notice"] == 1
    assert lake.scan(DEAD_LETTERS).collect().height == 2


def test_quotes_of_a_lake(sessions):
    """Our own sessions: no quote is crossed or outside 0..1, a market has one a frame, and seq rises with receipt."""
    quotes = sessions[0].scan(QUOTES).collect()
    assert (quotes["bid"] < quotes["ask"]).drop_nulls().all()
    assert pl.concat([quotes["bid"], quotes["ask"]]).drop_nulls().is_between(0, 1).all()
    assert not quotes.select("market_key", "seq").is_duplicated().any()
    steps = quotes.sort("venue", "seq").select(pl.col("received_time").diff().over("venue").dt.total_milliseconds())
    assert steps.to_series().min() >= 0
    top = pl.struct("bid", "ask", "bid_size", "ask_size")
    same = quotes.sort("market_key", "seq").filter((top == top.shift(1).over("market_key")).fill_null(False))
    assert same.height <= 4  # a hole's first good state is written though it may be as before


def test_hole_of_a_session(sessions):
    """Our own Kalshi session: its one hole is a gap of every market with a book, a few seconds long."""
    gaps = sessions[0].scan(GAPS).filter(pl.col("reason") == Gap.SEQUENCE_HOLE).collect()
    assert gaps.height == 4
    spans = (gaps["end_time"] - gaps["start_time"]).dt.total_milliseconds()
    assert spans.is_between(1_000, 20_000).all()


def test_what_the_sessions_show(sessions):
    """Our own sessions: the two markets that moved stand far above all others over the hours."""
    lake, _ = sessions
    refresh_bars(lake)
    bars = lake.scan(BARS).filter(pl.col("interval") == "1d").collect()
    names = (
        lake.scan(MARKETS)
        .sort("as_of", "seq")
        .group_by("market_key")
        .last()
        .select("market_key", "title", "result")
        .collect()
    )
    moves = bars.join(names, on="market_key").filter(pl.col("result").is_null())
    moves = moves.with_columns(move=(pl.col("close") - pl.col("open")).abs()).sort(
        "move", descending=True, nulls_last=True
    )
    assert moves["title"].to_list()[:2] == [make_session.POLYMARKET[0].title, make_session.KALSHI[0].title]
    assert moves["move"].to_list()[0] == pytest.approx(0.12)
    assert moves["move"].to_list()[1] == pytest.approx(0.09)
    assert moves["move"].drop_nulls().to_list()[2] < 0.03
    assert moves["trades"].to_list()[0] > 300
    wide = moves.filter(pl.col("title") == make_session.POLYMARKET[2].title)
    assert wide["bid_close"][0] == 0.21
    assert wide["ask_close"][0] == 0.55
