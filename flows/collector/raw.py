"""What the collector was told as rows of table `raw`, and back: a day can be told again, to a later program too.

Items of a connection lie with its venue, the rest (the time, the ends of segments) with the collector's own. At each
UTC hour's edge, and after a catalogue whose pages are not kept, the end of a segment carries what was known by then.
"""

from collections.abc import Iterable, Iterator
from typing import Final
from zlib import compress, decompress

import msgspec
import polars as pl

from flows.collector import journal
from flows.collector.journal import Absent, Asked, Cut, Item, Kind, Placed
from flows.venues.base import Closed, Frame, Opened
from lake.errors import LakeError
from lake.schema import RAW
from lake.vocab import Venue

OWN: Final = "collector"
"""Partition value of what belongs to no venue."""

_VENUES: Final = tuple(venue.value for venue in Venue)


def rows(items: Iterable[Item], collector: str, boot_id: str, known: bytes) -> dict[str, pl.DataFrame]:
    """Rows of `schema.RAW` by venue; `known` is the state at the end of the segment, kept where it is an anchor."""
    columns: dict[str, list[tuple[object, ...]]] = {}
    for item in items:
        kind, name, payload = journal.write(item)
        connection, _, wire = name.rpartition(" ")
        if isinstance(item, Cut) and item.is_anchor:
            payload = compress(known, 1)
        told = (collector, kind.name, connection or None, wire or None)
        row = (*told, item.received, item.monotonic, boot_id, payload, item.seq)
        columns.setdefault(_venue(item), []).append(row)
    return {venue: RAW.frame(found) for venue, found in columns.items()}


def items(told: pl.DataFrame) -> Iterator[tuple[Item, bytes]]:
    """The items of one life's rows of `schema.RAW`, in order of `seq`, and after an anchor what was known, else b"".

    Raises `LakeError` on a row that is none.
    """
    rows = told.sort("seq").select(*RAW.columns).with_columns(pl.col("received_time").dt.epoch("us"))
    for _, kind, connection, wire, received, monotonic, _, payload, seq in rows.iter_rows():
        is_anchor = kind == Kind.CUT.name and payload[:1] != b"{"
        name = "" if connection is None else f"{connection} {wire or ''}"
        try:
            kept = b'{"is_anchor":true}' if is_anchor else payload
            item = journal.read(seq, Kind[kind], name, received, monotonic, kept)
            yield item, decompress(payload) if is_anchor else b""
        except (KeyError, ValueError, msgspec.DecodeError) as exc:
            raise LakeError(f"raw: seq {seq} is no {kind} that this program knows; update the program") from exc


def _venue(item: Item) -> str:
    match item:
        case Frame() | Opened() | journal.Withheld():
            return item.wire.venue.value
        case Absent() | Placed():
            return item.venue.value
        case Closed() | Asked():
            return next((venue for venue in _VENUES if item.connection.startswith(venue)), OWN)
        case _:
            return OWN
