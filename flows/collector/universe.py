"""Which markets are followed: all that are open, or the most traded, and those that are named."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flows.venues.base import Stats
from lake.settings import Settings
from lake.vocab import MarketStatus, Mode, Venue

DEFAULT_TOP: Final = 2_000
NEWCOMERS: Final = 10  # of `top:N`, one in so many more may be added as they are listed

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


@dataclass(frozen=True, slots=True)
class Rule:
    """`top` most traded of a venue, None = all; `watched` ids in any case."""

    top: int | None
    watched: frozenset[str]

    def most(self, chosen: int) -> int | None:
        """How many may be followed, where `chosen` are at the start, with those that are listed later; None = any."""
        return None if self.top is None else max(self.top, chosen) + max(1, self.top // NEWCOMERS)

    def choose(self, found: Iterable[Listed], venue: Venue) -> list[Listed]:
        """Those to follow, the most traded first."""
        ranked = sorted(found, key=lambda one: (-one.volume, one.native_id))
        if self.top is None:
            return ranked
        rest = (one for one in ranked[self.top :] if self.is_watched(one, venue))
        return [*ranked[: self.top], *rest]

    def is_watched(self, one: Listed, venue: Venue) -> bool:
        """Whether it was named, with or without its venue."""
        return not self.watched.isdisjoint((one.native_id, f"{venue.value}:{one.native_id}"))


def rule_of(settings: Settings) -> Rule:
    """The rule in force: live the most traded, simulated all, unless it is set."""
    text = settings.collector_universe or ("all" if settings.collector_mode is Mode.SIMULATED else f"top:{DEFAULT_TOP}")
    top = None if text == "all" else int(text.removeprefix("top:"))
    return Rule(top, frozenset(settings.collector_watch))


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


_OPEN: Final = (MarketStatus.ACTIVE.value, MarketStatus.INITIALIZED.value)


def _volume(stats: Stats | None) -> float:
    if stats is None:
        return 0.0
    return stats.volume_24h_usd or stats.volume_24h_contracts or 0.0
