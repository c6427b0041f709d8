"""The latent of each market in logits, and the probability that its book is around, at any time.

A latent is a level of the turn, plus noise that looks like a Brownian path from ten seconds up to the life of a market
(piecewise straight lines between hashed normals, one a scale), plus the steps of `shocks`. Towards its close a market
is pulled to its winner's side: early for most, in the last moments for some. The winner itself is drawn with the
probability that the path had before the pull, so that prices are calibrated.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np

from flows.simulator.chance import Bools, Floats, Ints, Words, draw, normal, share, uniform, word
from flows.simulator.shocks import Shocks
from flows.simulator.universe import Family, Universe
from lake.clock import DAY_US, MINUTE_US, SECOND_US
from lake.vocab import Venue

_SCALES: Final = (518_400, 86_400, 14_400, 2_400, 400, 60, 10)  # seconds
_FEW: Final = 4_000
_MOST_MEMBERS: Final = 12
_MONTH: Final = 30 * DAY_US
_SURE: Final = 6.0  # logits at the close
_LOWEST: Final = 0.002
_REMEMBERED: Final = 1_000_000  # winners of families' turns
_AT_ONCE: Final = 4_000  # families


class Paths:
    """Latents and probabilities of a universe."""

    def __init__(self, universe: Universe) -> None:
        seed = universe.seed
        self._universe = universe
        families = [family for family in universe.families for _ in range(family.members)]
        self._family: Ints = np.array([family.place for family in families])
        self._member: Ints = np.array([i - family.first_latent for i, family in enumerate(families)])
        self._count: Ints = np.array([family.members for family in families])
        self._exclusive = np.array([family.kind.is_exclusive and family.members > 1 for family in families])
        self._ladder = np.array([family.kind.is_ladder for family in families])
        self._key = word(seed, "latent") ^ self._shared_keys(families)
        self._sigma = np.array([_sigma(family) for family in families])
        self._amplitude = self._sigma[:, None] * _amplitudes(np.array([family.period for family in families]))
        self._period: Ints = np.array([family.period for family in families])
        self._phase: Ints = np.array([family.phase for family in families])
        self._level = word(seed, "level")
        self.latent: Ints = np.array([slot.family.first_latent + slot.member for slot in universe.slots])
        self._root = np.where(self._ladder, np.arange(len(families)) - self._member, np.arange(len(families)))
        self.source: Ints = self._root[self.latent]
        self._basis = word(seed, "basis") ^ _keys(len(universe.slots), seed, "slot basis")
        self._is_twin = np.array([slot.twin is not None for slot in universe.slots])
        self._lag = self._lags()
        self.shocks = Shocks(seed, self._key, _keys(len(universe.slots), seed, "slot bursts"))
        self._won: dict[tuple[int, int], tuple[bool, ...]] = {}

    def probability(self, slot: Ints, turn: Ints, at: Ints) -> Floats:
        """What each slot's book is around at that time: the latent of its venue, within (0, 1)."""
        latent = self.latent[slot]
        seen = at - self._lag[slot]
        exact = self._fair(latent, turn, seen, at)
        twins = np.flatnonzero(self._is_twin[slot])
        exact[twins] = _expit(_logit(exact[twins]) + self._noise(slot[twins], at[twins]))
        return np.clip(exact, _LOWEST, 1.0 - _LOWEST)

    def winner(self, latent: int, turn: int) -> int:
        """0 if the latent's market ends with its first outcome, else 1."""
        family = self._universe.families[int(self._family[latent])]
        return 0 if self.winners(family.place, turn)[latent - family.first_latent] else 1

    def _fair(self, latent: Ints, turn: Ints, at: Ints, pulled_at: Ints) -> Floats:
        """Probabilities; of exclusive members their shares, which sum to one."""
        is_shared = self._exclusive[latent]
        members = np.where(is_shared, self._count[latent], 1)
        first = np.where(is_shared, latent - self._member[latent], latent)
        place, row = np.nonzero(np.arange(_MOST_MEMBERS)[:, None] < members)
        who = first[row] + place
        logits = self._pulled(who, turn[row], at[row], pulled_at[row])
        weight = np.exp(logits)
        is_own = who == latent[row]
        own = np.empty(len(latent))
        own[row[is_own]] = weight[is_own]
        return np.asarray(own / (np.bincount(row, weight, len(latent)) + ~is_shared))

    def _pulled(self, latent: Ints, turn: Ints, at: Ints, pulled_at: Ints) -> Floats:
        """Logits with the pull to the winner's side."""
        free = self._free(latent, turn, at)
        close = self._phase[latent] + (turn + 1) * self._period[latent]
        span = _pull_span(self._period[latent])
        near = np.flatnonzero(pulled_at > close - span)
        if len(near):
            who, when = latent[near], turn[near]
            gone = np.clip(1.0 - (close[near] - pulled_at[near]) / span[near], 0.0, 1.0)
            pull = gone ** self._steepness(who, when)
            sure = np.where(self._has_won(who, when), _SURE, -_SURE)
            free[near] = (1.0 - pull) * free[near] + pull * sure
        return free

    def _free(self, latent: Ints, turn: Ints, at: Ints) -> Floats:
        """Logits without the pull."""
        since = self._phase[latent] + turn * self._period[latent]
        return self._calm(latent, turn, at) + self.shocks.effect(self._root[latent], at, since)

    def _calm(self, latent: Ints, turn: Ints, at: Ints) -> Floats:
        """Logits without pull and shocks."""
        total = self._start(latent, turn)
        lines: Iterable[Floats] = (
            _lines(self._key[latent], at) if len(at) < _FEW else _long_lines(self._key[latent], at)
        )
        for place, line in enumerate(lines):
            total = total + self._amplitude[latent, place] * line
        return total

    def _start(self, latent: Ints, turn: Ints) -> Floats:
        """Where a turn's market is at home: short ones near even, a ladder's steps one below the other."""
        family = self._family[latent]
        key = self._level ^ self._key[latent]
        is_short = self._period[latent] <= DAY_US
        level = normal(key, turn) * np.where(is_short, 0.35, 1.1)
        level = np.where(self._exclusive[latent], normal(key, turn) * 1.1, level)
        step = 0.5 + 0.6 * uniform(self._level, family)
        rung = (self._count[latent] - 1) / 2 - self._member[latent]
        return np.where(self._ladder[latent], level + step * rung, level)

    def _steepness(self, latent: Ints, turn: Ints) -> Floats:
        """How late the pull comes: one in eight markets is open to the last."""
        first = uniform(self._level ^ np.uint64(1), self._family[latent] * 1_000_003 + turn)
        return np.where(first < 0.125, 300.0, 1.5 + 6.0 * first)

    def _has_won(self, latent: Ints, turn: Ints) -> Bools:
        """Whether each latent's market ends with its first outcome."""
        family = self._family[latent]
        both, where = np.unique(np.stack([family, turn]), axis=1, return_inverse=True)
        table = np.zeros((both.shape[1], _MOST_MEMBERS), dtype=bool)
        self.draw_winners([(place, when) for place, when in both.T.tolist()])
        for row, (place, when) in enumerate(both.T.tolist()):
            won = self.winners(place, when)
            table[row, : len(won)] = won
        return np.asarray(table[where.reshape(-1), self._member[latent]])

    def winners(self, place: int, turn: int) -> tuple[bool, ...]:
        """Which members of a family end with yes in a turn."""
        if (place, turn) not in self._won:
            self.draw_winners([(place, turn)])
        return self._won[place, turn]

    def draw_winners(self, turns: Sequence[tuple[int, int]]) -> None:
        """Draw those of many families and turns at once, so that `winners` finds them."""
        if len(self._won) > _REMEMBERED:
            self._won = dict(islice(self._won.items(), _REMEMBERED // 2, None))
        new = [each for each in dict.fromkeys(turns) if each not in self._won]
        for batch in (new[at : at + _AT_ONCE] for at in range(0, len(new), _AT_ONCE)):
            self._won |= self._drawn(batch)

    def _drawn(self, turns: Sequence[tuple[int, int]]) -> dict[tuple[int, int], tuple[bool, ...]]:
        """Each member's with its probability before the pull."""
        families = [self._universe.families[place] for place, _ in turns]
        members = np.array([family.members for family in families])
        edges = np.concatenate([[0], np.cumsum(members)])
        own = np.arange(edges[-1]) - np.repeat(edges[:-1], members)
        latent = np.repeat([family.first_latent for family in families], members) + own
        turn = np.repeat([turn for _, turn in turns], members)
        period = self._period[latent]
        close = self._phase[latent] + (turn + 1) * period
        start = close - _pull_span(period)
        free = self._calm(latent, turn, start) + self.shocks.rare_effect(self._root[latent], start, close - period)
        spans = zip(edges.tolist(), edges[1:].tolist(), strict=False)
        return {
            each: self._ended(family, each[1], free[first:last])
            for each, family, (first, last) in zip(turns, families, spans, strict=True)
        }

    def _ended(self, family: Family, turn: int, free: Floats) -> tuple[bool, ...]:
        seed, place = self._universe.seed, family.place
        luck = share(seed, "winner", place, turn)
        if family.kind.is_exclusive and family.members > 1:
            reached = np.cumsum(np.exp(free)) / np.exp(free).sum()
            first = min(int(np.searchsorted(reached, luck, side="right")), family.members - 1)
            return tuple(member == first for member in range(family.members))
        if family.kind.is_ladder:
            return tuple((luck < _expit(free)).tolist())
        own = [share(seed, "winner", place, turn, member) for member in range(family.members)]
        return tuple((np.array(own) < _expit(free)).tolist())

    def _noise(self, slot: Ints, at: Ints) -> Floats:
        """What one venue's price differs from the other's, in logits: small, and back at 0 in an hour."""
        slow = _line(self._basis[slot], at, 40 * MINUTE_US)
        fast = _line(self._basis[slot] + np.uint64(1), at, 3 * MINUTE_US)
        return np.asarray(0.03 * slow + 0.015 * fast)

    def _lags(self) -> Ints:
        """Microseconds by which a slot follows its latent: up to eight seconds for one of two twins."""
        seed, lags = self._universe.seed, np.zeros(len(self._universe.slots), dtype=np.int64)
        for slot in self._universe.slots:
            follower = Venue.KALSHI if share(seed, "follower", slot.family.place) < 0.6 else Venue.POLYMARKET
            if slot.twin is not None and slot.venue is follower:
                lags[slot.place] = int((1 + 7 * share(seed, "lag", slot.family.place)) * SECOND_US)
        return lags

    def _shared_keys(self, families: list[Family]) -> Words:
        """A key for each latent; those of a ladder are one, for they are thresholds of one number."""
        keys = _keys(len(families), self._universe.seed, "path")
        first = np.array([family.first_latent for family in families])
        return np.where(self._ladder, keys[first], keys)


def _sigma(family: Family) -> float:
    """Logits a square root of a day."""
    return family.kind.swing / float(np.sqrt(min(family.period, _MONTH) / DAY_US))


def _amplitudes(period: Ints) -> Floats:
    """Of each scale, for a sigma of one: that of the path's increments; 0 if longer than the market lives."""
    scale = np.array(_SCALES) * SECOND_US
    return np.sqrt(scale / DAY_US) * (scale <= np.maximum(period, 10 * SECOND_US)[:, None]) * 0.75


def _pull_span(period: Ints) -> Ints:
    """How long before its close a market begins to be pulled, microseconds."""
    return np.minimum(period * 35 // 100, 36 * 60 * MINUTE_US)


def _line(key: Words, at: Ints, width: int) -> Floats:
    """Straight lines between normals that are `width` apart; neighbours on the same stretch are drawn once."""
    place = at // width
    along = (at - place * width) / width
    is_new = np.ones(len(at), dtype=bool)
    is_new[1:] = (place[1:] != place[:-1]) | (key[1:] != key[:-1])
    heads = np.flatnonzero(is_new)
    left, right = normal(key[heads], place[heads]), normal(key[heads], place[heads] + 1)
    if len(heads) == len(at):
        return np.asarray(left + (right - left) * along)
    stretch = np.cumsum(is_new) - 1
    return np.asarray(left[stretch] + (right - left)[stretch] * along)


def _lines(key: Words, at: Ints) -> Floats:
    """The line of each scale, a row each."""
    width = np.array(_SCALES)[:, None] * SECOND_US
    place = at // width
    along = (at - place * width) / width
    own = key + np.arange(len(_SCALES), dtype=np.uint64)[:, None]
    left = normal(own, place)
    return np.asarray(left + (normal(own, place + 1) - left) * along)


def _long_lines(key: Words, at: Ints) -> Iterator[Floats]:
    """`_lines` one by one: faster for many times of few keys."""
    for place, seconds in enumerate(_SCALES):
        yield _line(key + np.uint64(place), at, seconds * SECOND_US)


def _keys(count: int, *parts: object) -> Words:
    """A key for each of a number of things."""
    return draw(word(*parts), np.arange(count))


def _expit(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _logit(p: Floats) -> Floats:
    return np.asarray(np.log(p) - np.log1p(-p))
