"""What follows the path in the address of a page, read as text: nothing in it is trusted."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

import panel as pn

LONGEST = 2_000  # characters of an address that are looked at


def asked() -> str:
    """The query of this session's address, with its question mark; empty without one."""
    given: Mapping[str, list[bytes]] = pn.state.session_args or {}
    pairs = [(name, value.decode("utf-8", "replace")) for name, values in given.items() for value in values[:1]]
    return f"?{urlencode(pairs)}" if pairs else ""


def parts(query: str) -> dict[str, str]:
    """Name to value, of each name the first."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query[:LONGEST].removeprefix("?"), keep_blank_values=True):
        found.setdefault(name, value)
    return found
