"""A collector's path in memory: frames in, rows out as dicts; time is said and not slept through."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl

from flows.collector.pipeline import Pipeline
from flows.collector.segments import Segment
from flows.venues.base import Frame, Message, Opened, Wire, frame_seq
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.schema import Table
from lake.vocab import Venue, market_id, market_key

FRAMES = Path(__file__).parents[1] / "frames"
START = 1_790_000_000_000_000  # microseconds; the times of our own frames lie near it
SECOND = 1_000_000

MARKET = "0x" + "a1b2c3d4" * 8
OTHER = "0x" + "5e6f7a8b" * 8
YES, NO = "7" + "1357" * 19, "4" + "2468" * 19
OVER, UNDER = "9" + "8642" * 19, "2" + "7531" * 19
TICKER, TICKER_2 = "KXHALCYON-27JAN-OPEN", "KXGULLS-27JAN01-GUL"


def frame(name: str) -> bytes:
    """One of the project's own frames, as in `frame("kalshi/ticker")`; a JSON file in one line, as sent."""
    text = FRAMES / f"{name}.txt"
    if text.exists():
        return text.read_bytes()
    return json.dumps(value(name), separators=(",", ":")).encode()


def value(name: str) -> Any:
    """The same, decoded."""
    return json.loads((FRAMES / f"{name}.json").read_bytes())


def poly(native: str = MARKET) -> int:
    return market_key(market_id(Venue.POLYMARKET, native))


def kal(ticker: str = TICKER) -> int:
    return market_key(market_id(Venue.KALSHI, ticker))


class Feed:
    """A pipeline, the segments that it sealed, and a clock that moves by a second a frame."""

    def __init__(
        self,
        wire: Wire,
        *,
        poll_every: dict[str, int] | None = None,
        auditing: Collection[str] = (),
        use_yes_price: bool | None = None,
    ) -> None:
        self.wire = wire
        self.now = START
        self.sealed: list[Segment] = []
        self.parsed: list[Message] = []
        self.polymarket, self.kalshi = Polymarket(), Kalshi(use_yes_price=use_yes_price)
        adapters = {Venue.POLYMARKET: self.polymarket, Venue.KALSHI: self.kalshi}
        self.pipeline = Pipeline(adapters, self.sealed.append, poll_every, auditing=auditing)
        self._number = 0

    def send(
        self,
        *payloads: Any,
        at: float | None = None,
        step: float = 1.0,
        connection: str = "c",
        wire: Wire | None = None,
    ) -> "Feed":
        """Take frames: bytes, or what becomes JSON. `at` is seconds after `START`, else `step` after the last."""
        for payload in payloads:
            self.now = self.now + round(step * SECOND) if at is None else START + round(at * SECOND)
            raw = payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()
            self.pipeline.feed(Frame(self.next_seq, connection, self.now, raw, wire or self.wire))
            self._number += 1
        return self

    def named(self, *names: str, **said: Any) -> "Feed":
        """Take the project's own frames of these names."""
        return self.send(*(frame(name) for name in names), **said)

    def opened(self, *, connection: str = "c", at: float | None = None) -> "Feed":
        """The connection opens (again)."""
        self.now = self.now if at is None else START + round(at * SECOND)
        self.pipeline.opened(Opened(connection, self.now, self.wire, self.next_seq))
        return self

    @property
    def next_seq(self) -> int:
        """The `seq` of the next frame."""
        return frame_seq(7, self._number)

    def finish(self) -> "Feed":
        self.pipeline.finish(self.now)
        return self

    def table(self, table: Table) -> pl.DataFrame:
        """All rows of a table so far, in the order in which they were made, as the lake would hold them."""
        open_segment = self.pipeline._segment
        segments = [*self.sealed, *([open_segment] if open_segment else [])]
        frames = [table.frame(rows) for segment in segments for (of, _), rows in segment.rows.items() if of is table]
        return pl.concat([table.frame([]), *frames])

    def rows(self, table: Table) -> list[dict[str, Any]]:
        return self.table(table).to_dicts()

    def tops(self, table: Table, market: int | None = None) -> list[tuple[Any, ...]]:
        """Bid, ask, bid size and ask size of each quote row, of one market or all."""
        found = self.table(table).sort("seq", maintain_order=True)
        if market is not None:
            found = found.filter(pl.col("market_key") == market)
        return found.select("bid", "ask", "bid_size", "ask_size").rows()


def parse_polymarket(
    *payloads: bytes, wire: Wire = Wire.POLYMARKET_SOCKET, connection: str = "c", at: int = START
) -> list[Message]:
    """Messages of frames through one fresh adapter, received from `at` on, a microsecond apart."""
    adapter = Polymarket()
    return [m for i, raw in enumerate(payloads) for m in adapter.parse(Frame(i, connection, at + i, raw, wire))]


def parse_kalshi(
    *payloads: bytes, wire: Wire = Wire.KALSHI_SOCKET, use_yes_price: bool | None = None, at: int = START
) -> list[Message]:
    adapter = Kalshi(use_yes_price=use_yes_price)
    return [m for i, raw in enumerate(payloads) for m in adapter.parse(Frame(i, "c", at + i, raw, wire))]
