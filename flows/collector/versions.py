"""Metadata that changes now and then: a new row only when something changed.

There are hundreds of thousands of markets, and few change: a version is kept packed, some 250 bytes each.
"""

from collections.abc import Iterator
from typing import Any, Final
from zlib import compress, decompress

import msgspec

from lake.schema import Table

Row = tuple[Any, ...]

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(list[Any]).decode

_RAW: Final = -15  # zlib's window, and no checksum: it never leaves the memory


class Versions:
    """The newest version of each market, or of each event, as rows of `table`.

    `key` is the table's first column; `as_of` and `seq` are its last two.
    """

    def __init__(self, table: Table, defaults: dict[str, Any]) -> None:
        self._columns = tuple(table.columns)[1:-2]
        self._places = {name: place for place, name in enumerate(self._columns)}
        self._blank = _pack([defaults.get(name) for name in self._columns])
        self._known: dict[Any, bytes] = {}

    def update(self, key: Any, fields: dict[str, Any], as_of: int, seq: int) -> Row | None:
        """The new version's row; None if `fields` say nothing new."""
        known = self._packed(key)
        values = _unpack(self._blank if known is None else known)
        for name, value in fields.items():
            values[self._places[name]] = value
        packed = _pack(values)
        if packed == known:
            return None
        self._keep(key, values[0], packed)
        return (key, *values, as_of, seq)

    def know(self, key: Any, fields: dict[str, Any]) -> None:
        """What was known of the key before; no row comes of it."""
        values = [fields[name] for name in self._columns]
        self._keep(key, values[0], _pack(values))

    def get(self, key: Any) -> dict[str, Any] | None:
        """The newest version's fields, if any."""
        known = self._packed(key)
        return None if known is None else self._fields(known)

    def starting(self, text: str) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Keys and fields of all whose first column starts so; keys as of the beginning, fields as of their turn."""
        head = text[:1].encode()
        for key in list(self._known):
            known = self._packed(key) if self._known[key][:1] == head else None
            if known is not None and str((fields := self._fields(known))[self._columns[0]]).startswith(text):
                yield key, fields

    def _keep(self, key: Any, first: Any, packed: bytes) -> None:
        """Small, behind the first letter of the first column, so that not all is read where some are looked for."""
        self._known[key] = (str(first)[:1].encode()[:1] or b"-") + compress(packed, 1, _RAW)

    def _packed(self, key: Any) -> bytes | None:
        known = self._known.get(key)
        return None if known is None else decompress(known[1:], _RAW)

    def _fields(self, packed: bytes) -> dict[str, Any]:
        return dict(zip(self._columns, _unpack(packed), strict=True))

    def __contains__(self, key: object) -> bool:
        return key in self._known

    def __len__(self) -> int:
        return len(self._known)
