"""A small lake that goes on: markets, segments of quotes and trades, boards, as the pages find them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from lake import layout
from lake.clock import to_us
from lake.layout import SeqRange
from lake.schema import BARS, FEED_HEALTH, GAPS, HISTORY, MARKETS, MOVERS, QUOTES, TRADES
from lake.store import Store
from lake.vocab import MarketId, Mode, market_key
from tests.builders import Row, quote, trade
from tests.lake.lakes import market, row, rows

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ALDER = "kalshi:KXALDER-27-PASS"
FERRY = "polymarket:0xferry"


def key(market_id: str) -> int:
    return market_key(MarketId(market_id))


def move(market_id: str = ALDER, now: float = 0.67, then: float = 0.6, rank: int | None = 1, **columns: Any) -> Row:
    """A row of `schema.MOVERS`; the venue is that of the id."""
    known = {
        "market_key": key(market_id),
        "window": "15m",
        "verdict": "ok",
        "price_then": then,
        "price_now": now,
        "rule_then": "mid",
        "rule_now": "mid",
        "spread_now": 0.02,
        "move_pp": round(100 * (now - then), 6),
        "effective_move_pp": round(100 * (now - then), 6) - 2,
        "coverage_window": 1.0,
        "is_across_gap": False,
        "trades": 305,
        "biggest_rank": rank,
        "classic_rank": rank,
        "classic": 10.0,
        "biggest": 5.0,
    }
    return row(MOVERS, **known | columns) | {"venue": market_id.partition(":")[0]}


@dataclass
class World:
    """A lake at `root` whose clock stands at `now`."""

    root: Path
    mode: Mode = Mode.SIMULATED
    now: datetime = NOON
    collector: str = "c"
    _numbers: Any = field(default_factory=lambda: count(1))

    @property
    def store(self) -> Store:
        return Store.create(self.root, self.mode)

    def segment(self, venue: str = "kalshi", **tables: Iterable[Row]) -> None:
        """Publish one segment of these rows, by the table's name."""
        known = {table.name: table for table in (QUOTES, TRADES, GAPS, FEED_HEALTH, HISTORY, MARKETS)}
        number = next(self._numbers)
        frames = {(known[name], venue): rows(known[name], given) for name, given in tables.items()}
        self.store.publish_segment(SeqRange(self.collector, 0, number, number), self.now.date(), 1, frames, None)

    def markets(self, *ids: str, **columns: Any) -> None:
        """A catalogue with these markets."""
        for market_id in ids:
            made = market(market_id, at=self.now - timedelta(hours=3), **columns)
            self.segment(market_id.partition(":")[0], markets=[made])

    def quote(self, market_id: str = ALDER, bid: float = 0.66, ask: float = 0.68, **columns: Any) -> None:
        """A quote at this very moment."""
        self.segment(market_id.partition(":")[0], quotes=[quote(bid, ask, self.now, key(market_id), **columns)])

    def trade(self, market_id: str = ALDER, price: float = 0.67, size: float = 40, **columns: Any) -> None:
        self.segment(market_id.partition(":")[0], trades=[trade(price, size, self.now, key(market_id), **columns)])

    def board(self, *moves: Row) -> None:
        """Publish a board as of this very moment; every window has its rows."""
        for venue in ("kalshi", "polymarket"):
            mine = [each | {"as_of": self.now} for each in moves if each["venue"] == venue]
            frame = rows(MOVERS, [{name: each[name] for name in MOVERS.columns} for each in mine])
            part = layout.part(MOVERS, f"board-{to_us(self.now)}", venue=venue, date=self.now.date())
            self.store.replace(part, frame)

    def minutes(self, market_id: str = ALDER, prices: Iterable[float] = (0.60, 0.62, 0.67)) -> None:
        """Bars of one minute that end a few minutes ago."""
        given = list(prices)
        start = self.now.replace(second=0, microsecond=0) - timedelta(minutes=len(given) + 3)
        made = [
            row(
                BARS, market_key=key(market_id), bar_start=start + timedelta(minutes=number), open=price, high=price,
                low=price, close=price, bid_close=price - 0.01, ask_close=price + 0.01, volume_contracts=10.0,
                notional_usd=6.0, buy_notional_usd=4.0, trades=2, coverage=1.0, ticks=3, is_backfilled=False,
            )
            for number, price in enumerate(given)
        ]  # fmt: skip
        frame = rows(BARS, made)
        for interval in ("1m", "5m", "1h"):
            part = layout.part(BARS, "bars", interval=interval, venue=market_id.partition(":")[0], date=start.date())
            self.store.replace(part, frame)

    def health(self, venue: str = "kalshi", **columns: Any) -> None:
        """What a connection told of its last minute."""
        known = {
            "connection": f"{venue}/socket", "minute": self.now - timedelta(minutes=1), "frames": 30, "messages": 30,
            "applied": 29, "ignored": 1, "duplicate": 0, "dead": 0, "ignored_kinds": "{}", "rows_quotes": 20,
            "rows_trades": 9, "rows_other": 0, "bytes": 999, "reconnects": 0, "subscribed": 6, "seen": 6,
            "lag_p50_ms": 30.0, "lag_p99_ms": 44.0, "seq": next(self._numbers),
        }  # fmt: skip
        self.segment(venue, feed_health=[row(FEED_HEALTH, **known | columns)])

    def usual(self) -> "World":
        """Two markets, one of which moved; both feeds well."""
        self.markets(
            ALDER, title="Will the Aldergate dam vote pass?", event_id="kalshi:KXALDER-27", series_id="kalshi:KXALDER"
        )
        self.markets(FERRY, title="Will the ferry strike end by Friday?", slug="ferry-strike", category="sports")
        self.minutes()
        self.quote()
        self.quote(FERRY, 0.41, 0.43)
        self.trade()
        self.health()
        self.health("polymarket")
        self.board(
            move(),
            move(FERRY, 0.42, 0.5, 2, rule_then="venue_history", volume_24h_usd=5_000.0, volume_basis="observed"),
        )
        return self


def rows_of(html: str) -> int:
    """How many rows a table in `html` has, its head aside."""
    return html.count('<tr class="link"')
