"""A collector in a process that is there to be killed: it tells through a pipe which messages it has accepted.

    python -m tests.soak.child collect|naive <pipe>

Accepted is what the log's fsync has returned for. `naive` is the yardstick: a collector that keeps what comes in in
memory and writes a Parquet file each minute; it counts as accepted what it has received.
"""

import asyncio
import logging
import os
import re
import signal
import struct
import sys
from collections import deque
from pathlib import Path

import msgspec
import polars as pl
from websockets.asyncio.client import connect

from flows.collector.journal import Kind
from flows.collector.service import collect
from lake import wal
from lake.settings import load
from lake.store import Store

NUMBER = re.compile(rb'"n":(\d+)')
MINUTE = 60.0


def main(what: str, pipe: int) -> None:
    def accepted(numbers: list[int]) -> None:
        os.write(pipe, struct.pack(f"<{len(numbers)}Q", *numbers))

    logging.basicConfig(level=logging.ERROR)
    asyncio.run(naive(accepted) if what == "naive" else real(accepted))


async def real(accepted) -> None:
    """The collector as it is, with an ear at its log."""
    waiting: deque[tuple[int, int]] = deque()
    append = wal.Log.append

    def listening(self, kind, name, received, monotonic, payload=b""):
        place = append(self, kind, name, received, monotonic, payload)
        if kind == Kind.FRAME and (found := NUMBER.search(payload)) is not None:
            waiting.append((place, int(found[1])))
        return place

    def committed(place: int) -> None:
        numbers = []
        while waiting and waiting[0][0] <= place:
            numbers.append(waiting.popleft()[1])
        if numbers:
            accepted(numbers)

    wal.Log.append = listening
    settings, stop = load(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    store = Store.create(settings.lake_root, settings.collector_mode)
    await collect(settings, store, stop, say=lambda text: print(text, file=sys.stderr), on_commit=committed)


async def naive(accepted) -> None:
    """Rows in memory, a file a minute."""
    settings, loop = load(), asyncio.get_running_loop()
    rows: list[int] = []
    due = loop.time() + MINUTE
    folder = Path(settings.lake_root)
    folder.mkdir(parents=True, exist_ok=True)
    async with connect(settings.polymarket_wss_url, proxy=None) as socket:
        await socket.send(msgspec.json.encode({"assets_ids": [str(10**20)], "type": "market"}).decode())
        async for message in socket:
            found = NUMBER.search(message if isinstance(message, bytes) else message.encode())
            if found is not None:
                rows.append(int(found[1]))
                accepted(rows[-1:])
            if loop.time() >= due:
                pl.DataFrame({"n": rows}).write_parquet(folder / f"{rows[0]}.parquet")
                rows, due = [], loop.time() + MINUTE


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
