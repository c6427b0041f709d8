"""Metadata that changes now and then: a new row only when something changed."""

from typing import Any

from lake.schema import Table

Row = tuple[Any, ...]


class Versions:
    """The newest version of each market, or of each event, as rows of `table`.

    `key` is the table's first column; `as_of` and `seq` are its last two.
    """

    def __init__(self, table: Table, defaults: dict[str, Any]) -> None:
        self._columns = tuple(table.columns)[1:-2]
        self._blank = {name: defaults.get(name) for name in self._columns}
        self._known: dict[Any, dict[str, Any]] = {}

    def update(self, key: Any, fields: dict[str, Any], as_of: int, seq: int) -> Row | None:
        """The new version's row; None if `fields` say nothing new."""
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = {**self._blank, **fields}
        elif all(known[name] == value for name, value in fields.items()):
            return None
        else:
            known.update(fields)
        return (key, *(known[name] for name in self._columns), as_of, seq)

    def know(self, key: Any, fields: dict[str, Any]) -> None:
        """What was known of the key before; no row comes of it."""
        self._known[key] = {name: fields[name] for name in self._columns}

    def get(self, key: Any) -> dict[str, Any] | None:
        """The newest version's fields, if any."""
        return self._known.get(key)

    def __len__(self) -> int:
        return len(self._known)
