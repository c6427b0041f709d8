"""Two recorded sessions of invented markets, one a venue: what a replay shows where no other recording is given.

`python tests/frames/make_session.py` writes `session/polymarket.jsonl.gz` and `session/kalshi.jsonl.gz` beside
it: a frame a line under `payload`, with the `receive_wall_ms` of its receipt. Seeded, so the same lines come out
every time. In a hundred minutes one market of each venue really moves and holds, and the others do what must not be
taken for a move: trades that bounce inside a book that stands, a wide book, an order that comes and goes, a
result. A sequence hole, a repeat, an unreadable frame and an unknown kind are in there too.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

FOLDER = Path(__file__).parent / "session"
START = 1_790_000_100_000  # milliseconds: 21 September 2026, 14:15 UTC
SECONDS = 6_000
Fair = Callable[[int], float]  # second of the session to fair price in cents


def steady(cents: float) -> Fair:
    return lambda _: cents


def climb(before: float, after: float, start: int, end: int) -> Fair:
    """Stands, moves evenly between two seconds, and stands again."""
    return lambda second: before + (after - before) * min(max((second - start) / (end - start), 0.0), 1.0)


def wave(cents: float, width: float, period: int) -> Fair:
    """Up and down by `width`, in straight lines."""
    return lambda second: cents + width * (abs((second % period) / period * 4 - 2) - 1)


@dataclass(frozen=True)
class Plan:
    """What one market does."""

    title: str
    ticker: str
    topic: str
    fair: Fair
    half: int = 1  # cents between fair price and best bid or ask
    scale: int = 1  # of all sizes
    every: int = 40  # seconds between two changes of the book, about
    trades: Callable[[int], float] = lambda _: 0.0  # chance of a trade in a second
    outcomes: tuple[str, str] = ("Yes", "No")
    spoofs: tuple[int, ...] = ()  # seconds at which an order comes for a moment
    resolved: int | None = None  # second of the result
    has_book: bool = True  # Kalshi: subscribed with its book, else its ticker alone


def busy(chance: float, start: int, end: int, before: float = 0.01) -> Callable[[int], float]:
    return lambda second: chance if start <= second < end else before


POLYMARKET = (
    Plan("Will the Meridian Strait ferry strike end by Friday?", "ferry-strike", "Politics",
         climb(30, 42, 3_400, 4_500), scale=20, every=12, trades=busy(0.35, 3_400, 4_600)),
    Plan("Will the Halcyon Bridge reopen before June?", "halcyon-bridge", "Politics",
         steady(46), every=30, trades=lambda _: 0.04),
    Plan("Salt Foxes vs Harbour Gulls: total goals", "foxes-gulls-total", "Sports",
         steady(38), half=17, every=45, trades=lambda _: 0.002, outcomes=("Over", "Under")),
    Plan("Will the Tarn Valley census pass two million?", "tarn-census", "World",
         steady(61), half=2, every=25, trades=lambda _: 0.004, spoofs=(1_800, 3_900, 5_700)),
    Plan('Will <script>alert("Larkspur")</script> =cmd() win the naming contest?', "naming-contest", "Culture",
         wave(72, 1.5, 3_000), every=22, trades=lambda _: 0.006),
    Plan("Will the Corvid Nine probe reach orbit today?", "corvid-nine", "Tech",
         climb(93, 98, 2_400, 4_600), every=25, trades=lambda _: 0.01, resolved=4_800),
)  # fmt: skip

KALSHI = (
    Plan("Will the Aldergate dam vote pass?", "KXALDERGATE-27-PASS", "Politics",
         climb(58, 67, 4_980, 5_520), scale=20, every=10, trades=busy(0.5, 4_980, 5_700)),
    Plan("Will it rain on the Quillon fair?", "KXQUILLON-26SEP21-RAIN", "Climate and Weather",
         steady(45), every=25, trades=lambda _: 0.04),
    Plan("Who will lead the Ostrava-on-Sea council?", "KXOSTRAVA-27-MARL", "Politics",
         steady(24), half=16, every=90, trades=lambda _: 0.002),
    Plan("Will the copper index close above 410?", "KXCOPPER-26SEP21-T410", "Financials",
         steady(52), half=2, every=20, trades=lambda _: 0.004, spoofs=(1_500, 4_200)),
    Plan('Will =HYPERLINK("x") & <img src=y> be named word of the year?', "KXWORD-26-HYPER", "Culture",
         wave(33, 1.5, 4_000), every=30, trades=lambda _: 0.004, has_book=False),
    Plan("Will the Greywater launch happen today?", "KXGREYWATER-26SEP21", "Science and Technology",
         climb(90, 97, 2_000, 4_400), every=30, trades=lambda _: 0.01, resolved=4_500, has_book=False),
)  # fmt: skip


@dataclass
class Book:
    """Levels of the first outcome, cents to hundredths of a contract."""

    plan: Plan
    random: Random
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)

    @property
    def best(self) -> tuple[int, int]:
        return max(self.bids, default=0), min(self.asks, default=100)

    def size(self) -> int:
        return 100 * self.plan.scale * (20 + int(self.random.random() * 60) ** 2 // 3)

    def wanted(self, second: int) -> tuple[int, int]:
        """Where bid and ask belong now."""
        fair = self.plan.fair(second)
        bid = max(1, min(97, int(fair + 0.5) - self.plan.half))
        return bid, min(99, bid + 2 * self.plan.half)

    def moved(self, second: int) -> list[tuple[bool, int, int]]:
        """Level changes `(is_bid, cents, new size)` that bring the book where it belongs; empty if it is there."""
        bid, ask = self.wanted(second)
        held = {True: self.bids, False: self.asks}
        wanted = {True: [bid - step for step in range(5)], False: [ask + step for step in range(5)]}
        gone = [
            (side, at, 0)
            for side, levels in held.items()
            for at in sorted(levels)
            if (at > bid if side else at < ask) or abs(at - (bid if side else ask)) > 7
        ]
        new = [(s, at, self.size()) for s, ats in wanted.items() for at in ats if 0 < at < 100 and at not in held[s]]
        return gone + new

    def breathed(self) -> list[tuple[bool, int, int]]:
        """One level's size changes."""
        side = self.random.random() < 0.5
        levels = self.bids if side else self.asks
        if not levels:
            return []
        best = max(levels) if side else min(levels)
        steps = int(self.random.random() * 3)
        at = best - steps if side else best + steps
        return [(side, at, self.size())] if at in levels else []

    def apply(self, changes: Iterable[tuple[bool, int, int]]) -> None:
        for side, at, size in changes:
            levels = self.bids if side else self.asks
            if size:
                levels[at] = size
            else:
                levels.pop(at, None)


class Session:
    """Frames in the order of their receipt."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.lines: list[tuple[int, str]] = []
        self.now = START
        self.count = 0

    def at(self, second: int, ms: int = 0) -> None:
        """The venue's clock; it never goes back."""
        self.now = max(self.now, START + 1000 * second + ms)

    def send(self, frame: dict[str, Any] | list[Any] | str) -> None:
        """Received some milliseconds after it was sent, and after the frame before it."""
        self.count += 1
        received = max(self.now + 15 + int(self.random.random() * 30), self.lines[-1][0] if self.lines else 0)
        self.lines.append((received, frame if isinstance(frame, str) else json.dumps(frame, separators=(",", ":"))))

    def again(self) -> None:
        """The last frame is sent twice."""
        self.send(self.lines[-1][1])

    def play(self, plans: tuple[Plan, ...], market: Callable[["Session", Plan, int], Any]) -> Iterator[int]:
        """Every second of the session, after all markets had their turn in it."""
        markets = [market(self, plan, number) for number, plan in enumerate(plans)]
        for second in range(SECONDS):
            for each in markets:
                self.at(second, int(self.random.random() * 900))
                each.turn(second)
            yield second


class Market:
    """What a market of either venue does in a second; how it is told is the venue's."""

    def __init__(self, session: Session, plan: Plan, number: int) -> None:
        self.session, self.plan, self.number = session, plan, number
        self.book = Book(plan, session.random)
        self.is_over = False
        self.book.apply(self.book.moved(0))
        self.announce()
        self.open()

    def turn(self, second: int) -> None:
        plan, chance = self.plan, self.session.random.random()
        if self.is_over:
            return
        if plan.resolved is not None and second >= plan.resolved:
            self.is_over = True
            self.resolve()
            return
        begun = next((begin for begin in plan.spoofs if begin <= second < begin + 6), None)
        if begun is not None:
            self.spoof(second - begun)
        elif chance < plan.trades(second):
            self.trade(second)
        elif chance > 1 - 1 / plan.every:
            self.change(self.book.moved(second) or self.book.breathed())

    def spoof(self, step: int) -> None:
        """A large bid just under the ask comes and is gone five seconds later."""
        bid, ask = self.book.best
        if step == 0 and ask - bid > 1:
            self.change([(True, ask - 1, 900_000)])
        elif step == 5 and self.book.bids.get(bid) == 900_000:
            self.change([(True, bid, 0)])

    def trade(self, second: int) -> None:
        """A taker hits the best bid or lifts the best ask, as the price goes; in a wide book takers only buy."""
        (bid, ask), wanted = self.book.best, self.book.wanted(second)
        if not self.book.bids or not self.book.asks:
            return
        is_even = wanted[0] == bid and (self.session.random.random() < 0.5 or self.plan.half > 5)
        is_buy = wanted[0] > bid or is_even
        levels, at = (self.book.asks, ask) if is_buy else (self.book.bids, bid)
        takes_all = wanted != (bid, ask)
        if not takes_all and levels[at] < 1_500 * self.plan.scale:
            self.change([(not is_buy, at, self.book.size())])
            return
        part = 100 * self.plan.scale * (1 + int(self.session.random.random() * 30))
        size = levels[at] if takes_all else min(levels[at] - 100, part)
        left = [(not is_buy, at, levels[at] - size)]
        after = Book(self.plan, self.session.random, dict(self.book.bids), dict(self.book.asks))
        after.apply(left)
        self.match(is_buy, at, size, left + (after.moved(second) if takes_all else []))


def dollars(cents: float, digits: int) -> str:
    return f"{cents / 100:.{digits}f}"


# --- Polymarket ------------------------------------------------------------------------------------


def contracts(size: int) -> str:
    return f"{size / 100:.2f}".rstrip("0").rstrip(".")


class PolymarketMarket(Market):
    """Both tokens are told, the second as the mirror of the first; best prices come before what changed them."""

    def announce(self) -> None:
        plan, n = self.plan, self.number
        self.native = f"0x{n + 1:02x}{'5a3c' * 15}{n + 1:02x}"
        self.tokens = tuple(f"{n + 1}{side}{'314159265358979' * 5}" for side in (1, 2))
        event = {
            "id": f"{88_000 + n}",
            "ticker": plan.ticker,
            "slug": plan.ticker,
            "title": plan.title,
            "description": "",
        }
        self.session.send({
            "id": f"{880_000 + n}", "question": plan.title, "market": self.native, "condition_id": self.native,
            "slug": plan.ticker, "description": f"{plan.title} As told by the harbour office.",
            "assets_ids": self.tokens, "clob_token_ids": self.tokens, "outcomes": plan.outcomes, "event_message": event,
            "tags": [plan.topic, "Invented"], "active": True, "order_price_min_tick_size": "0.01",
            "group_item_title": "", "sports_market_type": "", "line": "", "game_start_time": "",
            "taker_base_fee": "0", "fees_enabled": False, "timestamp": str(self.session.now),
            "event_type": "new_market",
        })  # fmt: skip

    def open(self) -> None:
        self.session.send([self._book(token, is_dump=True) for token in self.tokens])

    def resolve(self) -> None:
        self.session.send({
            "id": f"{880_000 + self.number}", "market": self.native, "assets_ids": self.tokens,
            "winning_asset_id": self.tokens[0], "winning_outcome": self.plan.outcomes[0], "event_message": None,
            "tags": [self.plan.topic], "timestamp": str(self.session.now), "event_type": "market_resolved",
        })  # fmt: skip

    def change(self, changes: list[tuple[bool, int, int]]) -> None:
        before = self.book.best
        self.book.apply(changes)
        if changes and self.book.best != before:
            for token in reversed(self.tokens):
                best = self._best(token)
                spread = dollars(self.book.best[1] - self.book.best[0], 2)
                said = {"market": self.native, "asset_id": token, "best_bid": best[0], "best_ask": best[1]}
                self._tell(said | {"spread": spread, "event_type": "best_bid_ask"})
        for change in changes:
            self._level(*change)

    def match(self, is_buy: bool, at: int, size: int, changes: list[tuple[bool, int, int]]) -> None:
        """A trade, printed on either token; the taker's order stands for an instant where it crosses the book."""
        self.book.apply(changes)
        token = int(self.session.random.random() < 0.4)
        price = dollars(100 - at if token else at, 2)
        side = "BUY" if is_buy is (token == 0) else "SELL"
        if len(changes) > 1:
            self._level(is_buy, at, 700)
        for change in changes:
            self._level(*change)
        if len(changes) > 1:
            self._level(is_buy, at, self.book.bids.get(at, 0) if is_buy else self.book.asks.get(at, 0))
        self._tell({
            "market": self.native, "asset_id": self.tokens[token], "price": price, "size": contracts(size),
            "fee_rate_bps": "0", "side": side, "transaction_hash": f"0x{self.session.count:064x}",
            "event_type": "last_trade_price",
        })  # fmt: skip
        if len(changes) > 1:
            self.session.send(self._book(self.tokens[0]))

    def _level(self, is_bid: bool, at: int, size: int) -> None:
        elements = []
        for place, token in enumerate(self.tokens):
            best = self._best(token)
            elements.append({
                "asset_id": token, "price": dollars(100 - at if place else at, 2), "size": contracts(size),
                "side": "BUY" if is_bid is (place == 0) else "SELL", "hash": f"{self.session.count:040x}",
                "best_bid": best[0], "best_ask": best[1],
            })  # fmt: skip
        self._tell({"market": self.native, "price_changes": elements, "event_type": "price_change"})

    def _best(self, token: str) -> tuple[str, str]:
        bid, ask = self.book.best if token == self.tokens[0] else (100 - at for at in reversed(self.book.best))
        return dollars(bid, 2), dollars(ask, 2)

    def _book(self, token: str, *, is_dump: bool = False) -> dict[str, Any]:
        """Levels from worst to best."""
        bids, asks = self.book.bids, self.book.asks
        if token != self.tokens[0]:
            bids, asks = ({100 - at: size for at, size in side.items()} for side in (asks, bids))
        sides = {
            name: [
                {"price": dollars(at, 2), "size": contracts(side[at])} for at in sorted(side, reverse=name == "asks")
            ]
            for name, side in (("bids", bids), ("asks", asks))
        }
        frame = {"market": self.native, "asset_id": token, "timestamp": str(self.session.now)} | sides
        frame |= {"hash": f"b{self.session.count:039x}", "event_type": "book"}
        return frame | ({"tick_size": "0.01", "last_trade_price": ""} if is_dump else {})

    def _tell(self, frame: dict[str, Any]) -> None:
        self.session.send(frame | {"timestamp": str(self.session.now)})


def polymarket() -> list[tuple[int, str]]:
    """Received milliseconds and text of each frame of the Polymarket session."""
    session, has_repeat = Session(20_260_921), False
    for second in session.play(POLYMARKET, PolymarketMarket):
        if second > 700 and not has_repeat and '"price_change"' in session.lines[-1][1]:
            session.again()
            has_repeat = True
        if second % 30 == 10:
            session.send("PONG")
        match second:
            case 1_100:
                session.send('{"market":"0x00","asset_id":"12","best_bid":"0.4')
            case 1_300:
                session.send({"event_type": "harbour_notice", "market": "0x00", "timestamp": str(session.now)})
    return session.lines


# --- Kalshi ----------------------------------------------------------------------------------------

TICKER, BOOK, TRADE, LIFE = 1, 2, 3, 4  # sids


class KalshiSession(Session):
    """Sequence numbers of each sid."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.numbers = dict.fromkeys((BOOK, TRADE, LIFE), 0)
        self.markets: list[KalshiMarket] = []
        for sid, channel in enumerate(("ticker", "orderbook_delta", "trade", "market_lifecycle_v2"), 1):
            self.send({"type": "subscribed", "id": 1, "msg": {"channel": channel, "sid": sid}})

    def tell(self, kind: str, sid: int, msg: dict[str, Any], *, is_lost: bool = False) -> None:
        frame: dict[str, Any] = {"type": kind, "sid": sid}
        if sid != TICKER:
            self.numbers[sid] += 1
            frame["seq"] = self.numbers[sid]
        if not is_lost:
            self.send(frame | {"msg": msg})


class KalshiMarket(Market):
    """Bids on both legs: a no bid at p is an ask at 1 - p; changes are signed; the ticker comes about every 20 s."""

    session: KalshiSession

    def announce(self) -> None:
        self.session.markets.append(self)
        self.volume = self.last = 0
        self.due = self.number * 3
        plan, parts = self.plan, self.plan.ticker.split("-")
        event = "-".join(parts[:2])
        title = {
            "event_ticker": event,
            "series_ticker": parts[0],
            "title": plan.title,
            "subtitle": "",
            "exchange_index": 0,
        }
        self.session.tell("event_lifecycle", LIFE, title | {"collateral_return_type": "MECNET"})
        names = {
            "name": "Yes",
            "title": plan.title,
            "yes_sub_title": "Yes",
            "no_sub_title": "Yes",
            "event_ticker": event,
        }
        rules = {"rules_primary": f"{plan.title} As told by the harbour office.", "rules_secondary": ""}
        grid = [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}]
        times = {"open_ts": START // 1000 - 86_400, "close_ts": START // 1000 + 900_000}
        self._live("created", **times, price_ranges=grid, additional_metadata=names | rules)
        self._live("activated", is_deactivated=False)

    def open(self) -> None:
        if self.plan.has_book:
            self.snapshot()

    def turn(self, second: int) -> None:
        super().turn(second)
        if second >= self.due and not self.is_over:
            self.due = second + 18 + int(self.session.random.random() * 5)
            self.ticker()

    def resolve(self) -> None:
        self._live("determined", determination_ts=self.session.now // 1000, result="yes", settlement_value="1.0000")
        self._live("settled", settled_ts=self.session.now // 1000)

    def snapshot(self) -> None:
        sides = {
            "yes_dollars_fp": [[dollars(at, 4), f"{self.book.bids[at] / 100:.2f}"] for at in sorted(self.book.bids)],
            "no_dollars_fp": [
                [dollars(100 - at, 4), f"{self.book.asks[at] / 100:.2f}"] for at in sorted(self.book.asks, reverse=True)
            ],
        }
        self.session.tell(
            "orderbook_snapshot", BOOK, {"market_ticker": self.plan.ticker, "market_id": self._id()} | sides
        )

    def change(self, changes: list[tuple[bool, int, int]], *, is_lost: bool = False) -> None:
        for is_bid, at, size in changes:
            by = size - (self.book.bids if is_bid else self.book.asks).get(at, 0)
            self.book.apply([(is_bid, at, size)])
            if self.plan.has_book and by:
                msg = {"price_dollars": dollars(at if is_bid else 100 - at, 4), "delta_fp": f"{by / 100:.2f}"}
                msg |= {"side": "yes" if is_bid else "no"}
                self._told("orderbook_delta", BOOK, msg, is_lost=is_lost)

    def match(self, is_buy: bool, at: int, size: int, changes: list[tuple[bool, int, int]]) -> None:
        self.change(changes)
        self.volume += size
        self.last = at
        side = {"taker_side": "yes", "taker_outcome_side": "yes", "taker_book_side": "bid"}
        if not is_buy:
            side = {"taker_side": "no", "taker_outcome_side": "no", "taker_book_side": "ask"}
        prices = {"yes_price_dollars": dollars(at, 4), "no_price_dollars": dollars(100 - at, 4)}
        trade_id = f"{self.session.count:08x}-0000-4000-8000-{self.number:012d}"
        self._told(
            "trade",
            TRADE,
            {"trade_id": trade_id, "count_fp": f"{size / 100:.2f}", "is_block_trade": False} | prices | side,
        )

    def ticker(self) -> None:
        (bid, ask), book = self.book.best, self.book
        quote = {"yes_bid_dollars": dollars(bid, 4), "yes_ask_dollars": dollars(ask, 4)}
        quote |= {
            "yes_bid_size_fp": f"{book.bids.get(bid, 0) / 100:.2f}",
            "yes_ask_size_fp": f"{book.asks.get(ask, 0) / 100:.2f}",
        }
        held = {"volume_fp": f"{self.volume / 100:.2f}", "open_interest_fp": f"{self.volume / 200:.2f}"}
        self._told("ticker", TICKER, {"price_dollars": dollars(self.last, 4)} | quote | held)

    def _told(self, kind: str, sid: int, msg: dict[str, Any], *, is_lost: bool = False) -> None:
        now = self.session.now
        stamp = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ts = {"ts": stamp if kind == "orderbook_delta" else now // 1000, "ts_ms": now}
        msg = {"market_ticker": self.plan.ticker, "market_id": self._id()} | msg | ts
        self.session.tell(kind, sid, msg, is_lost=is_lost)

    def _live(self, step: str, **fields: Any) -> None:
        msg = {"market_ticker": self.plan.ticker, "event_type": step} | fields
        self.session.tell("market_lifecycle_v2", LIFE, msg)

    def _id(self) -> str:
        return f"{self.number:08d}-1111-4111-8111-111111111111"


def kalshi() -> list[tuple[int, str]]:
    """Received milliseconds and text of each frame of the Kalshi session."""
    session, has_repeat = KalshiSession(20_260_922), False
    for second in session.play(KALSHI, KalshiMarket):
        books = [market for market in session.markets if market.plan.has_book]
        if second > 700 and not has_repeat and '"orderbook_delta"' in session.lines[-1][1]:
            session.again()
            has_repeat = True
        match second:
            case 1_100:
                session.send('{"type":"ticker","sid":1,"msg":{"market_ticker":')
            case 1_300:
                session.send({"type": "harbour_notice", "sid": TICKER, "msg": {"text": "high water"}})
            case 3_000:  # a delta of the first market is lost; the next number shows it
                books[0].change([(True, min(books[0].book.bids), 12_300)], is_lost=True)
                books[1].change([(True, min(books[1].book.bids), 4_500)])
            case 3_004:
                for market in books:
                    market.snapshot()
    return session.lines


# --- files -----------------------------------------------------------------------------------------


def text(lines: Iterable[tuple[int, str]]) -> bytes:
    """The recording's lines."""
    rows = ({"receive_wall_ms": received, "payload": payload} for received, payload in lines)
    return b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)


END = 1_790_006_100_000
"""When both recordings stop, in milliseconds: each has a last word of no market then."""

LAST = {"polymarket": "PONG", "kalshi": '{"type":"ok","id":9,"msg":[]}'}

SESSIONS: dict[str, Callable[[], list[tuple[int, str]]]] = {"polymarket": polymarket, "kalshi": kalshi}


def main() -> None:
    """Write both sessions."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in SESSIONS.items():
        lines = [*make(), (END, LAST[name])]
        path = FOLDER / f"{name}.jsonl.gz"
        path.write_bytes(gzip.compress(text(lines), compresslevel=9, mtime=0))
        print(f"{path}: {len(lines)} frames, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
