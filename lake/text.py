"""Venue and user text is hostile: what of it may be shown.

`safe_text` keeps the words and drops what acts on the reader's screen: control characters (a terminal
obeys them), bidirectional overrides, zero-width characters. Escaping for a medium, HTML say, comes after.
"""

import unicodedata
from typing import Final

LONGEST: Final = 300

_DROPPED: Final = frozenset(("Cc", "Cf", "Co", "Cs", "Cn"))
_JOINER: Final = "\u200d"  # holds an emoji together


def safe_text(text: str, longest: int = LONGEST) -> str:
    """`text` on one line, without characters that act, cut at `longest` with an ellipsis."""
    spaced = " ".join(text[: 20 * longest].split())
    kept = "".join(char for char in spaced if char == _JOINER or unicodedata.category(char) not in _DROPPED)
    return kept if len(kept) <= longest else kept[: longest - 1] + "…"
