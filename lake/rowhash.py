"""A hash of a table's rows that does not depend on their order, their files, or the version of any library.

Each row becomes 64 bits, and the hash is their sum modulo 2**64: that of a file merged from others is the sum of
theirs. Fixed-width values are mixed by their bits, texts, bytes and lists by blake2b of each distinct one. A null
adds nothing to its row, so a column that an older file lacks changes no hash; neither does the order of columns.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

_Bits = npt.NDArray[np.uint64]

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_NAN: Final = np.float64("nan")
_HALF, _WHOLE = 1 << 63, 1 << 64

_VARIABLE: Final = (pl.String(), pl.Binary())


def rows_hash(frame: pl.DataFrame) -> int:
    """The rows' hash as a signed 64-bit number; 0 for no rows. Equal for -0.0 and 0.0, and for every NaN."""
    if frame.is_empty():
        return 0
    rows = np.zeros(frame.height, np.uint64)
    for column in frame:
        rows += _column(column)
    return added([int(_mixed(rows + _STEP).sum(dtype=np.uint64))])


def added(hashes: Iterable[int]) -> int:
    """The hash of the rows of all of these together."""
    total = sum(hashes) % _WHOLE
    return total - _WHOLE if total >= _HALF else total


def _column(column: pl.Series) -> _Bits:
    """What each value adds to its row; 0 for null."""
    bits = _mixed(_mixed(_bits(column)) + np.uint64(_digest(column.name.encode())))
    if column.null_count():
        bits[column.is_null().to_numpy()] = 0
    return bits


def _bits(column: pl.Series) -> _Bits:
    """64 bits of each value; anything for null."""
    if column.dtype in _VARIABLE:
        return _of_distinct(column)
    if isinstance(column.dtype, pl.List):
        known: dict[bytes, int] = {}
        spelled = [_spelled(value) for value in column.to_list()]
        return np.array([known.setdefault(text, _digest(text)) for text in spelled], np.uint64)
    if column.dtype.is_float():
        floats = column.cast(pl.Float64).fill_null(0.0).to_numpy() + 0.0  # -0.0 becomes 0.0
        return np.where(np.isnan(floats), _NAN, floats).view(np.uint64)
    whole = column.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
    return whole.astype(np.int64).view(np.uint64)


def _of_distinct(column: pl.Series) -> _Bits:
    encoded = column.to_arrow().cast(pa.large_binary()).dictionary_encode()
    digests = np.array([_digest(value.as_buffer()) for value in encoded.dictionary] or [0], np.uint64)
    return digests[encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)]


def _digest(value: Any) -> int:
    return int.from_bytes(blake2b(value, digest_size=8).digest(), "big")


def _spelled(value: Any) -> bytes:
    """A value of a list, or a list of them, as bytes that no other value has."""
    match value:
        case None:
            return b"n"
        case str():
            text = value.encode()
            return b"s%d:%b" % (len(text), text)
        case bytes():
            return b"b%d:%b" % (len(value), value)
        case list():
            return b"l%d:%b" % (len(value), b"".join(map(_spelled, value)))
        case _:
            text = repr(value).encode()
            return b"v%d:%b" % (len(text), text)


def _mixed(bits: _Bits) -> _Bits:
    """The finalizer of splitmix64, a bijection in which each bit of the input changes half of the output's."""
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return bits ^ (bits >> np.uint64(31))
