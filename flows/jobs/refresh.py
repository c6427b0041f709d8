"""The minute's work: raw rows that came in since the last time become bars and a board of movers.

The watermark is the last `seq` of every collector's life whose rows are in, and the instant up to which they were in.
What is computed again is what new rows touch (`flows.jobs.blocks`), so the cost follows them and not the history, and
the result is that of computing everything anew.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

import polars as pl

from flows.jobs.blocks import NEEDED, Keys, Restatement, Source
from flows.jobs.board import summed_board
from lake import layout, ledger
from lake.clock import from_us, to_us
from lake.covers import Ranges, coalesced
from lake.derived.blocks import BLOCK, plan
from lake.derived.slices import WINDOWS
from lake.layout import SeqRange
from lake.reading import BARS_JOB, BOARD, LISTS, computed_board
from lake.schema import BAR_INTERVALS, BARS, BLOCKS, CARRIES, MOVERS
from lake.store import Store

JOB: Final = BARS_JOB
UNTIL: Final = "until"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BarsReport:
    """What a refresh of the bars did."""

    segments: int  # new ones
    markets: int  # computed again
    bars: dict[str, int] = field(default_factory=dict)  # interval to bars written
    since: datetime | None = None  # the earliest new row


def refresh_bars(store: Store, *, until: datetime | None = None, anew: bool = False) -> BarsReport:
    """Bring blocks and bars up to date; `anew` forgets what is there and computes all of it.

    Rows of a feed that goes on are in up to `until`, and bars covered no further; None = the feed has ended.
    """
    marks = {} if anew else store.watermark(JOB)
    if not marks:
        _forget(store)
    new = [span for span in ledger.sealed(store) if span.last > marks.get(_life(span), -1)]
    before = from_us(marks[UNTIL]) if UNTIL in marks else None
    if not new and before == until:
        return BarsReport(0, 0)
    segments = coalesced(new)
    markets, written = 0, dict.fromkeys(BAR_INTERVALS, 0)
    earliest: list[datetime] = []
    for venue in _venues(store):
        work = Restatement(Source(store, venue), until)
        touched = _touched(work.source, segments)
        for start, keys in _by_block(touched):
            work.add(start, keys)
        for start in work.source.blocks_from(before) if before is not None else ():
            work.add(start, None)
        work.run()
        markets += touched["market_key"].n_unique()
        earliest += touched["since"].to_list()
        for interval, count in work.written.items():
            written[interval] += count
    for span in new:
        marks[_life(span)] = max(span.last, marks.get(_life(span), -1))
    store.set_watermark(JOB, {**marks, UNTIL: to_us(until)} if until else marks)
    return BarsReport(len(new), markets, written, min(earliest, default=None))


def restate(store: Store, touched: Mapping[str, Collection[datetime]]) -> None:
    """Compute these blocks of each venue again, and the bars that are made of them, as after their rows were changed.

    A lake without blocks is left to its first refresh. Boards of former instants stay as they were published.
    """
    marks = store.watermark(JOB)
    until = from_us(marks[UNTIL]) if UNTIL in marks else None
    for venue, starts in touched.items() if marks else ():
        work = Restatement(Source(store, venue), until)
        for start in starts:
            work.add(start, None)
        work.run()


@dataclass(frozen=True, slots=True)
class BoardReport:
    """What a board of movers holds."""

    as_of: datetime
    rows: int
    listed: dict[str, int]  # window to markets that a list shows


def refresh_board(store: Store, as_of: datetime, windows: Mapping[str, timedelta] = WINDOWS) -> BoardReport:
    """Score every market over each window as of that instant, and publish the board, a file a venue.

    From blocks, if they are up to date as of then; else from raw rows.
    """
    is_summed = _are_blocks_ready(store, as_of, windows)
    found = summed_board(store, _venues(store), windows, as_of) if is_summed else computed_board(store, windows, as_of)
    return _publish_board(store, as_of, found)


def boards_since(store: Store, since: datetime) -> list[datetime]:
    """The instants of whole published boards that rows from `since` on may have changed, in order."""
    instants = {_instant(part) for part in _whole_boards(store)}
    return sorted(instant for instant in instants if instant >= since)


LISTED: Final = 200
"""How many rows of each window and list are kept of a board that is no longer the newest hour's."""


class Step(Protocol):
    """Runs one step of the refresh under its name."""

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """What `work` returns."""


def plainly(name: str, work: Callable[[], T]) -> T:
    """Just call it."""
    return work()


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """What one refresh did."""

    bars: BarsReport
    board: BoardReport

    @property
    def as_of(self) -> datetime:
        """Of when it is."""
        return self.board.as_of

    def __str__(self) -> str:
        return (
            f"{self.bars.segments:,} new segments, bars of {self.bars.markets:,} markets, "
            f"{sum(self.board.listed.values()):,} rows listed as of {self.as_of:%H:%M:%S}"
        )


def refresh(store: Store, now: datetime, step: Step = plainly) -> RefreshReport:
    """Bars up to `now`, a board as of `now`, and former boards cut to their lists.

    Done twice it changes nothing; killed at any moment, the next one makes up for it. Raises `LakeError`.
    """
    bars = step("bars", lambda: store.again(lambda: refresh_bars(store, until=now)))
    board = step("board", lambda: store.again(lambda: refresh_board(store, now)))
    step("former-boards", lambda: trim_boards(store, now))
    return RefreshReport(bars, board)


def trim_boards(store: Store, now: datetime) -> int:
    """Put the lists of the boards of each hour that is over into one file, and remove the boards; how many.

    A board of an instant after `now`, of a clock that was ahead, would be taken for the newest: it goes.
    """
    groups: dict[tuple[str, datetime], list[layout.Part]] = {}
    for part in _whole_boards(store):
        if _instant(part) > now:
            store.remove(part)
            continue
        hour = _hour(_instant(part))
        if hour < _hour(now):
            groups.setdefault((part.partition["venue"], hour), []).append(part)
    for (venue, start), parts in groups.items():
        _keep_lists(store, layout.part(MOVERS, f"{LISTS}{start:%H}", venue=venue, date=start.date()), parts)
    return sum(map(len, groups.values()))


def _keep_lists(store: Store, kept: layout.Part, boards: list[layout.Part]) -> None:
    """Add the lists of these boards to the file `kept`, then remove the boards."""
    is_listed = pl.any_horizontal(pl.col(name) <= LISTED for name in ("biggest_rank", "classic_rank")).fill_null(False)
    there = [kept] if store.exists(kept) else []
    rows = pl.concat([*map(store.load, there), *(store.load(part).filter(is_listed) for part in boards)])
    store.replace(kept, rows.unique(MOVERS.key, keep="last").sort("as_of", *MOVERS.order))
    for part in boards:
        store.remove(part)


def _publish_board(store: Store, as_of: datetime, found: pl.DataFrame) -> BoardReport:
    for venue in found["venue"].unique().sort():
        part = layout.part(MOVERS, f"{BOARD}{to_us(as_of)}", venue=venue, date=as_of.date())
        store.replace(part, found.filter(pl.col("venue") == venue).select(*MOVERS.columns))
    is_listed = pl.col("biggest_rank").is_not_null() | pl.col("classic_rank").is_not_null()
    listed = found.group_by("window").agg(is_listed.sum())
    return BoardReport(as_of, found.height, dict(listed.iter_rows()))


def _hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def _whole_boards(store: Store) -> list[layout.Part]:
    return [part for part in store.parts(MOVERS) if part.name.startswith(BOARD)]


def _instant(part: layout.Part) -> datetime:
    return from_us(int(part.name.removeprefix(BOARD)))


def _are_blocks_ready(store: Store, as_of: datetime, windows: Mapping[str, timedelta]) -> bool:
    """Whether the blocks that a board of `as_of` adds up are there, and had ended.

    While a feed goes on, segments are sealed all the time: what they bring of older blocks is in the next board.
    """
    marks = store.watermark(JOB)
    if UNTIL in marks:
        return plan(as_of, windows)[-1].start <= from_us(marks[UNTIL])
    return all(span.last <= marks.get(_life(span), -1) for span in ledger.sealed(store))


def _life(span: SeqRange) -> str:
    return f"{span.collector}-{span.epoch}"


def _forget(store: Store) -> None:
    """Remove what is derived here, so that nothing of a former layout or of former rules stays; the bars come again."""
    if store.watermark(JOB):
        store.set_watermark(JOB, {})
    for table in (CARRIES, BLOCKS, BARS):
        for part in store.parts(table):
            store.remove(part)


def _venues(store: Store) -> list[str]:
    return sorted({part.partition["venue"] for table in NEEDED for part in store.parts(table)})


def _touched(source: Source, segments: Ranges) -> pl.DataFrame:
    """Blocks and markets with a row in these segments: bar_start, market_key (null = all of them), since."""
    found = pl.concat([source.of_segments(table, segments) for table in NEEDED])
    return (
        found.group_by(pl.col("time").dt.truncate(BLOCK).alias("bar_start"), "market_key")
        .agg(since=pl.col("time").min())
        .collect()
    )


def _by_block(touched: pl.DataFrame) -> Iterator[tuple[datetime, Keys]]:
    for (start,), rows in touched.group_by("bar_start"):
        assert isinstance(start, datetime)
        keys = rows["market_key"]
        yield start, None if keys.has_nulls() else frozenset(keys.to_list())
