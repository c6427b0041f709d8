"""One look at the lake for all sessions: a thread that reads only what is new, and tells who listens.

Every quarter of a second it compares the lake's marks, which costs a few file lookups. When a segment or a board was
published it reads: the rows of the new segments, the newest board, how the connections do; and every second the rows
that are not published yet. What the sessions get is one `Snapshot`, the same object for all of them.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import polars as pl

from lake.errors import LakeMissing, LakeUnreachable, MoversError, QueryError
from lake.place import Bucket, Place
from lake.query import Counts, Lake, Marks, News
from lake.schema import GAPS, MARKETS, MOVERS, QUOTES, SEQ_BITS, TRADES, Table
from lake.vocab import Mode

log = logging.getLogger("movers.app")

PAUSE: Final = 0.25  # seconds between two looks
FRESH: Final = timedelta(seconds=1)  # between two looks at what is not published yet
BUCKET_PAUSE: Final = 2.0  # the same in an object store, where a look is some ten requests that are paid for
BEAT: Final = timedelta(seconds=5)  # the longest time without a word to the sessions: states grow old by themselves
AGES: Final = {
    "status": timedelta(seconds=2),
    "counts": timedelta(seconds=10),
    "catalogue": timedelta(seconds=30),
}
"""How old each figure may grow before it is read anew."""

KEPT: Final = timedelta(minutes=15)  # of ticks in memory
MOST_TICKS: Final = 400_000
_Answer = TypeVar("_Answer")
_Arguments = ParamSpec("_Arguments")

NO_LAKE: Final = "there is no lake yet"

FACTS: Final = ("title", "market_id", "category", "close_time", "status")


_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


def _none(table: Table) -> pl.DataFrame:
    return table.empty().drop("date").collect()


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What the pages show. Frames are never changed, only replaced."""

    number: int  # rises with every change
    now: datetime  # of a recorded lake the instant of its newest row: it answers as it did on that day
    root: Place
    mode: str | None = None  # the lake's name; None = no lake
    problem: str | None = None  # why there is nothing to read, in one line
    latest: datetime | None = None  # received_time of the newest quote or trade
    boards: Mapping[str, pl.DataFrame] = field(default_factory=dict)  # window to rows of `Lake.board` with FACTS
    status: pl.DataFrame = field(default_factory=pl.DataFrame)  # `Lake.status`
    counts: Counts | None = None
    counted: datetime | None = None
    catalogue: pl.DataFrame = field(default_factory=lambda: _none(MARKETS))
    quotes: pl.DataFrame = field(default_factory=lambda: _none(QUOTES))  # the newest, of all markets
    trades: pl.DataFrame = field(default_factory=lambda: _none(TRADES))
    gaps: pl.DataFrame = field(default_factory=lambda: _none(GAPS))
    _made: dict[Hashable, Any] = field(
        default_factory=dict, init=False, repr=False
    )  # by `once`, gone with the snapshot

    @property
    def is_live(self) -> bool:
        """Whether time goes on in this lake."""
        return self.mode != Mode.REPLAY.lake


def once(
    make: Callable[Concatenate[Snapshot, _Arguments], _Answer],
) -> Callable[Concatenate[Snapshot, _Arguments], _Answer]:
    """What is made of a snapshot, made once for all sessions; it lasts as long as the snapshot does."""

    @wraps(make)
    def made(snapshot: Snapshot, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        key = (make, args, tuple(kwargs.items()))
        if key not in snapshot._made:
            snapshot._made[key] = make(snapshot, *args, **kwargs)
        answer: _Answer = snapshot._made[key]
        return answer

    return made


class Listener:
    """A session's ear: `tell` is called in the feed's thread with each snapshot; hidden pages are not told."""

    def __init__(self, tell: Callable[[Snapshot], None]) -> None:
        self.tell = tell
        self.is_hidden = False


class Feed:
    """The lake at `root`, looked at by one thread. `now` is the clock."""

    def __init__(self, root: Place, mode: Mode, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.mode, self._now = mode, now
        self.snapshot = Snapshot(0, now(), root)
        self._listeners: list[Listener] = []
        self._marks: Marks | None = None
        self._known: frozenset[str] = frozenset()
        self._newest: dict[tuple[str, int], int] = {}  # table and epoch to the newest `seq` that was seen unpublished
        self._told = _LONG_AGO
        self._read: dict[str, datetime] = {}  # figure to when it was read
        self._stale: set[str] = set()  # figures that may have changed since
        self._raw_board = _none(MOVERS)
        self._lock = threading.Lock()
        self._stop = threading.Event()

    @property
    def lake(self) -> Lake:
        """The lake as it is now. Raises `LakeMissing`, `LakeMismatch`."""
        return Lake.open(self.snapshot.root, self.mode)

    def start(self) -> threading.Thread:
        """Look until `stop`."""
        thread = threading.Thread(target=self._run, name="feed", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        self._stop.set()

    def listen(self, tell: Callable[[Snapshot], None]) -> Listener:
        """Be told of every snapshot from now on; ends with `leave`."""
        listener = Listener(tell)
        with self._lock:
            self._listeners.append(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def look(self) -> bool:
        """Look once; whether there is something new, of which all listeners were told."""
        before = self.snapshot
        try:
            after = self._seen(before)
        except LakeMissing:
            after = self._none(NO_LAKE)
        except LakeUnreachable as exc:
            if before.latest is not None:  # what was seen stays, and grows old
                return False
            after = self._none(str(exc))
        except MoversError as exc:
            after = self._none(str(exc))
        except (pl.exceptions.PolarsError, OSError) as exc:
            # A file that went while it was read, as when the lake is replaced: the next look finds what is there.
            log.debug("look broken off: %s", exc)
            self._marks = None
            return False
        is_due = self._now() - self._told >= BEAT
        if after is before and not is_due:
            return False
        self.snapshot = replace(after, number=before.number + 1, now=self._time(after))
        self._told = self._now()
        self._tell()
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except Exception:
                log.exception("the feed's look failed; the next one is in a second")
                self._stop.wait(1)
            self._stop.wait(BUCKET_PAUSE if isinstance(self.snapshot.root, Bucket) else PAUSE)

    def _tell(self) -> None:
        with self._lock:
            listeners = [listener for listener in self._listeners if not listener.is_hidden]
        for listener in listeners:
            try:
                listener.tell(self.snapshot)
            except Exception:
                log.exception("a session could not be told")

    def _time(self, snapshot: Snapshot) -> datetime:
        return self._now() if snapshot.is_live or snapshot.latest is None else snapshot.latest

    def _forget(self) -> None:
        """What was seen belongs to a lake that is no longer there."""
        self._marks, self._known, self._newest = None, frozenset(), {}
        self._read, self._stale = {}, set()
        self._raw_board = _none(MOVERS)

    def _none(self, problem: str) -> Snapshot:
        """The snapshot of a lake that cannot be read, the same one while it is for the same reason."""
        old = self.snapshot
        if old.problem == problem:
            return old
        self._forget()
        return Snapshot(old.number, old.now, old.root, problem=problem)

    def _seen(self, before: Snapshot) -> Snapshot:
        lake = self.lake
        marks = lake.marks()
        if self._marks is not None and marks.lake != self._marks.lake:
            self._forget()
            before = Snapshot(before.number, before.now, before.root)
        old, self._marks = self._marks, marks
        after = before if before.mode == lake.store.mode else replace(before, mode=lake.store.mode, problem=None)
        if old is None or marks.segments != old.segments:
            after = self._with_news(after, lake.news(self._known))
            self._stale |= set(AGES) if self._known else set()
        if self._now() - self._read.get("fresh", _LONG_AGO) >= FRESH:
            self._read["fresh"] = self._now()
            after = self._with_ticks(after, *map(self._unseen, (QUOTES, TRADES), lake.fresh()))
        if old is None or marks.boards != old.boards:
            self._raw_board = lake.board()
            if self._has_strangers(after):
                self._read.pop("catalogue", None)
                self._stale.add("catalogue")
        after = self._with_figures(after, lake)
        is_told_anew = after.catalogue is not before.catalogue or after.mode != before.mode
        return self._with_boards(after) if old is None or marks.boards != old.boards or is_told_anew else after

    def _with_news(self, snapshot: Snapshot, news: News) -> Snapshot:
        """The ticks of the new segments behind those in memory."""
        self._known = news.segments
        new = (
            rows.join(there, on=["market_key", "seq"], how="anti")
            for rows, there in ((news.quotes, snapshot.quotes), (news.trades, snapshot.trades))
        )
        gaps = pl.concat([snapshot.gaps, news.gaps]).tail(10_000)
        return replace(self._with_ticks(snapshot, *new), gaps=gaps)

    def _unseen(self, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
        """Of unpublished rows those that came since the last look."""
        if rows.is_empty():
            return rows
        parts = []
        for (epoch,), its in rows.group_by(pl.col("seq") // (1 << SEQ_BITS)):
            place = (table.name, int(str(epoch)))
            parts.append(its.filter(pl.col("seq") > self._newest.get(place, -1)))
            self._newest[place] = int(its["seq"].max())  # type: ignore[arg-type]
        return pl.concat(parts)

    @staticmethod
    def _with_ticks(snapshot: Snapshot, quotes: pl.DataFrame, trades: pl.DataFrame) -> Snapshot:
        """These behind those in memory; the same snapshot if there are none."""
        if quotes.is_empty() and trades.is_empty():
            return snapshot
        quotes, trades = _joined(snapshot.quotes, quotes), _joined(snapshot.trades, trades)
        times: list[datetime] = [newest_time(frame) for frame in (quotes, trades) if frame.height]
        return replace(snapshot, quotes=quotes, trades=trades, latest=max(times, default=snapshot.latest))

    def _with_figures(self, snapshot: Snapshot, lake: Lake) -> Snapshot:
        """Status, counts and catalogue: each anew if segments came in since it was read, and not too often."""
        if self._is_due("status"):
            snapshot = replace(snapshot, status=_asked(lake.status, snapshot.status))
        if self._is_due("counts"):
            counts = _asked(lake.counts, snapshot.counts)
            snapshot = replace(snapshot, counts=counts, counted=self._time(snapshot))
        if self._is_due("catalogue"):
            snapshot = replace(snapshot, catalogue=lake.catalogue())
        return snapshot

    def _is_due(self, figure: str) -> bool:
        now = self._now()
        if figure not in self._stale or now - self._read.get(figure, _LONG_AGO) < AGES[figure]:
            return False
        self._stale.discard(figure)
        self._read[figure] = now
        return True

    def _has_strangers(self, snapshot: Snapshot) -> bool:
        """Whether the board lists a market that the catalogue did not tell of when it was read."""
        listed = self._raw_board.filter(pl.col("biggest_rank").is_not_null() | pl.col("classic_rank").is_not_null())
        return bool((~listed["market_key"].is_in(snapshot.catalogue["market_key"].implode())).any())

    def _with_boards(self, snapshot: Snapshot) -> Snapshot:
        """The newest board by window, with what is known of each market."""
        told = self._raw_board.join(snapshot.catalogue.select("market_key", *FACTS), on="market_key", how="left")
        title = pl.coalesce("title", "market_id", pl.col("market_key").cast(pl.String))
        parts = told.with_columns(title=title).partition_by("window", as_dict=True)
        return replace(snapshot, boards={str(window): board for (window,), board in parts.items()})


def _asked(ask: Callable[[], _Answer], before: _Answer) -> _Answer:
    """The answer, or the one before where the lake holds nothing to answer with."""
    try:
        return ask()
    except QueryError:
        return before


def newest_time(ticks: pl.DataFrame) -> datetime:
    """The largest received_time of some ticks."""
    found: datetime = ticks["received_time"].max()  # type: ignore[assignment]
    return found


def _joined(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """Both, the newest `KEPT` of them by received_time, `MOST_TICKS` at most."""
    if new.is_empty():
        return old
    both = pl.concat([old, new]).sort("received_time", "seq").tail(MOST_TICKS)
    return both.filter(pl.col("received_time") >= pl.col("received_time").max() - KEPT)
