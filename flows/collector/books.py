"""Level changes to top of book: one book a market, and a quote row whenever its top moved.

A book is never shown crossed: while one match is told in several messages the levels overlap for an
instant, and the row waits until they no longer do. A book that stays crossed, or has a level below
zero, is damaged: it is dropped, and a gap lasts until it is good again.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from flows.collector.gaps import Gaps
from flows.collector.handover import SETTLED, SILENT, Handover, HandoverState, Second
from flows.venues.base import Change, Forget, Hole, Level, Reset, Top
from flows.venues.decimals import to_float
from lake.vocab import Gap, Source

CROSSED_FOR: Final = 1_000_000  # microseconds after which a crossed book is damaged

DOUBTED: Final = 8_000_000
"""Microseconds for which our book has to stand still, while REST says something else, to count as frozen."""

_TOLD: Final = (Gap.SEQUENCE_HOLE, Gap.BOOK_DAMAGED, Gap.UNSUBSCRIBED, Gap.FROZEN)

QuoteRow = tuple[int, int, int, float | None, float | None, float | None, float | None, int, str]
"""A row of `schema.QUOTES`, times in microseconds."""

TopOfBook = tuple[int | None, int | None, int | None, int | None]
"""Bid, ask, bid size, ask size; None for an empty side or an unknown size."""


class BookState(msgspec.Struct, array_like=True):
    """A `Book`, to be kept."""

    market: int
    bids: dict[int, int]
    asks: dict[int, int]
    is_whole: bool
    is_streamed: bool
    said: TopOfBook | None
    written: TopOfBook | None
    written_event: int
    event: int
    source: str
    connection: str


class Doubt(msgspec.Struct, array_like=True):
    """REST told another top than ours, at first `since`, when our book had last changed at `event`."""

    since: int  # by our clock
    event: int


class BooksState(msgspec.Struct):
    """`Books`, to be kept."""

    books: list[BookState]
    crossed: dict[int, int]
    markets_of: dict[str, set[int]]
    handover: HandoverState
    doubts: dict[int, Doubt]


class Book:
    """The levels of one market, price to size, and what was last written of them."""

    __slots__ = (
        "asks",
        "best_ask",
        "best_bid",
        "bids",
        "connection",
        "event",
        "is_streamed",
        "is_whole",
        "market",
        "said",
        "source",
        "written",
        "written_event",
    )

    def __init__(self, market: int) -> None:
        self.market = market
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.best_bid: int | None = None
        self.best_ask: int | None = None
        self.is_whole = False  # the levels are all of them: changes of single ones tell a top
        self.is_streamed = False  # a whole book was sent: tickers of this market make no quotes
        self.said: TopOfBook | None = None  # the top in the venue's own words, where it says it
        self.written: TopOfBook | None = None
        self.written_event = 0  # rows of a market never go back in time, whoever's clock they are on
        self.event = 0
        self.source = Source.BOOK.value
        self.connection = ""

    def replace(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """All levels anew; those of size 0 are none."""
        self.bids = {price: size for price, size in bids if size}
        self.asks = {price: size for price, size in asks if size}
        self.best_bid = max(self.bids, default=None)
        self.best_ask = min(self.asks, default=None)

    def clear(self) -> None:
        """Nothing is known of the levels."""
        self.replace((), ())
        self.said = None
        self.is_whole = False

    @property
    def is_known(self) -> bool:
        """Whether there is a top to show."""
        return self.is_whole or self.said is not None

    def set_bid(self, price: int, size: int) -> None:
        """A bid level's size; 0 removes it."""
        best = self.best_bid
        if size:
            self.bids[price] = size
            if best is None or price > best:
                self.best_bid = price
        elif self.bids.pop(price, None) is not None and price == best:
            self.best_bid = max(self.bids, default=None)

    def set_ask(self, price: int, size: int) -> None:
        """An ask level's size; 0 removes it."""
        best = self.best_ask
        if size:
            self.asks[price] = size
            if best is None or price < best:
                self.best_ask = price
        elif self.asks.pop(price, None) is not None and price == best:
            self.best_ask = min(self.asks, default=None)

    def top(self) -> TopOfBook:
        """Best prices, the venue's own where it says them, with the sizes of our levels there."""
        if self.said is not None:
            bid, ask, bid_size, ask_size = self.said
            if bid_size is None and bid is not None:
                bid_size = self.bids.get(bid)
            if ask_size is None and ask is not None:
                ask_size = self.asks.get(ask)
            return bid, ask, bid_size, ask_size
        bid, ask = self.best_bid, self.best_ask
        bid_size = None if bid is None else self.bids.get(bid)
        return bid, ask, bid_size, None if ask is None else self.asks.get(ask)


class Books:
    """Every market's book, and the rows that its changes make."""

    def __init__(self, gaps: Gaps) -> None:
        self._books: dict[int, Book] = {}
        self._gaps = gaps
        self._crossed: dict[int, tuple[Book, int]] = {}  # since when, by our clock
        self.markets_of: dict[str, set[int]] = {}  # connection to markets that it feeds
        self.handover = Handover()
        self._doubts: dict[int, Doubt] = {}
        self.lost: dict[tuple[str, Gap], list[int]] = {}  # connection and reason to books that it must send anew

    def __len__(self) -> int:
        return len(self._books)

    def state(self) -> BooksState:
        """All that is known, for `restore`; it is true until the next change."""
        books = [BookState(*(getattr(book, name) for name in _KEPT)) for book in self._books.values()]
        crossed = {market: since for market, (_, since) in self._crossed.items()}
        return BooksState(books, crossed, self.markets_of, self.handover.state(), self._doubts)

    def restore(self, state: BooksState) -> None:
        """Go on from there."""
        for kept in state.books:
            book = self._books[kept.market] = Book(kept.market)
            for name in _KEPT:
                setattr(book, name, getattr(kept, name))
            book.best_bid, book.best_ask = max(book.bids, default=None), min(book.asks, default=None)
        self._crossed = {market: (self._books[market], since) for market, since in state.crossed.items()}
        self.markets_of = state.markets_of
        self.handover.restore(state.handover)
        self._doubts = state.doubts

    def of(self, market: int, connection: str) -> Book:
        """The market's book, made if need be, now fed by `connection`."""
        book = self._books.get(market)
        if book is None:
            book = self._books[market] = Book(market)
        if book.connection != connection:
            self._feed(book, connection)
        return book

    def _feed(self, book: Book, connection: str) -> None:
        self.markets_of.get(book.connection, set()).discard(book.market)
        book.connection = connection
        self.markets_of.setdefault(connection, set()).add(book.market)

    def get(self, market: int) -> Book | None:
        """The market's book, if it has one."""
        return self._books.get(market)

    def drop(self, market: int) -> None:
        """Forget the market: no loss of a connection is one of this book."""
        self._books.pop(market, None)
        self._crossed.pop(market, None)
        self._doubts.pop(market, None)
        self.handover.drop(market)
        for heard in self.markets_of.values():
            heard.discard(market)

    def is_streaming(self, market: int) -> bool:
        """Whether what is known of this market came by a stream last."""
        book = self._books.get(market)
        return book is not None and book.is_known and book.source != Source.REST

    # --- what a connection says of a market that another one feeds ---------------------------------

    def is_fed_by_another(self, market: int, connection: str) -> bool:
        """Whether an open stream other than that one feeds the market."""
        book = self._books.get(market)
        return book is not None and book.connection != connection and self.handover.is_open(book.connection)

    def beside(self, action: Change | Top | Reset | Forget, connection: str, received: int) -> None:
        """Take what `connection` says of a market that another one feeds; see `flows.collector.handover`."""
        second = self.handover.second(action.market, self._books[action.market].connection, connection)
        if second is None:
            return
        match action:
            case Change():
                event = received if action.event is None else action.event
                second.change(action.levels, event, is_delta=action.is_delta)
            case Reset():
                second.reset(action.bids, action.asks, received if action.event is None else action.event)
            case Forget():
                second.is_whole = False
            case Top():
                return
        second.changed = received

    def changed(self, market: int, received: int) -> None:
        """The book that is fed has changed."""
        second = self.handover.seconds.get(market)
        if second is not None:
            second.changed = received

    def meet(self, market: int, last_good: int, received: int) -> Book | None:
        """Hand the market over if it is time; its book if that is now another than before, and to be settled.

        `last_good` is when the connection that feeds it was heard last.
        """
        book, second = self._books.get(market), self.handover.seconds.get(market)
        if book is None or second is None or not second.is_whole:
            return None
        if not book.is_known:
            return self._take_over(book, second)
        if book.is_whole and book.bids == second.bids and book.asks == second.asks:
            if book.event == second.event or received - second.changed >= SETTLED:
                self._hand_over(book, second)
            return None
        if received - last_good >= SILENT:
            self.lose(book, last_good, Gap.DISCONNECTED)
            return self._take_over(book, second)
        return None

    def _hand_over(self, book: Book, second: Second) -> None:
        self.handover.drop(book.market)
        self._feed(book, second.connection)

    def _take_over(self, book: Book, second: Second) -> Book:
        """The successor's book is the market's from now on."""
        self._hand_over(book, second)
        book.replace(second.bids.items(), second.asks.items())
        book.said, book.is_whole, book.is_streamed = None, True, True
        book.source, book.event = Source.BOOK.value, second.event
        return book

    def is_frozen(self, action: Top | Reset, received: int) -> bool:
        """Whether REST has said twice what our book does not, and our book has not changed between.

        An answer may be older than the stream, by as much as a cache keeps it; then our book has changed since.
        """
        book = self._books[action.market]
        told: TopOfBook
        if isinstance(action, Top):
            told = action.bid, action.ask, None, None  # its sizes are a listing's, and may be counted otherwise
        else:
            bids, asks = ({price: size for price, size in side if size} for side in (action.bids, action.asks))
            bid, ask = max(bids, default=None), min(asks, default=None)
            told = bid, ask, None if bid is None else bids[bid], None if ask is None else asks[ask]
        is_older = isinstance(action, Reset) and action.as_of is not None and action.as_of <= book.event
        if _is_same(told, book.top()) or is_older:
            self._doubts.pop(action.market, None)
            return False
        doubt = self._doubts.get(action.market)
        if doubt is None or doubt.event != book.event:
            self._doubts[action.market] = Doubt(received, book.event)
            return False
        if received - doubt.since < DOUBTED:
            return False
        del self._doubts[action.market]
        return True

    # --- what is said of a book --------------------------------------------------------------------

    def change(self, action: Change, book: Book, received: int) -> bool:
        """Apply level changes; False if there is no book that signed changes could apply to."""
        if action.is_delta:
            if not book.is_whole:
                return False
            for is_bid, price, by in action.levels:
                size = (book.bids if is_bid else book.asks).get(price, 0) + by
                if size < 0:
                    self.lose(book, received, Gap.BOOK_DAMAGED)
                    return True
                (book.set_bid if is_bid else book.set_ask)(price, size)
            book.said = None
        else:
            if action.best is None and not book.is_whole:
                return False  # single levels tell no top
            for is_bid, price, size in action.levels:
                (book.set_bid if is_bid else book.set_ask)(price, size)
            book.said = None if action.best is None else (*action.best, None, None)
        book.source = Source.BOOK.value
        book.event = received if action.event is None else action.event
        return True

    def reset(self, action: Reset, book: Book, received: int) -> None:
        """Take a whole book."""
        book.replace(action.bids, action.asks)
        book.said = None
        book.is_whole = True
        book.is_streamed = book.is_streamed or action.source is Source.BOOK
        book.source = action.source.value
        book.event = received if action.event is None else action.event

    def top(self, action: Top, book: Book, received: int) -> bool:
        """Take best prices; False where a ticker is not used because the book is streamed."""
        if action.source is Source.TICKER and book.is_streamed:
            return False
        book.said = (action.bid, action.ask, action.bid_size, action.ask_size)
        book.source = action.source.value
        book.event = received if action.event is None else action.event
        return True

    def forget(self, action: Forget, book: Book) -> None:
        """Drop the levels; the last quote stands until a new one."""
        said = (*book.top()[:2], None, None) if book.is_known else None
        book.clear()
        book.said = said
        book.is_streamed = False

    def lose(self, book: Book, start: int, reason: Gap) -> None:
        """The book is no longer known from `start`; its next good state writes a row and ends the gap."""
        book.clear()
        book.is_streamed = book.is_streamed and reason is Gap.SEQUENCE_HOLE  # else a ticker may serve
        self._crossed.pop(book.market, None)
        if reason in _TOLD:
            self.lost.setdefault((book.connection, reason), []).append(book.market)
        if book.written is not None:
            self._gaps.open(book.market, book.connection, max(start, book.event + 1, book.written_event + 1), reason)
        book.written = None

    @property
    def has_crossed(self) -> bool:
        """Whether a book is crossed now."""
        return bool(self._crossed)

    def hole(self, action: Hole, connection: str) -> None:
        """Messages of these markets were missed since the last that was applied."""
        for market in action.markets:
            book = self._books.get(market)
            if book is None:
                continue
            if self.handover.is_open(connection) and self.is_fed_by_another(market, connection):
                self.handover.drop(market, connection)
            else:
                self.lose(book, book.event if action.since is None else action.since, Gap(action.reason))

    def disconnected(self, connection: str, last_good: int | None, reason: Gap = Gap.DISCONNECTED) -> list[Book]:
        """The connection has ended: its markets are unknown from its last good frame on, None = it had none.

        The books that a successor knows otherwise are returned, to be settled.
        """
        self.handover.close(connection)
        found = []
        for market in sorted(self.markets_of.pop(connection, ())):
            book, second = self._books[market], self.handover.seconds.get(market)
            if second is not None and not second.is_whole:
                second = None
            if second is not None and book.is_whole and (book.bids, book.asks) == (second.bids, second.asks):
                self._hand_over(book, second)
                continue
            if last_good is not None:
                self.lose(book, last_good, reason)
            book.connection = ""
            if second is not None:
                found.append(self._take_over(book, second))
        return found

    def settle(self, book: Book, received: int, seq: int) -> QuoteRow | None:
        """The row that a frame made of this market: None if its top is unknown, crossed, or as written."""
        if not book.is_known:
            return None
        top = book.top()
        bid, ask = top[0], top[1]
        if bid is not None and ask is not None and bid >= ask:
            self._crossed.setdefault(book.market, (book, received))
            return None
        if self._crossed:
            self._crossed.pop(book.market, None)
        if top == book.written:
            return None
        event = max(book.event, book.written_event)
        if book.written is None:
            if event < self._gaps.start_of(book.market):
                event = received  # what the venue says of before the gap is known from its receipt on
            self._gaps.close(book.market, min(received, event), received)
        book.written, book.written_event = top, event
        return (
            book.market,
            event,
            received,
            to_float(bid),
            to_float(ask),
            to_float(top[2]),
            to_float(top[3]),
            seq,
            book.source,
        )

    def check_crossed(self, received: int) -> None:
        """A book that has stayed crossed, with or without word of it, is unknown since it crossed."""
        for market, (book, since) in list(self._crossed.items()):
            if received - since > CROSSED_FOR:
                del self._crossed[market]
                self.lost.setdefault((book.connection, Gap.BOOK_DAMAGED), []).append(market)
                if book.written is not None:
                    self._gaps.open(market, book.connection, max(since, book.written_event + 1), Gap.BOOK_DAMAGED)
                    book.written = None


def _is_same(told: TopOfBook, ours: TopOfBook) -> bool:
    """Whether both say the same, as far as both know sizes."""
    sizes = zip(told[2:], ours[2:], strict=True)
    return told[:2] == ours[:2] and all(one == other for one, other in sizes if None not in (one, other))


_KEPT: Final = BookState.__struct_fields__
