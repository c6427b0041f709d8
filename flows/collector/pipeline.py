"""A frame becomes rows: parsed, applied to the books, counted, gathered into segments.

The same path live, in replay and after a crash. Nothing here waits, reads a clock or touches a disk: a
closed segment is handed to `seal`. Live, all that moves it comes through `take`, segment ends included,
so the same items give the same rows again; `state` is what is known between two of them. A recording
knows nothing of segments: there one closes when a frame arrives that no longer belongs to it (`Rule`).
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from flows.collector.books import Book, Books, BooksState
from flows.collector.depth import Depth, DepthState
from flows.collector.gaps import Gaps, GapsState
from flows.collector.health import Health, Minute, MinuteState
from flows.collector.journal import Absent, Asked, Cut, Dropped, Item, Placed, Tick, Withheld, withheld
from flows.collector.segments import USUAL, Row, Rule, Segment
from flows.collector.versions import Versions
from flows.venues.base import (
    Adapter,
    Bar,
    Change,
    Closed,
    EventUpdate,
    Forget,
    Frame,
    History,
    Hole,
    MarketUpdate,
    Message,
    Missed,
    Opened,
    Outcome,
    Reset,
    Stats,
    Top,
    Trade,
    dead,
    is_off_clock,
)
from flows.venues.decimals import ONE, to_float
from lake.clock import SECOND_US
from lake.schema import (
    DEAD_LETTERS,
    DEPTH,
    EVENTS,
    FEED_HEALTH,
    GAPS,
    HISTORY,
    MARKETS,
    QUOTES,
    TRADES,
    VENUE_STATS,
    Table,
)
from lake.vocab import Gap, MarketStatus, PriceRule, Source, Venue

LOG: Final = logging.getLogger("movers.collector")

ANNOUNCE_US: Final = 5 * SECOND_US
"""A gap that has lasted so long is written before it ends, live."""

POLLS_LOOK_US: Final = SECOND_US
"""Between two looks, live, whether polls came when they were due."""

WHOLE: Final = -1
"""Place of a dead letter that is a frame as a whole."""

MOST_KINDS: Final = 200
MOST_LAGS: Final = 50_000  # a minute and connection


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
    failed: int = 0  # frames on which our own code failed
    rows: Counter[str] = field(default_factory=Counter)

    @property
    def messages(self) -> int:
        """applied + ignored + duplicate + dead."""
        return self.outcomes.total()


class State(msgspec.Struct):
    """What a `Pipeline` knows, to be kept."""

    adapters: dict[Venue, bytes]
    books: BooksState
    gaps: GapsState
    health: dict[str, MinuteState]
    stats: dict[int, Stats]
    subscribed: dict[str, int]
    venues: dict[int, str]
    heard: dict[str, int]
    told: dict[str, int]
    polled: dict[int, tuple[str, int]]
    polls_checked: int
    depth: DepthState = msgspec.field(default_factory=DepthState)


_STATE: Final = msgspec.msgpack.Decoder(State)


class Listener(Protocol):
    """Who is told what frames said, so as to ask a venue for more, or for less."""

    def market_changed(self, venue: Venue, market: int, fields: Mapping[str, Any]) -> None:
        """A stream told something new of a market."""

    def books_lost(self, connection: str, markets: list[int], reason: Gap) -> None:
        """Books of the connection are void until the venue sends them whole."""

    def trades_missed(self, venue: Venue, since: int, until: int) -> None:
        """Trades between those times, by our clock, did not come."""

    def minute_ended(self, connection: str, minute: Minute) -> None:
        """A connection's minute was written."""


class Pipeline:
    """Frames in, segments out.

    `poll_every` gives the cadence of each polled connection in microseconds: what a poll said holds
    until the next is due, and a poll that did not come is a gap. Frames of the connections `describing`
    tell what markets there are, and make no quotes: nobody follows these up; of `withholding` only that they
    were here is kept, and the listener hears of none. Those of the connections `auditing` are held against what
    streams say. `rule` says where segments end;
    None = where a `Cut` says so, and then what was told is kept for table `raw` as well.
    """

    def __init__(
        self,
        adapters: Mapping[Venue, Adapter],
        seal: Callable[[Segment], None],
        poll_every: Mapping[str, int] | None = None,
        *,
        describing: Collection[str] = (),
        auditing: Collection[str] = (),
        withholding: Collection[str] = (),
        rule: Rule | None = USUAL,
        listener: Listener | None = None,
    ) -> None:
        self._adapters = adapters
        self._seal = seal
        self._poll_every = {} if poll_every is None else poll_every
        self._describing = frozenset(describing)
        self._auditing = frozenset(auditing)
        self._withholding = frozenset(withholding)
        self._asked_about = self._describing - self._withholding
        self._rule = rule
        self._listener = listener
        self.subscribed: dict[str, int] = {}  # connection to markets asked for
        self._gaps = Gaps()
        self._books = Books(self._gaps)
        self._depth = Depth()
        self._health = Health()
        self.markets = Versions(MARKETS, {"tags": [], "status": MarketStatus.INITIALIZED.value})
        self.events = Versions(EVENTS, {"tags": []})
        self.stats: dict[int, Stats] = {}
        self._versions: dict[tuple[Table, int | str], Row | None] = {}  # of this frame: a key has one row a frame
        self._venues: dict[int, str] = {}  # market to venue, for its gaps
        self._heard: dict[str, int] = {}  # connection to the time of its last frame
        self._told: dict[str, int] = {}  # the same of its last frame that told of a market
        self._polled: dict[int, tuple[str, int]] = {}  # market to the poll that named it last
        self._polls_checked = 0
        self._told_beside: list[int] = []  # of this frame: markets that another connection feeds
        self._segment: Segment | None = None
        self.counts = Counts()

    def take(self, item: Item) -> None:
        """Whatever it is, in its turn."""
        segment = self._reach(item.seq, item.received)
        if self._rule is None:
            segment.items.append(self._kept(item))
        match item:
            case Frame():
                self.feed(item)
            case Tick():
                self.tick(item.received, item.seq)
            case Cut():
                self._end(segment, item.received)
            case Opened():
                self.opened(item)
            case Closed():
                self.closed(item)
            case Asked():
                self.subscribed[item.connection] = item.markets
            case Dropped():
                self.drop(item.markets, item.received)
            case Absent():
                self.absent(item.venue, item.start, item.received, item.seq, item.reason)
            case Placed():
                self.place(item)
            case Withheld():
                pass

    def _kept(self, item: Item) -> Item:
        """The item as table `raw` has it: of a catalogue's page only that it was here."""
        if not isinstance(item, Frame) or item.connection not in self._withholding:
            return item
        return Withheld(
            seq=item.seq,
            received=item.received,
            monotonic=item.monotonic,
            connection=item.connection,
            wire=item.wire,
            payload=withheld(item.payload),
        )

    def opened(self, opened: Opened) -> None:
        """A connection opened: what was known through its former life is unknown since its last frame."""
        self._adapters[opened.wire.venue].opened(opened)
        last = self._heard.get(opened.connection)
        if last is not None:
            self._end_feed(opened.connection, opened.received, opened.seq, Gap.DISCONNECTED)
            minute, _ = self._health.minute(opened.connection, opened.wire.venue.value, last)
            minute.reconnects += 1
        self._books.handover.open(opened.connection)

    def absent(self, venue: Venue, start: int, received: int, seq: int, reason: Gap = Gap.COLLECTOR_DOWN) -> None:
        """Nobody heard of the venue from `start` until now: a gap of all markets, unknown until their next quotes."""
        segment = self._reach(seq, received)
        row = (venue.value, None, min(start, received), received, received, reason.value, False, segment.last_seq)
        self._add(GAPS, venue.value, row, None)

    def closed(self, closed: Closed) -> None:
        """A connection was lost: its markets are unknown since its last frame, until it is back or another has them."""
        was_replaced = not self.feeds(closed.connection)
        self._end_feed(closed.connection, closed.received, closed.seq, closed.reason)
        if was_replaced:  # nothing is missed of it, and should it be opened again, that is no reconnect
            self._heard.pop(closed.connection, None)

    def _end_feed(self, connection: str, received: int, seq: int, reason: Gap) -> None:
        """Heartbeats show that nothing was missed until then, but where they were all that came."""
        last = (self._told if reason is Gap.SILENCE else self._heard).get(connection)
        for book in self._books.disconnected(connection, last, reason):
            place = self._reach(seq, received).last_seq
            self._settle(book, received, place, None)
            self._write_gaps(place, None)

    def _settle(self, book: Book, received: int, seq: int, minute: Minute | None) -> None:
        """Write the market's quote, if its top is another than what was written."""
        row = self._books.settle(book, received, seq)
        if row is not None:
            self._add(QUOTES, self._venues[book.market], row, minute)

    def tick(self, received: int, seq: int) -> None:
        """It is `received` and no frame waits: what is due by the clock is written, a segment that is over sealed.

        Rows of which no frame is the cause have a segment of their own, of `seq`, where none is open.
        """
        self._books.check_crossed(received)
        self._check_polls(received)
        self._meet(list(self._books.handover.seconds), received, seq, None)
        if self._books.lost:
            self._tell_lost()
        if self._depth.is_due(received):
            self._sample_depth(received, seq)
        self._gaps.announce(received - ANNOUNCE_US, received)
        ended = self._health.ended(received)
        if ended or self._gaps.rows:
            self._reach(seq, received)
        for connection, minute in ended:
            self._write_minute(connection, minute)
        segment = self._segment
        if segment is not None:
            self._write_gaps(segment.last_seq, None)
            if self._is_over(segment, received):
                self._close(segment)

    def drop(self, markets: Iterable[int], received: int) -> None:
        """These are followed no longer: their books are forgotten, and nothing of them is missed from now on."""
        for market in markets:
            self._gaps.close(market, received, received)
            self._books.drop(market)
            self._depth.drop(market)
            self._polled.pop(market, None)

    def place(self, placed: Placed) -> None:
        """Markets are about to be followed: what was kept of one that we had the other way round is void."""
        adapter = self._adapters[placed.venue]
        for native_id, tokens in placed.markets:
            turned = adapter.place(native_id, tokens) if tokens else None
            book = None if turned is None else self._books.get(turned)
            if turned is not None and book is not None:
                self._books.hole(Hole([turned], Gap.DIRECTION_CHANGED), book.connection)
                self._books.forget(Forget(turned), book)

    def feed(self, frame: Frame) -> None:
        """Take the next frame."""
        segment = self._segment
        if segment is not None and self._is_over(segment, frame.received):
            self._end(segment, frame.received)
        segment = self._reach(frame.seq, frame.received)
        segment.frames += 1
        segment.size += len(frame.payload)
        venue = frame.wire.venue
        minute = self._minute(frame, segment)
        touched: dict[int, Book] = {}
        try:
            self._read(frame, minute, touched)
        except Exception as exc:  # a fault of ours: whatever it is, it must not end the feed
            self._fail(exc, frame, minute, touched)
        if self._versions:
            for (table, _), row in self._versions.items():
                self._add(table, venue.value, row, minute)
            self._versions.clear()
        if self._books.has_crossed:
            self._books.check_crossed(frame.received)
        if self._gaps.rows:
            self._write_gaps(frame.seq, minute)
        if self._books.lost:
            self._tell_lost()
        if touched:
            self._depth.changed.update(touched)
        if frame.received >= self._depth.due:
            self._sample_depth(frame.received, frame.seq)
        self._heard[frame.connection] = frame.received

    def _read(self, frame: Frame, minute: Minute, touched: dict[int, Book]) -> None:
        self._told_beside.clear()
        is_good = False
        for place, message in enumerate(self._adapters[frame.wire.venue].parse(frame)):
            for action in message.actions:
                self._apply(action, frame, minute, message, touched)
            if message.outcome is Outcome.APPLIED:
                minute.applied += 1
            else:
                self._count(message, frame, minute, place)
            is_good = is_good or bool(message.actions) or message.outcome is Outcome.DUPLICATE
        if is_good:
            self._told[frame.connection] = frame.received
        for book in touched.values():
            self._settle(book, frame.received, frame.seq, minute)
        if self._books.handover.seconds:
            for market in touched:
                self._books.changed(market, frame.received)
            self._meet([*touched, *self._told_beside], frame.received, frame.seq, minute)

    def _meet(self, markets: Iterable[int], received: int, seq: int, minute: Minute | None) -> None:
        """Hand over those of these markets that a successor tells of as the connection does that feeds them."""
        for market in markets:
            feeding = self._books.get(market)
            last = received if feeding is None else self._heard.get(feeding.connection, received)
            book = self._books.meet(market, last, received)
            if book is not None:
                self._settle(book, received, self._reach(seq, received).last_seq, minute)

    def _fail(self, exc: Exception, frame: Frame, minute: Minute, touched: dict[int, Book]) -> None:
        """What our own code fails on is a dead letter, the frame as a whole; books that it touched are not known."""
        LOG.error("%s: our own code failed on a frame", frame.connection, exc_info=exc)
        self.counts.failed += 1
        for book in touched.values():
            self._books.lose(book, frame.received, Gap.BOOK_DAMAGED)
        self._count(dead(f"failed on: {type(exc).__name__}", frame.payload), frame, minute, WHOLE)

    def finish(self, received: int, seq: int | None = None) -> None:
        """The feed ends at `received`: open gaps and minutes are written, the last segment is sealed.

        Where no segment is open these have one of their own, of `seq`.
        """
        if self._segment is None:
            if seq is None or not self._heard:
                return
            self._reach(seq, received)
        assert self._segment is not None
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

    def feeds(self, connection: str) -> set[int]:
        """The markets that the connection feeds: it told of them, and no other one does."""
        return self._books.markets_of.get(connection, set())

    def follows(self, connection: str) -> set[int]:
        """The markets of which the connection tells the whole book, beside the one that feeds them."""
        seconds = self._books.handover.seconds.items()
        return {market for market, second in seconds if second.connection == connection and second.is_whole}

    def changed(self, market: int) -> int | None:
        """When its book changed last, microseconds; None = it has none."""
        book = self._books.get(market)
        return None if book is None else book.event

    def whole(self, connection: str) -> set[int]:
        """The markets of which the connection has told the whole book."""
        books = ((market, self._books.get(market)) for market in self.feeds(connection))
        return {market for market, book in books if book is not None and book.is_whole}

    def connections(self) -> list[str]:
        """Those that frames came on."""
        return list(self._heard)

    def heard(self) -> dict[Venue, int]:
        """When each venue was heard of last, microseconds."""
        return {
            venue: max(times)
            for venue in self._adapters
            if (times := [at for name, at in self._heard.items() if name.startswith(venue.value)])
        }

    @property
    def open(self) -> Segment | None:
        """The segment that rows go into."""
        return self._segment

    # --- segments, and what is known between two of them -------------------------------------------

    def _is_over(self, segment: Segment, received: int) -> bool:
        return self._rule is not None and self._rule.is_over(segment.first_received, segment.size, received)

    def _reach(self, seq: int, received: int) -> Segment:
        """The open segment, now up to `seq`."""
        segment = self._segment
        if segment is None:
            segment = self._segment = Segment(seq, received, seq, received)
        elif seq > segment.last_seq:
            segment.last_seq, segment.last_received = seq, received
        return segment

    def _end(self, segment: Segment, received: int) -> None:
        """It ends here; the account of a minute that is over lies with the minute's rows."""
        for connection, minute in self._health.ended(received):
            self._write_minute(connection, minute)
        if self._rule is None:
            segment.known = self.state()
        self._close(segment)

    def state(self) -> bytes:
        """All that later items are read by, after a `Cut`; without versions of markets, which are in the lake."""
        followed = {market: stats for market, stats in self.stats.items() if market in self._venues}
        kept = State(
            {venue: adapter.state() for venue, adapter in self._adapters.items()},
            self._books.state(),
            self._gaps.state(),
            self._health.state(),
            followed,
            self.subscribed,
            self._venues,
            self._heard,
            self._told,
            self._polled,
            self._polls_checked,
            self._depth.state(),
        )
        return msgspec.msgpack.encode(kept)

    def restore(self, state: bytes) -> None:
        """Go on from there. Raises `msgspec.DecodeError` on what another program's `state` returned."""
        kept = _STATE.decode(state)
        for venue, told in kept.adapters.items():
            self._adapters[venue].restore(told)
        self._books.restore(kept.books)
        self._gaps.restore(kept.gaps)
        self._health.restore(kept.health)
        self._depth.restore(kept.depth, self._books)
        self.stats, self.subscribed, self._venues = kept.stats, kept.subscribed, kept.venues
        self._heard, self._told = kept.heard, kept.told
        self._polled, self._polls_checked = kept.polled, kept.polls_checked

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
        if isinstance(action, _BOOKED) and not frame.wire.is_poll:
            if is_off_clock(action.event, frame.received):
                action.event = None  # as of a message without a time; its levels still count
            if self._books.is_fed_by_another(action.market, frame.connection):
                self._tell_beside(action, frame, message)
                return
        match action:
            case Top() | Reset() if frame.connection in self._describing:
                pass
            case Top() | Reset() if frame.wire.is_poll and self._books.is_streaming(action.market):
                if frame.connection in self._auditing and self._books.is_frozen(action, frame.received):
                    self._thaw(action, frame, touched)
                # else a poll may be older than the stream
            case Forget() if not frame.wire.is_poll and self._books.is_fed_by_another(action.market, frame.connection):
                self._tell_beside(action, frame, message)
            case Stats() if not frame.wire.is_poll and self._books.is_fed_by_another(action.market, frame.connection):
                pass  # the one that feeds it tells the same, sooner or later
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
                row = self.markets.update(action.market, fields, frame.received, frame.seq)
                self._versions[MARKETS, action.market] = row or self._versions.get((MARKETS, action.market))
                if row is not None and self._listener is not None and self._is_news(frame):
                    self._listener.market_changed(frame.wire.venue, action.market, action.fields)
            case EventUpdate():
                row = self.events.update(action.event_id, action.fields, frame.received, frame.seq)
                self._versions[EVENTS, action.event_id] = row or self._versions.get((EVENTS, action.event_id))
            case Hole():
                self._books.hole(action, frame.connection)
            case Missed():
                if self._listener is not None:
                    self._listener.trades_missed(frame.wire.venue, action.since, frame.received)
            case Forget():
                self._books.forget(action, self._book(action.market, frame))
            case History():
                for bar in action.bars:
                    self._add(HISTORY, frame.wire.venue.value, _history_row(action.market, bar, frame.seq), minute)

    def _thaw(self, action: Top | Reset, frame: Frame, touched: dict[int, Book]) -> None:
        """The stream of the market has stood still since its last word: REST stands for it until it goes on."""
        feeding = self._books.get(action.market)
        assert feeding is not None
        self._books.lose(feeding, feeding.event, Gap.FROZEN)
        book = self._book(action.market, frame)
        if isinstance(action, Top):
            self._books.top(action, book, frame.received)
        else:
            self._books.reset(action, book, frame.received)
        touched[action.market] = book

    def _tell_beside(self, action: Change | Top | Reset | Forget, frame: Frame, message: Message) -> None:
        """Another connection feeds the market, so this makes no row of it."""
        message.outcome = Outcome.DUPLICATE
        self._books.beside(action, frame.connection, frame.received)
        self._told_beside.append(action.market)

    def _is_news(self, frame: Frame) -> bool:
        """Whether it is a stream, or an answer about markets that may have changed."""
        return not frame.wire.is_poll or frame.connection in self._asked_about

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

    def _check_polls(self, received: int) -> None:
        """Markets whose polls have not come when they were due are unknown, before the next one tells so."""
        if 0 <= received - self._polls_checked < POLLS_LOOK_US:
            return
        self._polls_checked = received
        for market, (connection, polled) in self._polled.items():
            every, book = self._poll_every.get(connection), self._books.get(market)
            if every is None or book is None or book.written is None or book.source != Source.REST.value:
                continue
            if received - polled > 2 * every:
                self._books.lose(book, polled + every, Gap.POLL_MISSED)

    def _named(self, action: MarketUpdate) -> dict[str, Any]:
        """A market without a title is called by its native id."""
        fields = action.fields
        name = fields.get("market_id")
        if name is not None and "title" not in fields and action.market not in self.markets:
            return {"title": name.partition(":")[2], **fields}
        return fields

    def _take_stats(self, stats: Stats, frame: Frame) -> None:
        if self.stats.get(stats.market) != stats:
            self.stats[stats.market] = stats
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

    def _tell_lost(self) -> None:
        lost, self._books.lost = self._books.lost, {}
        if self._listener is not None:
            for (connection, reason), markets in lost.items():
                self._listener.books_lost(connection, markets, reason)

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
            self._depth.unknown(row[1])
            self._add(GAPS, self._venues[row[1]], (*row, seq), minute)

    def _sample_depth(self, received: int, seq: int) -> None:
        for row in self._depth.sample(self._books, received, seq):
            self._reach(seq, received)
            self._add(DEPTH, self._venues[row[0]], row, None)

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
        self._add(FEED_HEALTH, minute.venue, minute.row(connection, self.subscribed.get(connection), seen), None)
        if self._listener is not None:
            self._listener.minute_ended(connection, minute)

    def _known_until(self, market: int, book: Book, received: int) -> int:
        """Until when the market's last state holds: its stream's last frame, or when its next poll was due."""
        connection, polled = self._polled.get(market, ("", 0))
        if book.source == Source.REST.value and connection in self._poll_every:
            return max(min(polled + self._poll_every[connection], received), book.event + 1)
        return max(self._heard.get(book.connection, received), book.event + 1)

    def _close(self, segment: Segment) -> None:
        self._segment = None
        self._seal(segment)


_BOOKED: Final = (Change, Top, Reset)


def _note(counter: Counter[str], text: str) -> None:
    """Count, but keep no more than `MOST_KINDS` texts: they are the venue's."""
    counter[text if text in counter or len(counter) < MOST_KINDS else "other"] += 1


def _history_row(market: int, bar: Bar, seq: int) -> Row:
    start, *quads, volume = bar
    prices = [to_float(price) for quad in quads for price in quad]
    return (market, "5m", start, *prices, to_float(volume), PriceRule.VENUE_HISTORY.value, seq)


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
