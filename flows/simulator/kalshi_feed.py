"""What Kalshi's subscribers are told: books, trades and life as they happen, tickers about once a second."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from flows.simulator import kalshi_frames as frames
from flows.simulator.base import Book, Happening, Kind, Market
from flows.simulator.kalshi_subscriptions import BOOK, CHANNELS, LIFE, TICKER, TRADE, Subscribers, Subscription
from flows.simulator.listing import Listing
from flows.simulator.stream import TICK_US, Tally
from lake.clock import SECOND_US

PHASES: Final = SECOND_US // TICK_US  # a market's ticker is told in one tenth of each second
REMEMBERED: Final = 1_000  # events that were announced


class Feed:
    """All subscriptions by channel, and what they are told."""

    def __init__(self, listing: Listing, tally: Tally) -> None:
        self.subscribers = {channel: Subscribers() for channel in CHANNELS}
        self._listing = listing
        self._tally = tally
        self._due: list[dict[str, Market]] = [{} for _ in range(PHASES)]
        self._last_sizes: dict[str, int] = {}
        self._events: dict[str, None] = {}

    def show(self, subscription: Subscription, tickers: dict[str, None] | None, params: dict[str, Any]) -> None:
        """The state at the start: books always, tickers if asked for."""
        if subscription.channel == BOOK:
            self.snapshots(subscription, tickers or {})
        elif subscription.channel == TICKER and params.get("send_initial_snapshot") is True:
            living = self._listing.living()
            found = living if tickers is None else [self._listing.by_id[ticker] for ticker in tickers]
            self._listing.prepare(found)
            for market in found:
                subscription.send("ticker", self._ticker(market, self._listing.at))

    def snapshots(self, subscription: Subscription, tickers: Iterable[str], number: int | None = None) -> None:
        """Whole books; in answer to the command of that number, if there is one."""
        found = [self._listing.by_id[ticker] for ticker in tickers if ticker in self._listing.by_id]
        self._listing.prepare(found)
        for market in found:
            book = self._listing.book(market)
            told = frames.snapshot(market, book, is_yes_scale=subscription.is_yes_scale)
            subscription.send("orderbook_snapshot", told, number)

    def happen(self, happening: Happening) -> None:
        """Tell it to whom it concerns."""
        market = happening.market
        match happening.kind:
            case Kind.BOOK:
                self._levels(happening)
            case Kind.TRADE:
                self._trade(happening)
            case Kind.LISTED:
                self._new_event(market)
                self._live(market, frames.created)
            case Kind.DETERMINED:
                self._clear(happening)
                self._live(market, frames.determined)
            case Kind.GONE:
                self._live(market, frames.settled)
                self._forget(market.native_id)
        self._listing.happen(happening)

    def tick(self, at: int) -> None:
        """Tickers of the markets whose turn it is in this second."""
        due = self._due[at // TICK_US % PHASES]
        for market in list(due.values()):
            those = self.subscribers[TICKER].of(market.native_id)
            if those:
                told = self._ticker(market, at)
                for subscription in those:
                    subscription.send("ticker", told)
        due.clear()

    def _ticker(self, market: Market, at: int) -> bytes:
        figures = self._listing.world.figures(market, at)
        return frames.ticker(market, self._listing.book(market), figures, self._last_sizes.get(market.native_id, 0), at)

    def _levels(self, happening: Happening) -> None:
        market, book = happening.market, happening.book
        those = self.subscribers[BOOK].of(market.native_id)
        before = self._listing.before(happening)
        for level in frames.deltas(happening, before) if those else ():
            told: dict[bool, bytes] = {}
            for subscription in those:
                scale = subscription.is_yes_scale
                if scale not in told:
                    told[scale] = frames.delta(market, happening.time, level, is_yes_scale=scale)
                subscription.send("orderbook_delta", told[scale])
        if book is not None and (book.bids[:1], book.asks[:1]) != (before.bids[:1], before.asks[:1]):
            self._due[market.number % PHASES][market.native_id] = market

    def _trade(self, happening: Happening) -> None:
        market, those = happening.market, self.subscribers[TRADE].of(happening.market.native_id)
        if those:
            told = frames.trade(happening)
            for subscription in those:
                subscription.send("trade", told)
            self._tally.trades_told += 1
        self._last_sizes[market.native_id] = happening.size
        self._due[market.number % PHASES][market.native_id] = market

    def _clear(self, happening: Happening) -> None:
        """With the result every order is void."""
        before = self._listing.before(happening)
        levels = [(True, price, 0) for price, _ in before.bids] + [(False, price, 0) for price, _ in before.asks]
        book = Book((), (), happening.time, before.last_trade)
        emptied = replace(happening, kind=Kind.BOOK, book=book, levels=tuple(levels))
        self._levels(emptied)
        self._listing.happen(emptied)

    def news(self, kind: str, ticker: str, value: float, is_over: bool) -> None:
        """Say a piece of news of a market, or take it back; of an unknown one nothing."""
        market = self._listing.named(ticker)
        if market is None:
            return
        name = "market_lifecycle_v2"
        match kind:
            case "pause":
                (self._listing.paused.discard if is_over else self._listing.paused.add)(ticker)
                payload = frames.activity(market, is_over)
            case "close-date":
                close = market.close + (0 if is_over else round(value * SECOND_US))
                payload = frames.close_date(self._listing.change(market, close=close))
            case "metadata":
                label = market.label if is_over else f"{market.label} (renamed)"
                payload = frames.metadata(self._listing.change(market, label=label))
            case _:
                name, payload = "event_fee_update", frames.event_fee(market, None if is_over else value)
        for subscription in self.subscribers[LIFE].of(ticker):
            subscription.send(name, payload)

    def _live(self, market: Market, told: Callable[[Market], bytes]) -> None:
        for subscription in self.subscribers[LIFE].of(market.native_id):
            subscription.send("market_lifecycle_v2", told(market))

    def _forget(self, ticker: str) -> None:
        self._last_sizes.pop(ticker, None)
        for subscribers in self.subscribers.values():
            subscribers.forget(ticker)

    def _new_event(self, market: Market) -> None:
        """The event, before its first market."""
        name = market.event.native_id
        if name in self._events or market.listed > market.event.listed:
            return
        self._events[name] = None
        if len(self._events) > REMEMBERED:
            del self._events[next(iter(self._events))]
        for subscription in self.subscribers[LIFE].of(market.native_id):
            subscription.send("event_lifecycle", frames.event_created(market))
