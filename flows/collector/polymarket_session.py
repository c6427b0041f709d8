"""Polymarket, live: shards of the market channel, both tokens of a market on one of them.

The channel goes silent without an error above some five hundred tokens, so a shard has a limit. Markets
are dealt to shards by volume in turn: each has busy ones, so that its silence means something.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

import msgspec

from flows.collector.batches import batched
from flows.collector.connection import Send
from flows.collector.reconcile import SECOND_TRIES
from flows.collector.rounds import Poll
from flows.collector.session import Common, Session
from flows.collector.shard import Shard
from flows.collector.universe import Listed
from flows.venues.base import Wire
from lake.vocab import Gap, Venue

CHUNK: Final = 100
"""Tokens in one message of ours: longer ones got connections closed, and each is answered by one frame of books."""

BOOKS: Final = 200
"""Tokens in one `POST /books`."""

CLOB_RATE: Final = 8.0
"""Requests a second for books and histories, of 50 and 100 that are allowed."""

_NOTHING: Final = b"[]"


class MarketChannel:
    """A shard's part of the conversation: `flows.collector.connection.Speaker`."""

    ping: str | None = "PING"
    is_signed = False

    def __init__(self, url: str, wanted: dict[int, Listed], tokens: int) -> None:
        """At most so many tokens, two a market."""
        self.url = url
        self.wanted = wanted
        self._most = tokens // 2

    @property
    def markets(self) -> int:
        """How many markets it asks for."""
        return len(self.wanted)

    @property
    def has_room(self) -> bool:
        """Whether one more market fits."""
        return len(self.wanted) < self._most

    def headers(self) -> dict[str, str]:
        """None: the channel is open to all."""
        return {}

    async def hello(self, send: Send) -> None:
        """The first message names some tokens, further ones add the rest."""
        first, *rest = _chunks(self.wanted.values()) or [[]]
        await send(_text(type="market", assets_ids=first, custom_feature_enabled=True))
        for chunk in rest:
            await send(_text(operation="subscribe", assets_ids=chunk, custom_feature_enabled=True))

    def is_data(self, payload: bytes) -> bool:
        """What tells of a market: no answer to our heartbeat, no word of refusal, no empty list."""
        return payload.startswith((b"{", b"[")) and payload != _NOTHING

    def heard(self, payload: bytes) -> list[str]:
        """Nothing is acknowledged here."""
        return []


class PolymarketSession(Session):
    """Shards, and books over REST while one is down."""

    venue = Venue.POLYMARKET
    shards: list[Shard[MarketChannel]]

    def __init__(self, common: Common, url: str, *, tokens: int, use_socket: bool = True) -> None:
        """`tokens` is the limit of a shard."""
        super().__init__(common)
        self._tokens = tokens
        self._url = url
        self._use_socket = use_socket

    def connect(self, markets: list[Listed]) -> list[Shard[MarketChannel]]:
        """As few shards as hold them, the markets dealt in turn."""
        if not self._use_socket:
            return []
        count = max(1, -(-len(markets) // (self._tokens // 2)))
        self.shards = [self._shard(number) for number in range(1, count + 1)]
        for place, one in enumerate(markets):
            self.shards[place % count].speaker.wanted[one.market] = one
        return self.shards

    async def add(self, markets: list[Listed]) -> None:
        """On the shards with room; a new one where there is none."""
        if self._use_socket:
            await self._place(markets, None)

    async def _place(self, markets: list[Listed], other_than: Shard[MarketChannel] | None) -> None:
        for one in markets:
            open_to = (shard for shard in self.shards if shard is not other_than)
            shard = min(open_to, key=lambda shard: shard.markets, default=None)
            if shard is None or not shard.speaker.has_room:
                shard = self._shard(len(self.shards) + 1)
                self.shards.append(shard)
                self._keep(shard)
            shard.speaker.wanted[one.market] = one
            text = _text(operation="subscribe", assets_ids=one.tokens, custom_feature_enabled=True)
            for _, send in shard.speaking():
                await send(text)

    async def drop(self, markets: list[Listed]) -> None:
        """From the shards that have them."""
        for one in markets:
            for shard in self.shards:
                if shard.speaker.wanted.pop(one.market, None) is not None:
                    for _, send in shard.speaking():
                        await send(_text(operation="unsubscribe", assets_ids=one.tokens))

    async def ask_again(self, shard: Shard[MarketChannel], markets: list[Listed], tries: int) -> None:
        """On the same shard; then on others."""
        tokens = [token for one in markets for token in one.tokens]
        for _, send in shard.speaking():
            for chunk in batched(tokens, CHUNK):
                await send(_text(operation="unsubscribe", assets_ids=chunk))
                if tries < SECOND_TRIES:
                    await send(_text(operation="subscribe", assets_ids=chunk, custom_feature_enabled=True))
        if tries >= SECOND_TRIES:
            for one in markets:
                shard.speaker.wanted.pop(one.market, None)
            await self._place(markets, shard)

    def polls(self, markets: Iterable[Listed]) -> Iterator[Poll]:
        """Books of the first outcomes."""
        for batch in batched((one.tokens[0] for one in markets), BOOKS):
            body = msgspec.json.encode([{"token_id": token} for token in batch])
            yield Wire.CLOB_BOOKS, self._common.polling.post("/books", body)

    def down(self) -> Iterable[Listed]:
        """Those of shards that are down, or all where no socket is used."""
        if not self._use_socket:
            return self.followed.values()
        return [one for shard in self.shards if shard.is_down for one in shard.speaker.wanted.values()]

    def books_lost(self, connection: str, markets: list[int], reason: Gap) -> None:
        """A market that stands still, or whose book is not to be trusted, is asked for again."""
        if reason not in (Gap.FROZEN, Gap.BOOK_DAMAGED) or self._tasks is None:
            return
        for shard in self.shards:
            frozen = [self.followed[each] for each in markets if each in shard.speaker.wanted and each in self.followed]
            if frozen:
                self._tasks.create_task(self.ask_again(shard, frozen, 0))

    def trades_missed(self, since: int, until: int) -> None:
        """This venue numbers no trades, so nobody knows of one that did not come."""

    def _shard(self, number: int) -> Shard[MarketChannel]:
        speak = partial(MarketChannel, self._url, {}, self._tokens)
        return Shard(f"{self.venue.value}-{number}", Wire.POLYMARKET_SOCKET, speak, self._link, self._pipeline)


def _chunks(markets: Iterable[Listed]) -> list[list[str]]:
    """Tokens, both of a market in one chunk."""
    return [[token for one in batch for token in one.tokens] for batch in batched(markets, CHUNK // 2)]


def _text(**said: object) -> str:
    return msgspec.json.encode(said).decode()
