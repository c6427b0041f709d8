"""What the project's own adapters make of the simulated venues' frames."""

from collections import Counter

from flows.venues.base import Adapter, Change, Frame, Message, Outcome, Reset, Trade, Wire
from lake.vocab import Venue, market_id, market_key
from tests.flows.simulator.tiny import START, TinyWorld

Sides = tuple[dict[int, int], dict[int, int]]


class Reader:
    """An adapter, and the books and trades that its actions make."""

    def __init__(self, adapter: Adapter, wire: Wire) -> None:
        self.messages: list[Message] = []
        self.books: dict[int, Sides] = {}
        self.trades: list[Trade] = []
        self._adapter = adapter
        self._wire = wire

    def read(self, frames: list[bytes], at: int = START) -> "Reader":
        for place, payload in enumerate(frames, len(self.messages)):
            for message in self._adapter.parse(Frame(place, "c", at + place, payload, self._wire)):
                self.messages.append(message)
                for action in message.actions:
                    self._take(action)
        return self

    def _take(self, action: object) -> None:
        match action:
            case Trade():
                self.trades.append(action)
            case Reset():
                self.books[action.market] = (dict(action.bids), dict(action.asks))
            case Change():
                for is_bid, price, size in action.levels:
                    side = self.books[action.market][0 if is_bid else 1]
                    side[price] = size + (side.get(price, 0) if action.is_delta else 0)
                    assert side[price] >= 0
                    if not side[price]:
                        del side[price]

    @property
    def outcomes(self) -> Counter[Outcome]:
        return Counter(message.outcome for message in self.messages)


def books_of(world: TinyWorld, venue: Venue, at: int) -> dict[int, Sides]:
    """The world's books of living markets at `at`, by market key."""
    return {
        market_key(market_id(venue, market.native_id)): (
            dict(world.book(market, at).bids),
            dict(world.book(market, at).asks),
        )
        for market in world.markets(venue, at)
    }
