"""A frame becomes rows: parsed, applied to the books, counted, gathered into segments.

The same path live and in replay. Nothing here waits, reads a clock or touches a disk: a closed
segment is handed to `seal`. A segment closes when a frame arrives that no longer belongs to it: after
60 s, at a UTC hour's edge, or at 16 MiB once it is 10 s old, all by the frames' own received times.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flows.collector.books import Book, Books
from flows.collector.gaps import Gaps
from flows.collector.health import Health, Minute
from flows.collector.versions import Versions
from flows.venues.base import (
    Adapter,
    Change,
    EventUpdate,
    Forget,
    Frame,
    Hole,
    MarketUpdate,
    Message,
    Opened,
    Outcome,
    Reset,
    Stats,
    Top,
    Trade,
    is_off_clock,
)
from flows.venues.decimals import ONE
from lake.clock import HOUR_US
from lake.schema import DEAD_LETTERS, EVENTS, FEED_HEALTH, GAPS, MARKETS, QUOTES, TRADES, VENUE_STATS, Table
from lake.vocab import Gap, MarketStatus, Source, Venue

SEGMENT_US: Final = 60_000_000
SEGMENT_BYTES: Final = 16 << 20
SEGMENT_LEAST_US: Final = 10_000_000

MOST_KINDS: Final = 200
MOST_LAGS: Final = 50_000  # a minute and connection

Row = tuple[Any, ...]


@dataclass(slots=True)
class Segment:
    """The rows of consecutive frames, by table and venue."""

    first_seq: int
    first_received: int
    last_seq: int
    frames: int = 0
    bytes: int = 0
    rows: dict[tuple[Table, str], list[Row]] = field(default_factory=dict)

    def is_over(self, received: int) -> bool:
        """Whether a frame received then belongs to the next segment."""
        age = received - self.first_received
        return (
            age >= SEGMENT_US
            or received // HOUR_US > self.first_received // HOUR_US
            or (self.bytes >= SEGMENT_BYTES and age >= SEGMENT_LEAST_US)
        )


@dataclass(slots=True)
class Counts:
    """Messages by what became of them, rows by table: the conservation law, in numbers.

    Messages count when their minute is written, the last minutes by `Pipeline.finish`.
    """

    frames: int = 0
    bytes: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)

    @property
    def messages(self) -> int:
        """applied + ignored + duplicate + dead."""
        return self.outcomes.total()


class Pipeline:
    """Frames in, segments out.

    `poll_every` gives the cadence of each polled connection in microseconds: what a poll said holds
    until the next is due, and a poll that did not come is a gap.
    """

    def __init__(
        self,
        adapters: Mapping[Venue, Adapter],
        seal: Callable[[Segment], None],
        poll_every: Mapping[str, int] | None = None,
    ) -> None:
        self._adapters = adapters
        self._seal = seal
        self._poll_every = poll_every or {}
        self._gaps = Gaps()
        self._books = Books(self._gaps)
        self._health = Health()
        self._markets = Versions(MARKETS, {"tags": [], "status": MarketStatus.INITIALIZED.value})
        self._events = Versions(EVENTS, {"tags": []})
        self._stats: dict[int, Stats] = {}
        self._versions: dict[tuple[Table, int | str], Row | None] = {}  # of this frame: a key has one row a frame
        self._venues: dict[int, str] = {}  # market to venue, for its gaps
        self._last_good: dict[str, int] = {}  # connection to the time of its last frame
        self._polled: dict[int, tuple[str, int]] = {}  # market to the poll that named it last
        self._segment: Segment | None = None
        self.counts = Counts()

    def opened(self, opened: Opened) -> None:
        """A connection opened: what was known through its former life is unknown since its last frame."""
        self._adapters[opened.wire.venue].opened(opened)
        last = self._last_good.get(opened.connection)
        if last is not None:
            self._books.disconnected(opened.connection, last)
            minute, _ = self._health.minute(opened.connection, opened.wire.venue.value, last)
            minute.reconnects += 1

    def feed(self, frame: Frame) -> None:
        """Take the next frame."""
        segment = self._segment
        if segment is not None and segment.is_over(frame.received):
            self._close(segment)
            segment = None
        if segment is None:
            segment = self._segment = Segment(frame.seq, frame.received, frame.seq)
        segment.last_seq = frame.seq
        segment.frames += 1
        segment.bytes += len(frame.payload)
        venue = frame.wire.venue
        minute = self._minute(frame, segment)
        messages = self._adapters[venue].parse(frame)
        touched: dict[int, Book] = {}
        for place, message in enumerate(messages):
            for action in message.actions:
                self._apply(action, frame, minute, message, touched)
            if message.outcome is Outcome.APPLIED:
                minute.applied += 1
            else:
                self._count(message, frame, minute, place)
        for book in touched.values():
            row = self._books.settle(book, frame.received, frame.seq)
            if row is not None:
                self._add(QUOTES, venue.value, row, minute)
        if self._versions:
            for (table, _), row in self._versions.items():
                self._add(table, venue.value, row, minute)
            self._versions.clear()
        if self._books.has_crossed:
            self._books.check_crossed(frame.received)
        if self._gaps.rows:
            self._write_gaps(frame.seq, minute)
        self._last_good[frame.connection] = frame.received

    def finish(self, received: int) -> None:
        """The feed ends at `received`: open gaps and minutes are written, the last segment is sealed."""
        if self._segment is None:
            return
        self._books.check_crossed(received)
        for market in self._venues:
            book = self._books.get(market)
            if book is None or book.written is None or market in self._gaps:
                continue
            until = self._known_until(market, book, received)
            self._gaps.record(market, book.connection, until, None, received, Gap.FEED_ENDED)
        self._gaps.finish(received)
        self._write_gaps(self._segment.last_seq, None)
        for connection, minute in self._health.finish():
            self._write_minute(connection, minute)
        self._close(self._segment)
        self._segment = None

    # --- messages --------------------------------------------------------------------------------

    def _count(self, message: Message, frame: Frame, minute: Minute, place: int) -> None:
        minute.others[message.outcome] += 1
        if message.outcome is Outcome.DEAD:
            _note(self.counts.dead, message.reason)
            letter = (frame.connection, frame.received, message.reason, message.raw, frame.seq, place)
            self._add(DEAD_LETTERS, frame.wire.venue.value, letter, minute)
        elif message.outcome is Outcome.IGNORED:
            _note(minute.kinds, message.kind)

    def _apply(self, action: Any, frame: Frame, minute: Minute, message: Message, touched: dict[int, Book]) -> None:
        if not frame.wire.is_poll and isinstance(action, _BOOKED) and is_off_clock(action.event, frame.received):
            action.event = None  # as of a message without a time; its levels still count
        match action:
            case Top() | Reset() if frame.wire.is_poll and self._books.is_streaming(action.market):
                pass  # a poll may be older than the stream
            case Change():
                book = self._book(action.market, frame)
                if self._books.change(action, book, frame.received):
                    touched[action.market] = book
                    self._lag(action.event, frame, minute)
                else:
                    message.outcome, message.kind = Outcome.IGNORED, "change:no_book"
            case Top():
                book = self._book(action.market, frame)
                if self._books.top(action, book, frame.received):
                    touched[action.market] = book
                self._lag(action.event, frame, minute)
            case Reset():
                book = self._book(action.market, frame)
                self._books.reset(action, book, frame.received)
                touched[action.market] = book
            case Trade():
                self._add(TRADES, frame.wire.venue.value, _trade_row(action, frame), minute)
                self._lag(action.event, frame, minute)
            case Stats():
                self._take_stats(action, frame)
            case MarketUpdate():
                fields = self._named(action)
                row = self._markets.update(action.market, fields, frame.received, frame.seq)
                self._versions[MARKETS, action.market] = row or self._versions.get((MARKETS, action.market))
            case EventUpdate():
                row = self._events.update(action.event_id, action.fields, frame.received, frame.seq)
                self._versions[EVENTS, action.event_id] = row or self._versions.get((EVENTS, action.event_id))
            case Hole():
                self._books.hole(action)
            case Forget():
                self._books.forget(action, self._book(action.market, frame))

    def _book(self, market: int, frame: Frame) -> Book:
        book = self._books.of(market, frame.connection)
        self._venues.setdefault(market, frame.wire.venue.value)
        if frame.wire.is_poll:
            self._poll(book, frame)
        return book

    def _poll(self, book: Book, frame: Frame) -> None:
        """A poll names the market: a gap if polls of it did not come when they were due."""
        every = self._poll_every.get(frame.connection)
        before = self._polled.get(book.market)
        self._polled[book.market] = (frame.connection, frame.received)
        if every is not None and before is not None and frame.received - before[1] > 2 * every:
            self._books.lose(book, before[1] + every, Gap.POLL_MISSED)

    def _named(self, action: MarketUpdate) -> dict[str, Any]:
        """A market without a title is called by its native id."""
        fields = action.fields
        name = fields.get("market_id")
        if name is not None and "title" not in fields and self._markets.get(action.market) is None:
            return {"title": name.partition(":")[2], **fields}
        return fields

    def _take_stats(self, stats: Stats, frame: Frame) -> None:
        if self._stats.get(stats.market) != stats:
            self._stats[stats.market] = stats
            row = (
                stats.market,
                frame.received,
                stats.volume_24h_usd,
                stats.volume_total_usd,
                stats.volume_24h_contracts,
                stats.volume_total_contracts,
                stats.open_interest,
                stats.liquidity_usd,
                frame.seq,
            )
            self._versions[VENUE_STATS, stats.market] = row

    @staticmethod
    def _lag(event: int | None, frame: Frame, minute: Minute) -> None:
        if event is not None and len(minute.lags) < MOST_LAGS:
            minute.lags.append(frame.received - event)

    # --- rows ------------------------------------------------------------------------------------

    def _add(self, table: Table, venue: str, row: Row | None, minute: Minute | None) -> None:
        if row is None or self._segment is None:
            return
        self._segment.rows.setdefault((table, venue), []).append(row)
        self.counts.rows[table.name] += 1
        if minute is not None:
            minute.rows[table.name] += 1

    def _write_gaps(self, seq: int, minute: Minute | None) -> None:
        for row in self._gaps.take():
            self._add(GAPS, self._venues[row[1]], (*row, seq), minute)

    def _minute(self, frame: Frame, segment: Segment) -> Minute:
        minute, ended = self._health.minute(frame.connection, frame.wire.venue.value, frame.received)
        if ended is not None:
            self._write_minute(frame.connection, ended)
        minute.frames += 1
        minute.bytes += len(frame.payload)
        minute.seq = frame.seq
        self.counts.frames += 1
        self.counts.bytes += len(frame.payload)
        return minute

    def _write_minute(self, connection: str, minute: Minute) -> None:
        self.counts.outcomes += minute.outcomes
        self.counts.ignored += minute.kinds
        seen = len(self._books.markets_of.get(connection, ()))
        self._add(FEED_HEALTH, minute.venue, minute.row(connection, seen), None)

    def _known_until(self, market: int, book: Book, received: int) -> int:
        """Until when the market's last state holds: its stream's last frame, or when its next poll was due."""
        connection, polled = self._polled.get(market, ("", 0))
        if book.source == Source.REST.value and connection in self._poll_every:
            return max(min(polled + self._poll_every[connection], received), book.event + 1)
        return max(self._last_good.get(book.connection, received), book.event + 1)

    def _close(self, segment: Segment) -> None:
        self._segment = None
        self._seal(segment)


_BOOKED: Final = (Change, Top, Reset)


def _note(counter: Counter[str], text: str) -> None:
    """Count, but keep no more than `MOST_KINDS` texts: they are the venue's."""
    counter[text if text in counter or len(counter) < MOST_KINDS else "other"] += 1


def _trade_row(trade: Trade, frame: Frame) -> Row:
    return (
        trade.market,
        trade.trade_id,
        trade.event,
        frame.received,
        trade.price / ONE,
        trade.size / ONE,
        None if trade.taker_side is None else trade.taker_side.value,
        trade.is_block_trade,
        frame.seq,
    )
