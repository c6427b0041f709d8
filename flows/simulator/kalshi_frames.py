"""Kalshi's messages, made from the model; the envelope with `sid` and `seq` is each subscription's own.

A book holds bids on both legs. By default a no bid stands in its own leg's price, so a yes ask at p is a no bid at
1 - p; with `use_yes_price` the no side carries the yes scale. Source: AsyncAPI, trade-api/ws/v2.
"""

from functools import lru_cache
from typing import Any, Final

from flows.simulator.base import Book, Figures, Happening, Market
from flows.simulator.wire import ONE, count, dollars, encode, iso, seconds, uuid_of

GRID_NAMES: Final = {10_000: "linear_cent", 1_000: "deci_cent"}


@lru_cache(maxsize=1 << 16)
def market_uuid(ticker: str) -> str:
    """The venue's other id of a market."""
    return uuid_of("market", ticker)


def outcome(is_yes: bool) -> str:
    """The word for a side."""
    return "yes" if is_yes else "no"


def price_grid(market: Market) -> dict[str, Any]:
    """The steps that prices go by."""
    return {
        "price_level_structure": GRID_NAMES.get(market.tick, "custom"),
        "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": dollars(market.tick)}],
    }


def ladder(book: Book, is_yes: bool, *, is_yes_scale: bool = False) -> list[tuple[str, str]]:
    """A leg's bids, the best last."""
    if is_yes:
        return [(dollars(price), count(size)) for price, size in reversed(book.bids)]
    return [(dollars(price if is_yes_scale else ONE - price), count(size)) for price, size in reversed(book.asks)]


def snapshot(market: Market, book: Book, *, is_yes_scale: bool) -> bytes:
    """A whole book; the key of an empty side is left out."""
    told: dict[str, Any] = {"market_ticker": market.native_id, "market_id": market_uuid(market.native_id)}
    if book.bids:
        told["yes_dollars_fp"] = ladder(book, True)
    if book.asks:
        told["no_dollars_fp"] = ladder(book, False, is_yes_scale=is_yes_scale)
    return encode(told)


def delta(market: Market, time: int, level: tuple[bool, int, int], *, is_yes_scale: bool) -> bytes:
    """A level's signed change."""
    is_yes, price, change = level
    return encode(
        {
            "market_ticker": market.native_id,
            "market_id": market_uuid(market.native_id),
            "price_dollars": dollars(price if is_yes or is_yes_scale else ONE - price),
            "delta_fp": count(change),
            "side": outcome(is_yes),
            "ts": iso(time),
            "ts_ms": time // 1_000,
        }
    )


def deltas(happening: Happening, before: Book) -> list[tuple[bool, int, int]]:
    """The levels of a BOOK as signed changes; those that change nothing are none."""
    old = {(True, price): size for price, size in before.bids} | {(False, price): size for price, size in before.asks}
    changes = [(is_bid, price, size - old.get((is_bid, price), 0)) for is_bid, price, size in happening.levels]
    return [change for change in changes if change[2]]


def trade(happening: Happening) -> bytes:
    """One execution."""
    side = outcome(happening.is_buy)
    return encode(
        {
            "trade_id": happening.trade_id,
            "market_ticker": happening.market.native_id,
            "yes_price_dollars": dollars(happening.price),
            "no_price_dollars": dollars(ONE - happening.price),
            "count_fp": count(happening.size),
            "taker_side": side,
            "taker_outcome_side": side,
            "taker_book_side": "bid" if happening.is_buy else "ask",
            "is_block_trade": False,
            "ts": seconds(happening.time),
            "ts_ms": happening.time // 1_000,
        }
    )


def top(book: Book) -> dict[str, str]:
    """Best prices and sizes; 0 and 1 with size 0 where there is none."""
    bid, bid_size = book.bids[0] if book.bids else (0, 0)
    ask, ask_size = book.asks[0] if book.asks else (ONE, 0)
    return {
        "yes_bid_dollars": dollars(bid),
        "yes_ask_dollars": dollars(ask),
        "yes_bid_size_fp": count(bid_size),
        "yes_ask_size_fp": count(ask_size),
    }


def ticker(market: Market, book: Book, figures: Figures, last_size: int, time: int) -> bytes:
    """Best prices and figures, as told about once a second; dollars here are half a dollar a contract."""
    return encode(
        {
            "market_ticker": market.native_id,
            "market_id": market_uuid(market.native_id),
            "price_dollars": dollars(book.last_trade or 0),
            **top(book),
            "last_trade_size_fp": count(last_size),
            "volume_fp": count(figures.volume),
            "open_interest_fp": count(figures.open_interest),
            "dollar_volume": figures.volume // (2 * ONE),
            "dollar_open_interest": figures.open_interest // (2 * ONE),
            "ts": seconds(time),
            "ts_ms": time // 1_000,
            "time": iso(time),
        }
    )


def created(market: Market) -> bytes:
    """A new market."""
    return encode(
        {
            "market_ticker": market.native_id,
            "event_type": "created",
            "open_ts": seconds(market.listed),
            "close_ts": seconds(market.close),
            "exchange_index": 0,
            **price_grid(market),
            "additional_metadata": {
                "name": market.label,
                "title": market.title,
                "yes_sub_title": market.label,
                "no_sub_title": market.label,
                "rules_primary": rules(market),
                "rules_secondary": "",
                "can_close_early": True,
                "event_ticker": market.event.native_id,
                "expected_expiration_ts": seconds(market.determined),
            },
        }
    )


def determined(market: Market) -> bytes:
    """A result."""
    return encode(
        {
            "market_ticker": market.native_id,
            "event_type": "determined",
            "determination_ts": seconds(market.determined),
            "result": outcome(market.winner == 0),
            "settlement_value": dollars(ONE if market.winner == 0 else 0),
        }
    )


def settled(market: Market) -> bytes:
    """The end of a market."""
    return encode({"market_ticker": market.native_id, "event_type": "settled", "settled_ts": seconds(market.gone)})


def activity(market: Market, is_active: bool) -> bytes:
    """A pause, or its end."""
    kind = "activated" if is_active else "deactivated"
    return encode({"market_ticker": market.native_id, "event_type": kind, "is_deactivated": not is_active})


def close_date(market: Market) -> bytes:
    """A new close."""
    told = {"market_ticker": market.native_id, "event_type": "close_date_updated", "close_ts": seconds(market.close)}
    return encode(told)


def metadata(market: Market) -> bytes:
    """A new label."""
    told = {"market_ticker": market.native_id, "event_type": "metadata_updated", "yes_sub_title": market.label}
    return encode(told)


def event_fee(market: Market, multiplier: float | None) -> bytes:
    """New fees of an event; None = those of its series again."""
    kind = None if multiplier is None else "quadratic"
    told = {"event_ticker": market.event.native_id, "fee_type_override": kind, "fee_multiplier_override": multiplier}
    return encode(told)


def event_created(market: Market) -> bytes:
    """A new event."""
    event = market.event
    return encode(
        {
            "event_ticker": event.native_id,
            "series_ticker": event.series,
            "title": event.title,
            "subtitle": "",
            "collateral_return_type": collateral(market),
            "exchange_index": 0,
        }
    )


def collateral(market: Market) -> str:
    """How stakes in an event's markets count against each other."""
    return "MECNET" if market.event.is_exclusive else ""


def rules(market: Market) -> str:
    """What decides it."""
    return f"If so it is, the market resolves to Yes: {market.title}"
