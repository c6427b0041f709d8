"""Kalshi, live: one signed connection, four channels; polled over REST where there is no key, or a wrong one."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from flows.collector.backfill import missed_trades
from flows.collector.batches import batched
from flows.collector.connection import NotYet, Send
from flows.collector.http import VenueError
from flows.collector.rounds import Poll
from flows.collector.session import Common, Session
from flows.collector.shard import Shard
from flows.collector.signing import Key
from flows.collector.timing import Clock
from flows.collector.universe import Listed
from flows.venues.base import Wire
from lake.clock import SECOND_US
from lake.vocab import Gap, Venue

BATCH: Final = 500
"""Tickers in one command."""

ASK_AGAIN: Final = 0.5  # seconds until books are asked for again that were lost again, doubled with each time
LONGEST_WAIT: Final = 30.0

FEW: Final = 20
"""Markets whose missed trades are asked for one by one."""

POLLED: Final = 100
"""Tickers in one `GET /markets`."""

CHANNELS: Final = ("orderbook_delta", "trade", "ticker")
LIFECYCLE: Final = "market_lifecycle_v2"

_HEAD: Final = 400  # bytes in which a message says what it is


class _Subscribed(msgspec.Struct, gc=False):
    channel: str
    sid: int


class _Reply(msgspec.Struct, gc=False):
    type: str
    msg: _Subscribed


_REPLY: Final = msgspec.json.Decoder(_Reply)


class TradeApi:
    """Our part of the conversation: `flows.collector.connection.Speaker`. `key` is asked for on every handshake."""

    ping: str | None = None  # the venue pings, and the library answers
    is_signed = True

    def __init__(self, url: str, key: Callable[[], Key | None], clock: Clock, wanted: dict[int, Listed]) -> None:
        self.url = url
        self.wanted = wanted
        self.sids: dict[str, int] = {}
        self._key = key
        self._clock = clock
        self._commands = 0
        self._late: dict[str, dict[int, Listed]] = {}  # channel to markets that wait for its id

    @property
    def markets(self) -> int:
        """How many markets it asks for."""
        return len(self.wanted)

    def headers(self) -> dict[str, str]:
        """Signed for the handshake, with the time of now."""
        key = self._key()
        if key is None:
            raise NotYet("there is no key yet")
        return key.headers("GET", urlsplit(self.url).path, self._clock.wall())

    async def hello(self, send: Send) -> None:
        """Subscribe: a channel's first command makes its subscription, further ones add markets to it."""
        self.sids, self._late, self._commands = {}, {}, 0
        wanted = list(self.wanted.values())
        await send(self.command("subscribe", channels=[LIFECYCLE]))
        for batch in batched(wanted, BATCH):
            await send(self._subscribe(batch))

    async def add(self, send: Send, markets: list[Listed]) -> None:
        """Ask for more markets on the subscriptions there are; for the rest, when they are acknowledged."""
        for channel in CHANNELS:
            if channel not in self.sids:
                self._late.setdefault(channel, {}).update((one.market, one) for one in markets)
        await self._update(send, "add_markets", markets)

    async def drop(self, send: Send, markets: list[Listed]) -> None:
        """Ask no longer for these."""
        for late in self._late.values():
            for one in markets:
                late.pop(one.market, None)
        await self._update(send, "delete_markets", markets)

    async def snapshots(self, send: Send, markets: Iterable[Listed]) -> None:
        """Ask for whole books anew."""
        sid = self.sids.get(CHANNELS[0])
        for batch in batched(markets, BATCH) if sid is not None else ():
            tickers = [one.native_id for one in batch]
            await send(self.command("update_subscription", sids=[sid], action="get_snapshot", market_tickers=tickers))

    def is_data(self, payload: bytes) -> bool:
        """What tells of a market: no acknowledgement, and no refusal, which may name one too."""
        return b'"market_ticker"' in payload and b'"error"' not in payload[:_HEAD]

    def heard(self, payload: bytes) -> list[str]:
        """The id of a subscription; it is asked for the markets that were added before it had one."""
        try:
            reply = _REPLY.decode(payload)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return []  # it is another answer, or the adapter makes a dead letter of it
        if reply.type != "subscribed":
            return []
        channel, sid = reply.msg.channel, reply.msg.sid
        self.sids[channel] = sid
        late = self._late.pop(channel, {})
        return [self._updated(sid, "add_markets", batch) for batch in batched(late.values(), BATCH)]

    def command(self, cmd: str, **params: Any) -> str:
        """A command with the next id."""
        self._commands += 1
        return msgspec.json.encode({"id": self._commands, "cmd": cmd, "params": params}).decode()

    def _subscribe(self, markets: Iterable[Listed]) -> str:
        tickers = [one.native_id for one in markets]
        flags = {"use_yes_price": True, "send_initial_snapshot": True, "skip_ticker_ack": True}
        return self.command("subscribe", channels=CHANNELS, market_tickers=tickers, **flags)

    async def _update(self, send: Send, action: str, markets: Iterable[Listed]) -> None:
        for batch in batched(markets, BATCH):
            for sid in [self.sids[channel] for channel in CHANNELS if channel in self.sids]:
                await send(self._updated(sid, action, batch))

    def _updated(self, sid: int, action: str, markets: Iterable[Listed]) -> str:
        tickers = [one.native_id for one in markets]
        flags = {"send_initial_snapshot": True, "skip_ticker_ack": True}
        return self.command("update_subscription", sids=[sid], action=action, market_tickers=tickers, **flags)


class KalshiSession(Session):
    """The connection, and polls of markets while it is down or there is no key."""

    venue = Venue.KALSHI
    shards: list[Shard[TradeApi]]

    def __init__(self, common: Common, url: str, key: Callable[[], Key | None] | None) -> None:
        """`key` gives the key of a handshake; None = there is none to be had."""
        super().__init__(common)
        self._url = url
        self._key = key
        self._lost: dict[int, Listed] = {}  # books to be asked for
        self._is_asking = False
        self._missed: tuple[int, int] | None = None  # since when and until when trades did not come, microseconds
        self._is_fetching = False

    def connect(self, markets: list[Listed]) -> list[Shard[TradeApi]]:
        """One shard; none without a key."""
        if self._key is None:
            self._say("no key in KALSHI_API_KEY and KALSHI_API_SECRET: no stream, polls only")
            return []
        speak = partial(TradeApi, self._url, self._key, self._link.clock, {one.market: one for one in markets})
        self.shards = [Shard(f"{self.venue.value}-1", Wire.KALSHI_SOCKET, speak, self._link, self._pipeline)]
        return self.shards

    async def add(self, markets: list[Listed]) -> None:
        """On the connections."""
        for shard in self.shards:
            shard.speaker.wanted.update((one.market, one) for one in markets)
            for api, send in shard.speaking():
                await api.add(send, markets)

    async def drop(self, markets: list[Listed]) -> None:
        """From the connections."""
        for shard in self.shards:
            for one in markets:
                shard.speaker.wanted.pop(one.market, None)
            for api, send in shard.speaking():
                await api.drop(send, markets)

    async def ask_again(self, shard: Shard[TradeApi], markets: list[Listed], tries: int) -> None:
        """For their books; then for all of them as if for the first time."""
        for api, send in shard.speaking():
            if tries % 2 == 0:
                await api.snapshots(send, markets)
            else:
                await api.drop(send, markets)
                await api.add(send, markets)

    def polls(self, markets: Iterable[Listed]) -> Iterator[Poll]:
        """The markets themselves: best prices, sizes and figures."""
        for batch in batched((one.native_id for one in markets), POLLED):
            params = {"tickers": ",".join(batch), "limit": POLLED}
            yield Wire.KALSHI_REST, self._common.polling.get("/markets", params)

    def trades_missed(self, since: int, until: int) -> None:
        """A hole in the numbers of trades: the tape has them, of all markets at once where many are followed."""
        first, _ = self._missed or (since, until)
        self._missed = min(first, since), until
        if self._tasks is not None and not self._is_fetching:
            self._is_fetching = True
            self._tasks.create_task(self._fetch_missed())

    async def _fetch_missed(self) -> None:
        """Ask for what was missed, and then for what was missed meanwhile, in one go."""
        while self._missed is not None:
            (since, until), self._missed = self._missed, None
            few = [one.native_id for one in self.followed.values()] if len(self.followed) <= FEW else []
            what = f"trades missed in {(until - since) / SECOND_US:.0f} s"
            try:
                pages = await missed_trades(self.history, self._link, since, until, few)
            except VenueError as exc:
                self._say(f"{what}: {exc}; `movers backfill` asks again")
            else:
                self._say(f"{what}: asked for, {pages} page{'' if pages == 1 else 's'}")
        self._is_fetching = False

    def down(self) -> Iterable[Listed]:
        """All, while the connection is down or there is none."""
        if self.shards and not any(shard.is_down for shard in self.shards):
            return []
        return self.followed.values()

    def books_lost(self, connection: str, markets: list[int], reason: Gap) -> None:
        """Ask for the books; a subscription that the venue ended is only had again by connecting anew."""
        lost = [self.followed[market] for market in markets if market in self.followed]
        for shard in self.shards:
            if not lost or self._tasks is None or not shard.has(connection):
                continue
            if reason is Gap.UNSUBSCRIBED:
                shard.restart(connection, "the venue ended a subscription")
                continue
            if reason is Gap.FROZEN:  # a snapshot alone would be true for a moment only
                self._tasks.create_task(self.ask_again(shard, lost, 1))
                continue
            self._lost.update((one.market, one) for one in lost)
            if not self._is_asking:
                self._is_asking = True
                self._tasks.create_task(self._ask_for_books(shard))

    async def _ask_for_books(self, shard: Shard[TradeApi]) -> None:
        """At once, and again for what is lost meanwhile, ever more slowly: else each hole in the answers asks anew."""
        wait = ASK_AGAIN
        while self._lost:
            lost, self._lost = list(self._lost.values()), {}
            for api, send in shard.speaking():
                await api.snapshots(send, lost)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        self._is_asking = False
