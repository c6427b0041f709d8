"""Which markets are followed: all that are open, or the most traded, of the categories asked for; and those named.

What was chosen is looked at again and again. One that is followed stays while it is among somewhat more than the most
traded, so that markets at the edge do not come and go; and new listings have their time to be found by traders.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import Any, Final, NamedTuple

from flows.collector.versions import Versions
from flows.venues.base import Stats
from lake.clock import DAY_US, HOUR_US
from lake.settings import Settings
from lake.text import safe_text
from lake.vocab import MarketStatus, Mode, Venue

DEFAULT_TOP: Final = 2_000
NEWCOMERS: Final = 10  # of `top:N`, one in so many more may be added as they are listed
EDGE: Final = 5  # and one in so many more stay that were among them

YOUNG_US: Final = HOUR_US
"""A listing that is followed stays for so long, whatever is traded."""

NEW_US: Final = DAY_US
"""What was listed before that is no newcomer."""

LONG_OVER_US: Final = 30 * DAY_US
"""A market that closed so long ago and has no result is asked for no more."""

SLICE: Final = 500  # markets that are looked at before others have their turn
NAMES_TOLD: Final = 20

COMBO: Final = "KXMVE"
"""Tickers of combinations begin so: users mint them without end, and hardly any trades."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A market that can be followed."""

    market: int
    native_id: str
    tokens: tuple[str, ...]  # the first outcome's first; none on Kalshi
    volume: float  # of a day, in the venue's own unit
    listed_time: int | None  # microseconds


class Choice(NamedTuple):
    """What is to be followed besides what is, and what no longer."""

    add: list[Listed]
    drop: list[int]


@dataclass(frozen=True, slots=True)
class Rule:
    """`top` most traded of a venue, None = all; `watched` ids in any case.

    Of categories and tags, in lower case, one has to be among `within` if that is not empty, and none among `without`.
    """

    top: int | None
    watched: frozenset[str]
    within: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()

    def most(self, chosen: int) -> int | None:
        """How many may be followed, where `chosen` are at the start, with those that are listed later; None = any."""
        return None if self.top is None else max(self.top, chosen) + max(1, self.top // NEWCOMERS)

    @property
    def staying(self) -> int | None:
        """Rank up to which a market stays that is followed; None = any."""
        return None if self.top is None else self.top + max(1, self.top // EDGE)

    def choose(self, found: Iterable[Listed], venue: Venue) -> list[Listed]:
        """Those to follow, the most traded first."""
        ranked = sorted(found, key=_rank)
        if self.top is None:
            return ranked
        rest = (one for one in ranked[self.top :] if self.is_watched(one, venue))
        return [*ranked[: self.top], *rest]

    def choose_again(
        self, found: Iterable[Listed], followed: Mapping[int, Listed], refused: Collection[int], venue: Venue, now: int
    ) -> Choice:
        """What changes, where `followed` are followed at `now`, microseconds.

        `found` are the open markets, of `top:N` at least the first `staying`. Of those that are followed and not in
        there, only the `refused` go, whose categories are not asked for: the rest may be closing.
        """
        ranked = sorted(found, key=_rank)
        add = [one for one in self.choose(ranked, venue) if one.market not in followed]
        drop = [market for market in followed if market in refused]
        if self.staying is not None:
            low = (followed.get(one.market) for one in ranked[self.staying :])
            drop += [
                one.market
                for one in low
                if one is not None
                and not self.is_watched(one, venue)
                and (one.listed_time is None or now - one.listed_time >= YOUNG_US)
            ]
        return Choice(add, drop)

    def is_watched(self, one: Listed, venue: Venue) -> bool:
        """Whether it was named, with or without its venue."""
        return not self.watched.isdisjoint((one.native_id, f"{venue.value}:{one.native_id}"))

    def allows(self, fields: Mapping[str, Any]) -> bool:
        """Whether a market of these `schema.MARKETS` columns is of a category that is asked for."""
        if not self.within and not self.without:
            return True
        names = {name.lower() for name in (fields.get("category"), *(fields.get("tags") or ())) if name}
        return names.isdisjoint(self.without) and (not self.within or not names.isdisjoint(self.within))


def rule_of(settings: Settings) -> Rule:
    """The rule in force: live the most traded, simulated all, unless it is set."""
    text = settings.collector_universe or ("all" if settings.collector_mode is Mode.SIMULATED else f"top:{DEFAULT_TOP}")
    top = None if text == "all" else int(text.removeprefix("top:"))
    within, without = settings.collector_categories, settings.collector_categories_out
    return Rule(top, frozenset(settings.collector_watch), _lower(within), _lower(without))


def listed(markets: Iterable[tuple[int, Mapping[str, Any]]], stats: Mapping[int, Stats], venue: Venue) -> list[Listed]:
    """The open markets of `venue` among newest versions of `schema.MARKETS`."""
    found = (entry(market, fields, stats.get(market), venue) for market, fields in markets)
    return [one for one in found if one is not None]


def entry(market: int, fields: Mapping[str, Any], stats: Stats | None, venue: Venue) -> Listed | None:
    """The market if it is open, of that venue, and can be subscribed to."""
    of, _, native_id = str(fields.get("market_id") or "").partition(":")
    if of != venue.value or fields.get("status") not in _OPEN or native_id.startswith(COMBO):
        return None
    tokens: Collection[str] = fields.get("outcome_token_ids") or ()
    if venue is Venue.POLYMARKET and len(tokens) != 2:
        return None
    return Listed(market, native_id, tuple(tokens), _volume(stats), fields.get("listed_time"))


def is_new(one: Listed, now: int) -> bool:
    """Whether it was listed lately, as far as anybody said."""
    return one.listed_time is None or now - one.listed_time < NEW_US


# --- looking at all that is known -----------------------------------------------------------------


@dataclass(slots=True)
class Survey:
    """What is known of a venue's markets."""

    listed: list[Listed] = field(default_factory=list)  # open and allowed; of top:N those that may matter
    open: int = 0
    refused: set[int] = field(default_factory=set)  # of those asked for, open ones of categories that are not
    overdue: dict[int, str] = field(default_factory=dict)  # market to native id: past its close, without a result
    unseen: dict[int, str] = field(default_factory=dict)  # open as far as we know, and no walk came by them
    names: Counter[str] = field(default_factory=Counter)  # categories and tags of open markets, in lower case
    categories: Counter[str] = field(default_factory=Counter)


async def survey(
    markets: Versions,
    stats: Mapping[int, Stats],
    venue: Venue,
    rule: Rule,
    now: int,
    *,
    followed: Collection[int] = (),
    seen: Collection[int] | None = None,
) -> Survey:
    """Look at every market of the venue, some hundred at a time, so that nothing else waits for it.

    `seen` are those that a walk of the whole catalogue named, None = there was none. `now` in microseconds.
    """
    found, heap = Survey(), list[tuple[float, "_Backwards", Listed]]()
    keeps_names = bool(rule.within or rule.without)
    for count, (market, fields) in enumerate(markets.starting(f"{venue.value}:"), 1):
        if count % SLICE == 0:
            await asyncio.sleep(0)
        if _is_overdue(fields, now):
            found.overdue[market] = _native(fields)
        one = entry(market, fields, stats.get(market), venue)
        if one is None:
            continue
        found.open += 1
        if keeps_names:
            _count(found, fields)
        if seen is not None and market not in seen:
            found.unseen[market] = one.native_id
            continue
        is_watched = rule.is_watched(one, venue)
        if not is_watched and not rule.allows(fields):
            if market in followed:
                found.refused.add(market)
        elif rule.staying is None or is_watched or market in followed:
            found.listed.append(one)
        else:
            push = heappush if len(heap) < rule.staying else heappushpop
            push(heap, (one.volume, _Backwards(one.native_id), one))
    found.listed += [one for *_, one in heap]
    return found


def unknown_names(rule: Rule, found: Survey, venue: Venue) -> list[str]:
    """A line for each setting that names what no open market of the venue has, with what there is."""
    there = ", ".join(safe_text(name, 60) for name, _ in found.categories.most_common(NAMES_TOLD)) or "none yet"
    lines = []
    for setting, names in (("COLLECTOR_CATEGORIES", rule.within), ("COLLECTOR_CATEGORIES_OUT", rule.without)):
        odd = ", ".join(sorted(name for name in names if name not in found.names))
        if odd:
            lines.append(f"{setting}: no open market of {venue.value} has {odd}; its categories are: {there}")
    return lines


class _Backwards(str):
    """A text that sorts the other way round: of equal volumes the first name is the better one."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


_OPEN: Final = (MarketStatus.ACTIVE.value, MarketStatus.INITIALIZED.value)


def _rank(one: Listed) -> tuple[float, str]:
    return -one.volume, one.native_id


def _volume(stats: Stats | None) -> float:
    if stats is None:
        return 0.0
    return stats.volume_24h_usd or stats.volume_24h_contracts or 0.0


def _native(fields: Mapping[str, Any]) -> str:
    return str(fields.get("market_id") or "").partition(":")[2]


def _is_overdue(fields: Mapping[str, Any], now: int) -> bool:
    """Whether it is past its close, and nobody has said how it ended."""
    close, status = fields.get("close_time"), fields.get("status")
    if status == MarketStatus.RESOLVED or _native(fields).startswith(COMBO):
        return False
    if close is None:
        return status in _PENDING
    return 0 <= now - close < LONG_OVER_US or (status in _PENDING and close > now)


_PENDING: Final = (MarketStatus.CLOSED.value, MarketStatus.PROPOSED.value, MarketStatus.DISPUTED.value)


def _count(found: Survey, fields: Mapping[str, Any]) -> None:
    category = fields.get("category")
    if category:
        found.categories[category] += 1
    found.names.update({name.lower() for name in (category, *(fields.get("tags") or ())) if name})


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)
