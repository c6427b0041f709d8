"""What is not known of the venues, and what a capture saw of it: the open questions of their protocols, each answered.

An answer is a line; None where the capture has nothing to say, because nothing of it came or nobody asked.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from flows.collector.census import Census, Lane, spread
from flows.collector.probes import Seen
from flows.collector.universe import COMBO
from flows.venues.base import Wire
from lake.clock import SECOND_US
from lake.text import safe_text
from lake.vocab import Venue


class Question(NamedTuple):
    """A question and what was seen; None = nothing."""

    venue: Venue
    question: str
    seen: str | None


def answered(census: Census, last: Mapping[tuple[Venue, str], Seen], asked: Mapping[str, int]) -> list[Question]:
    """All of both venues, in a fixed order; `last` has the last answer of each probe."""
    poly = {name: lane for name, lane in census.lanes.items() if lane.wire is Wire.POLYMARKET_SOCKET}
    kal = {name: lane for name, lane in census.lanes.items() if lane.wire is Wire.KALSHI_SOCKET}

    def probe(venue: Venue, name: str) -> Seen | None:
        return last.get((venue, name))

    here, there = Venue.POLYMARKET, Venue.KALSHI
    return [
        Question(here, "tokens a socket takes", _tokens(poly, asked)),
        Question(here, "whether sockets freeze", _silence(poly.values())),
        Question(here, "what `level` of a subscription changes", None),
        Question(here, "whether pages by offset still work", _count(probe(here, "offset_page"))),
        Question(here, "the meaning of p in histories", _points(probe(here, "history"))),
        Question(here, "whether one token's subscription tells of its twin", None),
        Question(here, "the most events on a page", _count(probe(here, "keyset_500"), "events")),
        Question(here, "ids under the names of the second version", _aliases(census)),
        Question(here, "what /time answers", _whole(probe(here, "time"))),
        Question(here, "what /last-trade-price answers for the least traded", _whole(probe(here, "last_trade"))),
        Question(there, "prices of the no side with use_yes_price", _scales(kal.values())),
        Question(there, "pause between two tickers of a market", _paces(kal.values())),
        Question(there, "combos among the markets of a socket", _combos(kal.values())),
        Question(there, "markets a subscription takes", _tokens(kal, asked)),
        Question(there, "numbers on messages of a market's life", _numbered(kal.values(), "market_lifecycle_v2")),
        Question(there, "what a request costs", _whole(probe(there, "endpoint_costs"))),
        Question(there, "whether filters by time are obeyed", _filtered(probe(there, "time_filter"))),
        Question(there, "the most markets on a page", _count(probe(there, "markets_1000"), "markets")),
        Question(there, "how far the live tier goes back", _whole(probe(there, "cutoff"))),
        Question(there, "whether a signed handshake is accepted", _opened(kal.values())),
    ]


def _tokens(lanes: Mapping[str, Lane], asked: Mapping[str, int]) -> str | None:
    told = [
        f"{name}: asked {asked[name]:,}, heard of {len(lane.seen):,}, whole books of {len(lane.books):,}"
        for name, lane in lanes.items()
        if name in asked and lane.frames
    ]
    return "; ".join(told) or None


def _silence(lanes: Iterable[Lane]) -> str | None:
    longest = max((lane.longest_silence for lane in lanes if lane.last_data is not None), default=None)
    return None if longest is None else f"the longest silence between data was {longest / SECOND_US:.1f} s"


def _count(seen: Seen | None, key: str = "") -> str | None:
    if seen is None:
        return None
    if seen.error:
        return f"refused: {seen.error}"
    items = seen.value.get(key) if key and isinstance(seen.value, dict) else seen.value
    return f"{len(items):,} came" if isinstance(items, list) else None


def _points(seen: Seen | None) -> str | None:
    points = seen.value.get("history") if seen is not None and isinstance(seen.value, dict) else None
    if not isinstance(points, list) or not points:
        return None
    return f"{len(points):,} points, the last {safe_text(str(points[-1]), 60)}; compare with that minute's quotes"


def _whole(seen: Seen | None) -> str | None:
    if seen is None:
        return None
    return f"refused: {seen.error}" if seen.error else safe_text(str(seen.value), 200)


def _aliases(census: Census) -> str | None:
    found = [
        f"{name} {n:,}" + (f" (as in {census.id_examples[name]})" if name in census.id_examples else "")
        for name, n in sorted(census.ids.items())
        if name.partition(".")[2] in ("token_id", "condition_id", "clob_token_ids", "asset_id")
    ]
    return "; ".join(found) or None


def _scales(lanes: Iterable[Lane]) -> str | None:
    told = [f"{name} in {n:,} snapshots" for lane in lanes for name, n in lane.scales.most_common()]
    return ", ".join(told) or None


def _paces(lanes: Iterable[Lane]) -> str | None:
    pauses: list[Any] = [pause for lane in lanes for pause in lane.pauses]
    found = spread(pauses)
    return None if not pauses else f"median {found['p50']:,.0f} ms of {len(pauses):,}, shortest {min(pauses):,} ms"


def _combos(lanes: Iterable[Lane]) -> str | None:
    names = [name for lane in lanes for name in lane.seen]
    return f"{sum(name.startswith(COMBO) for name in names):,} of {len(names):,}" if names else None


def _numbered(lanes: Iterable[Lane], kind: str) -> str | None:
    each = list(lanes)
    total, numbered = sum(lane.kinds[kind] for lane in each), sum(lane.numbered[kind] for lane in each)
    return f"{numbered:,} of {total:,} have one" if total else None


def _filtered(seen: Seen | None) -> str | None:
    if seen is None or seen.error or not isinstance(seen.value, dict):
        return _count(seen)
    found = seen.value.get("markets") or []
    return "yes: nothing came for tomorrow" if not found else f"no: {len(found):,} markets came for tomorrow"


def _opened(lanes: Iterable[Lane]) -> str | None:
    opens = sum(lane.opens for lane in lanes)
    return f"yes, {opens:,} times" if opens else None
