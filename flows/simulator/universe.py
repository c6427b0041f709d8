"""Which markets there are, and when: families of events, the slots of their markets, and turns.

A slot is a place for one market of one venue after the other; the market in it is that of a turn, which begins where
the turn before ends. A family's markets on both venues follow one latent each. All by hashes of (seed, family, turn).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import numpy as np

from flows.simulator.base import Event, Market
from flows.simulator.chance import Ints, digest, number, share
from flows.simulator.kinds import EventKind, kind_of
from flows.simulator.wording import code, slug, topic_of, words
from lake.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, from_us
from lake.vocab import Venue

CENT: Final = 10_000
MILL: Final = 1_000
BACK: Final = 3
"""A turn's markets are gone before the third turn after it ends."""

_TURN_BITS: Final = 36
_FIRST_ID: Final = 1_577_836_800 * SECOND_US  # 2020
_ID_STEP: Final = 5 * MINUTE_US
_GAMMA_TAGS: Final = {
    "Climate and Weather": "Weather",
    "Economics": "Economy",
    "Entertainment": "Culture",
    "Science and Technology": "Tech",
    "Companies": "Finance",
}


Asked = tuple[str, str, tuple[str, str]]
"""Question, label and outcomes."""


@dataclass(frozen=True, slots=True)
class Family:
    """Events of one kind, one a turn, on one venue or both."""

    place: int
    kind: EventKind
    period: int  # microseconds
    phase: int  # when turn 0 begins
    members: int
    venues: tuple[Venue, ...]
    first_slot: int  # members of the first venue, then those of the second
    first_latent: int

    def span(self, turn: int) -> tuple[int, int]:
        """When the turn's markets are listed and close."""
        return self.phase + turn * self.period, self.phase + (turn + 1) * self.period


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for markets: one member of a family on one venue."""

    place: int
    family: Family
    member: int
    venue: Venue
    twin: int | None  # the slot of the same member on the other venue


class Universe:
    """All slots, and the market of each in each turn."""

    def __init__(self, seed: int, markets: int) -> None:
        self.seed = seed
        self.families: list[Family] = []
        self.slots: list[Slot] = []
        while len(self.slots) < markets:
            self._add_family(markets - len(self.slots))
        self._series = {f"KX{family.kind.code}{_letters(family.place)}": family for family in self.families}
        self.period: Ints = np.array([slot.family.period for slot in self.slots])
        self.phase: Ints = np.array([slot.family.phase for slot in self.slots])
        self.event = lru_cache(4 * markets + 4_096)(self._event)
        self.ends = lru_cache(8 * markets + 4_096)(self._ends)

    @property
    def latents(self) -> int:
        """How many latents drive the slots."""
        last = self.families[-1]
        return last.first_latent + last.members

    def turns(self, at: int) -> Ints:
        """The turn of each slot at that time."""
        return (at - self.phase) // self.period

    def find(self, venue: Venue, native_id: str) -> tuple[int, int] | None:
        """Slot and turn of the market of that id, of whatever time."""
        found = self._decoded(native_id) if venue is Venue.POLYMARKET else self._named(native_id)
        for place, turn in found:
            slot = self.slots[place]
            if slot.venue is venue and self.native_id(slot, turn) == native_id:
                return place, turn
        return None

    def _add_family(self, room: int) -> None:
        place = len(self.families)
        kind = kind_of(place)
        venues = self._venues(place, room)
        few, many = kind.members
        members = min(few + number(self.seed, "members", place) % (many - few + 1), room // len(venues))
        period = kind.periods[number(self.seed, "period", place) % len(kind.periods)]
        is_short = period < DAY_US
        phase = 0 if is_short else HOUR_US * (number(self.seed, "phase", place) % (period // HOUR_US))
        family = Family(place, kind, period, phase, members, venues, len(self.slots), self.latents if place else 0)
        self.families.append(family)
        for member in range(members * len(venues)):
            slot = len(self.slots)
            twin = None if len(venues) == 1 else slot + (members if member < members else -members)
            self.slots.append(Slot(slot, family, member % members, venues[member // members], twin))

    def _venues(self, place: int, room: int) -> tuple[Venue, ...]:
        if place % 8 == 2 and room >= 2:
            return Venue.POLYMARKET, Venue.KALSHI
        return (Venue.POLYMARKET if share(self.seed, "venue", place) < 0.53 else Venue.KALSHI,)

    def _ends(self, family: int, turn: int) -> tuple[int, int, int, int]:
        """Listed, close, determined, gone."""
        listed, close = self.families[family].span(turn)
        chance = share(self.seed, "determined", family, turn)
        determined = close + int((20 + 160 * chance**2) * SECOND_US)
        lingers = min(self.families[family].period, HOUR_US)
        return listed, close, determined, determined + int(lingers * (0.5 + share(self.seed, "gone", family, turn)))

    def _event(self, family_place: int, turn: int, venue: Venue) -> tuple[Event, tuple[Asked, ...]]:
        """The event, and what each of its members asks."""
        family = self.families[family_place]
        kind, letters = family.kind, _letters(family.place)
        listed, close = family.span(turn)
        is_polymarket = venue is Venue.POLYMARKET
        topic = topic_of(kind, self.seed, family.place, turn, family.members, listed, close)
        said = words(topic, is_polymarket)
        ticker = f"KX{kind.code}{letters}"
        recurring = slug(f"{kind.tags[0]} {letters}") if kind.periods[0] <= DAY_US else ""
        gamma_id = str(self._number(family.first_slot, listed))
        event = Event(
            venue=venue,
            native_id=gamma_id if is_polymarket else f"{ticker}-{_ticker_day(from_us(close))}",
            series=recurring if is_polymarket else ticker,
            slug=f"{slug(said.title)}-{letters.lower()}{turn % 1_000_000}",
            title=said.title,
            category=kind.category,
            tags=_tags(kind, is_polymarket),
            is_exclusive=kind.is_exclusive and family.members > 1,
            listed=listed,
            close=close,
        )
        return event, tuple(zip(said.questions, said.labels, said.outcomes, strict=True))

    def market(self, slot_place: int, turn: int, winner: int) -> Market:
        """The market of a slot in a turn; who wins is told by its path."""
        slot = self.slots[slot_place]
        event, members = self.event(slot.family.place, turn, slot.venue)
        question, label, outcomes = members[slot.member]
        listed, close, determined, gone = self.ends(slot.family.place, turn)
        is_polymarket = slot.venue is Venue.POLYMARKET
        return Market(
            venue=slot.venue,
            native_id=self.native_id(slot, turn),
            number=self._number(slot_place, listed),
            tokens=self._tokens(slot_place, turn) if is_polymarket else ("", ""),
            event=event,
            title=question,
            label=label,
            outcomes=outcomes,
            slug=f"{event.slug}-{slug(label)[:24]}-{slot.member}",
            tick=self.tick(slot),
            listed=listed,
            close=close,
            determined=determined,
            gone=gone,
            winner=winner,
            twin=None if slot.twin is None else self.native_id(self.slots[slot.twin], turn),
        )

    def tick(self, slot: Slot) -> int:
        """The smallest price step of a slot's markets."""
        fine = 0.3 if slot.venue is Venue.POLYMARKET else 0.08
        return MILL if share(self.seed, "tick", slot.family.place, slot.venue) < fine else CENT

    def native_id(self, slot: Slot, turn: int) -> str:
        """A condition id that holds slot and turn under a mask of its own digits, or a ticker."""
        if slot.venue is Venue.POLYMARKET:
            name = digest(self.seed, "condition", slot.place, turn)[:24]
            masked = (slot.place << _TURN_BITS | turn) ^ int.from_bytes(name[:8], "big")
            return f"0x{name.hex()}{masked:016x}"
        event, members = self.event(slot.family.place, turn, slot.venue)
        return f"{event.native_id}-{code(members[slot.member][1])}{slot.member}"

    def _decoded(self, condition: str) -> Iterator[tuple[int, int]]:
        try:
            raw = bytes.fromhex(condition.removeprefix("0x"))
        except ValueError:
            return
        if len(raw) == 32:
            both = int.from_bytes(raw[24:], "big") ^ int.from_bytes(raw[:8], "big")
            slot, turn = both >> _TURN_BITS, both & (1 << _TURN_BITS) - 1
            if slot < len(self.slots) and turn * self.slots[slot].family.period < 2**60:
                yield slot, turn

    def _named(self, ticker: str) -> Iterator[tuple[int, int]]:
        series, day, *_ = [*ticker.split("-"), "", ""]
        family = self._series.get(series)
        close = _close_of(day)
        if family is not None and close is not None and Venue.KALSHI in family.venues:
            first = family.first_slot + (len(family.venues) - 1) * family.members
            turn = (close - family.phase) // family.period - 1
            yield from ((first + member, turn) for member in range(family.members))

    def _number(self, slot: int, listed: int) -> int:
        """Rises with the time of listing."""
        return (listed - _FIRST_ID) // _ID_STEP * len(self.slots) + slot

    def _tokens(self, slot: int, turn: int) -> tuple[str, str]:
        first, second = (int.from_bytes(digest(self.seed, "token", slot, turn, side), "big") for side in (0, 1))
        return str(first), str(second)


def _tags(kind: EventKind, is_polymarket: bool) -> tuple[str, ...]:
    """Labels; Polymarket has its own words for some categories, and those come with ours."""
    own = _GAMMA_TAGS.get(kind.category)
    return (kind.category, own, *kind.tags) if own and is_polymarket else (kind.category, *kind.tags)


def _letters(place: int) -> str:
    """A family's place in letters: 0 is AA, 1 is AB."""
    high, low = divmod(place, 26)
    return (_letters(high - 26) if high >= 26 else chr(65 + high)) + chr(65 + low)


def _ticker_day(day: datetime) -> str:
    return f"{day:%y%b%d%H%M}".upper()


def _close_of(text: str) -> int | None:
    try:
        day = datetime.strptime(text.title(), "%y%b%d%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(day.timestamp()) * SECOND_US
