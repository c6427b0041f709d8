"""Which markets clients asked for, and since when: for these a right client stores everything, whatever happens."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Span = tuple[int, int | None]
"""First and last instant, microseconds; None = up to now."""


@dataclass(eq=False)
class _Asked:
    """A stretch in which a market was wanted; a connection that breaks does not end it, if another asks again."""

    since: int
    until: int | None = None
    is_left: bool = False  # nobody wanted it any more: the next one to ask begins a new stretch
    by: set[int] = field(default_factory=set)


class Watched:
    """What the clients of one venue asked for, by channel: `flows.simulator.stream.Watch`."""

    def __init__(self, at: int, note: Callable[[dict[str, Any]], None] = lambda line: None) -> None:
        self.at = at
        self._note = note
        self._asked: dict[tuple[str, str], list[_Asked]] = {}
        self._of: dict[int, set[tuple[str, str]]] = {}

    def asked(self, connection: int, channel: str, markets: Iterable[str]) -> None:
        """A connection wants these markets on a channel; "" = all of them."""
        new = [name for name in dict.fromkeys(markets) if (channel, name) not in self._of.get(connection, ())]
        for name in new:
            self._of.setdefault(connection, set()).add((channel, name))
            stretches = self._asked.setdefault((channel, name), [])
            if not stretches or stretches[-1].is_left:
                stretches.append(_Asked(self.at))
            stretches[-1].until = None
            stretches[-1].by.add(connection)
        self._tell("asked", connection, channel, new)

    def left(self, connection: int, channel: str, markets: Iterable[str] | None) -> None:
        """It wants them no longer; None = none of that channel."""
        own = self._of.get(connection, set())
        if markets is None:
            markets = [name for its, name in own if its == channel]
        gone = [name for name in dict.fromkeys(markets) if (channel, name) in own]
        for name in gone:
            own.discard((channel, name))
            self._drop(connection, (channel, name), is_left=True)
        self._tell("left", connection, channel, gone)

    def closed(self, connection: int) -> None:
        """It is gone, with all that it wanted."""
        for key in self._of.pop(connection, ()):
            self._drop(connection, key, is_left=False)
        self._note({"line": "closed", "connection": connection, "time": self.at})

    def spans(self, channel: str, market: str) -> list[Span]:
        """When the market was wanted on the channel, in order."""
        found = [*self._asked.get((channel, market), ()), *self._asked.get((channel, ""), ())]
        return sorted(((each.since, each.until) for each in found), key=lambda span: span[0])

    def wants(self, channel: str, market: str, time: int) -> bool:
        """Whether it was wanted when something happened at that time."""
        return any(since < time and (until is None or time <= until) for since, until in self.spans(channel, market))

    def read(self, line: dict[str, Any]) -> None:
        """Take a line that was noted."""
        self.at = line["time"]
        match line["line"]:
            case "asked":
                self.asked(line["connection"], line["channel"], line["markets"])
            case "left":
                self.left(line["connection"], line["channel"], line["markets"])
            case "closed":
                self.closed(line["connection"])

    def restart(self, at: int) -> None:
        """The venue began anew: all connections are gone."""
        self.at = at
        for connection in list(self._of):
            self.closed(connection)

    def _drop(self, connection: int, key: tuple[str, str], *, is_left: bool) -> None:
        last = self._asked[key][-1]
        last.by.discard(connection)
        if not last.by:
            last.until, last.is_left = self.at, is_left

    def _tell(self, line: str, connection: int, channel: str, markets: list[str]) -> None:
        if markets:
            told = {"line": line, "connection": connection, "channel": channel, "markets": markets, "time": self.at}
            self._note(told)
