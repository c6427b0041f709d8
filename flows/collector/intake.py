"""Between the sockets and the pipeline: frames in the order in which they came, never more than so many bytes.

Receiving stamps a frame, numbers it and puts it here; one consumer takes it out. Where the consumer is behind, whoever
receives waits, and the venue's own network buffers fill: memory does not grow, and nothing is dropped.
"""

import asyncio
from collections import deque
from itertools import count
from typing import Final

from flows.collector.timing import Clock
from flows.venues.base import Closed, Frame, Opened, Wire, frame_seq

MOST_BYTES: Final = 64 << 20

Item = Frame | Opened | Closed | asyncio.Event


class Intake:
    """Items in order of arrival; `epoch` is this collector's life."""

    def __init__(self, epoch: int, clock: Clock, most_bytes: int = MOST_BYTES) -> None:
        self._items: deque[Item] = deque()
        self._numbers = count(frame_seq(epoch, 0))
        self._wall = clock.wall
        self._most = most_bytes
        self._bytes = 0
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """Whether whoever receives has to wait for `room`."""
        return self._bytes >= self._most

    def spare(self) -> int:
        """The next frame's `seq`, for rows that no frame caused."""
        return next(self._numbers)

    def frame(self, connection: str, wire: Wire, payload: bytes) -> None:
        """A frame came in now."""
        self._bytes += len(payload)
        self._items.append(Frame(next(self._numbers), connection, self._wall(), payload, wire))

    def opened(self, connection: str, wire: Wire) -> None:
        """A connection was opened now."""
        self._items.append(Opened(connection, self._wall(), wire))

    def closed(self, connection: str) -> None:
        """A connection was lost now."""
        self._items.append(Closed(connection, self._wall()))

    async def consumed(self) -> None:
        """Wait until all that is in here now was taken."""
        mark = asyncio.Event()
        self._items.append(mark)
        await mark.wait()

    async def room(self) -> None:
        """Wait until there is room."""
        while self.is_full:
            self._room.clear()
            await self._room.wait()

    def take(self) -> Frame | Opened | Closed | None:
        """The next item; None if there is none."""
        while self._items:
            item = self._items.popleft()
            if isinstance(item, asyncio.Event):
                item.set()
                continue
            if isinstance(item, Frame):
                self._bytes -= len(item.payload)
                if not self._room.is_set() and not self.is_full:
                    self._room.set()
            return item
        return None
