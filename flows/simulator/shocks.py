"""What the model does on purpose: jumps, drifts and bursts, each a hash of the latent and a window of time.

In every window of eight hours a latent may have one jump (within seconds; some are taken back minutes later) and one
drift (20 to 90 minutes), and a slot one burst of trades without a move. Steps fade over a day or so.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Final

import numpy as np

from flows.simulator.chance import Bools, Floats, Ints, Words, normal, uniform, word
from lake.clock import HOUR_US, MINUTE_US, SECOND_US

WINDOW: Final = 8 * HOUR_US
FADE: Final = 32 * HOUR_US

NEVER: Final = 2**60
"""The start of a step that there is not."""

_JUMP_SHARE: Final = 0.42
_DRIFT_SHARE: Final = 0.12
_BURST_SHARE: Final = 0.20
_MANY: Final = 20_000  # slots


@dataclass(frozen=True, slots=True)
class Steps:
    """One step of each latent in a window, arrays by latent; a start at `NEVER` is none. Times in microseconds."""

    start: Ints
    length: Ints  # of the ramp
    size: Floats  # logits
    taken_back: Floats  # share of the size
    back_start: Ints
    back_length: Ints

    def taken(self, *places: Ints) -> "Steps":
        """Those at some places of the arrays."""
        return Steps(*(getattr(self, field.name)[places] for field in fields(self)))

    def effect(self, at: Ints) -> Floats:
        """Logits that each step adds at that time."""
        age = at - self.start
        there = np.clip(age / self.length, 0.0, 1.0)
        back = np.clip((at - self.back_start) / self.back_length, 0.0, 1.0) * self.taken_back
        fade = np.clip(1.0 - age / FADE, 0.0, 1.0)
        return np.asarray(self.size * there * (1.0 - back) * fade)


@dataclass(frozen=True, slots=True)
class Bursts:
    """One burst of trades of each slot in a window; a factor of 1 is none."""

    start: Ints
    end: Ints
    factor: Floats


class Shocks:
    """The steps and bursts of any window, remembered for a while."""

    def __init__(self, seed: int, latents: Words, slots: Words) -> None:
        self._jump, self._drift, self._burst = (word(seed, name) for name in ("jump", "drift", "burst"))
        self._latents = latents
        self._slots = slots
        few = max(8, min(64, 64 * _MANY // len(slots)))  # windows that are remembered: each is as long as the world
        self.jumps = lru_cache(few)(self._jumps)
        self.drifts = lru_cache(few)(self._drifts)
        self.bursts = lru_cache(few)(self._bursts)
        self._recent = lru_cache(max(3, few // 8))(self._recent_of)

    def effect(self, who: Ints, at: Ints, since: Ints) -> Floats:
        """Logits that all steps add for latents `who` at those times; steps from before `since` are over."""
        total = np.zeros(len(at))
        windows = at // WINDOW
        for window in np.unique(windows).tolist():
            rows = np.flatnonzero(windows == window)
            total[rows] = _summed(self._recent(window), who[rows], at[rows], since[rows])
        return total

    def rare_effect(self, who: Ints, at: Ints, since: Ints) -> Floats:
        """`effect`, drawn for these latents alone: for times that are far apart."""
        windows = at // WINDOW + np.arange(-(FADE // WINDOW), 1)[:, None]
        steps = self._steps(windows, self._latents[who])
        return _summed(steps, np.arange(len(who)), at, since)

    def _recent_of(self, window: int) -> Steps:
        return self._steps(np.arange(window - FADE // WINDOW, window + 1)[:, None], self._latents)

    def _steps(self, windows: Ints, latents: Words) -> Steps:
        """All steps of the windows, which are rows: a row for each window and kind."""
        both = self._jumps_of(windows, latents), self._drifts_of(windows, latents)
        return Steps(*(np.concatenate([getattr(steps, field.name) for steps in both]) for field in fields(Steps)))

    def _jumps(self, window: int) -> Steps:
        return self._jumps_of(np.array(window), self._latents)

    def _drifts(self, window: int) -> Steps:
        return self._drifts_of(np.array(window), self._latents)

    def _jumps_of(self, window: Ints, latents: Words) -> Steps:
        key = self._jump ^ latents
        chance, when, back, kind = _numbers(key, window)
        size = 0.45 + 0.45 * np.abs(normal(key, window * 16 + 8))
        sign = np.where(kind < 0.5, -1.0, 1.0)
        start = window * WINDOW + (when * WINDOW).astype(np.int64)
        taken_back = np.where(back < 0.2, 1.0, np.where(back < 0.4, 0.5, 0.0))
        length = ((1 + 9 * back) * SECOND_US).astype(np.int64)
        delay = ((2 + 12 * (kind * 2 % 1)) * MINUTE_US).astype(np.int64)
        back_start = start + length + delay
        return Steps(_if(chance < _JUMP_SHARE, start), length, size * sign, taken_back, back_start, 9 * length)

    def _drifts_of(self, window: Ints, latents: Words) -> Steps:
        chance, when, length, kind = _numbers(self._drift ^ latents, window)
        size = np.where(kind < 0.5, -1.0, 1.0) * (0.6 + 0.9 * (kind * 2 % 1))
        start = window * WINDOW + (when * WINDOW).astype(np.int64)
        lasts = ((20 + 70 * length) * MINUTE_US).astype(np.int64)
        return Steps(_if(chance < _DRIFT_SHARE, start), lasts, size, np.zeros(start.shape), start, lasts)

    def _bursts(self, window: int) -> Bursts:
        chance, when, length, factor = _numbers(self._burst ^ self._slots, np.array(window))
        start = window * WINDOW + (when * WINDOW).astype(np.int64)
        end = start + ((2 + 8 * length) * MINUTE_US).astype(np.int64)
        return Bursts(start, end, np.where(chance < _BURST_SHARE, 6.0 + 14.0 * factor, 1.0))


def _summed(steps: Steps, who: Ints, at: Ints, since: Ints) -> Floats:
    start = steps.start[:, who]
    step, row = np.nonzero((start <= at) & (at < start + FADE) & (start >= since))
    return np.asarray(np.bincount(row, steps.taken(step, who[row]).effect(at[row]), len(at)), dtype=np.float64)


def _if(is_there: Bools, start: Ints) -> Ints:
    return np.where(is_there, start, NEVER)


def _numbers(key: Words, window: Ints) -> list[Floats]:
    return [uniform(key, window * 16 + place) for place in range(4)]
