"""What many connections say at once, as one line: all of a venue's shards are lost together when it restarts."""

import asyncio
from collections.abc import Callable
from typing import Final

WAIT: Final = 0.3  # seconds in which others may say the same


class Chorus:
    """Tell it a connection's name and its words; `say` gets one line for all that say the same."""

    def __init__(self, say: Callable[[str], None], wait: float = WAIT) -> None:
        self._say = say
        self._wait = wait
        self._told: dict[tuple[str, str], set[str]] = {}  # venue and words to connections

    def __call__(self, name: str, words: str) -> None:
        """The connection `name`, as in polymarket-3, says `words`."""
        if not self._told:
            asyncio.get_running_loop().call_later(self._wait, self.flush)
        self._told.setdefault((name.partition("-")[0], words), set()).add(name)

    def flush(self) -> None:
        """Say what was told so far."""
        told, self._told = self._told, {}
        for (venue, words), names in told.items():
            who = min(names) if len(names) == 1 else f"{venue}: {len(names)} connections"
            self._say(f"{who}: {words}")
