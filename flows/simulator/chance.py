"""Chance without a state: each number is a hash of what it is for, so any of them can be drawn at any time, alone.

A key names a stream (seed, purpose, market), an index a place in it (a block of time, a level, a turn). Mixing is
SplitMix64's finaliser: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
"""

from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_LOW: Final = np.uint64(0xFFFF)
_16, _27, _30, _31, _32, _48 = (np.uint64(bits) for bits in (16, 27, 30, 31, 32, 48))
_SPREAD: Final = 37_837.0  # standard deviation of four 16-bit numbers summed
_MIDDLE: Final = 131_070.0


def digest(*parts: object) -> bytes:
    """32 bytes that name the parts."""
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=32).digest()


def number(*parts: object) -> int:
    """64 bits that name the parts."""
    return int.from_bytes(digest(*parts)[:8], "big")


def share(*parts: object) -> float:
    """A number in [0, 1) that names the parts."""
    return (number(*parts) >> 11) / 2**53


def word(*parts: object) -> Words:
    """`number` as an array of one, to be mixed into keys."""
    return np.array([number(*parts)], dtype=np.uint64)


def draw(key: Words, index: Ints) -> Words:
    """64 random bits for each pair of key and index, broadcast."""
    mixed = np.asarray(index).astype(np.uint64) * _STEP + key
    mixed ^= mixed >> _30
    mixed *= _FIRST
    mixed ^= mixed >> _27
    mixed *= _SECOND
    mixed ^= mixed >> _31
    return mixed


def uniform(key: Words, index: Ints) -> Floats:
    """Evenly spread over (0, 1)."""
    return (draw(key, index) >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54


def normal(key: Words, index: Ints) -> Floats:
    """About standard normal, at most 3.5 from 0: four small numbers summed."""
    bits = draw(key, index)
    summed = (bits & _LOW) + ((bits >> _16) & _LOW) + ((bits >> _32) & _LOW) + (bits >> _48)
    return np.asarray((summed.astype(np.float64) - _MIDDLE) / _SPREAD)
