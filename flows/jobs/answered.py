"""What venues were asked for and answered, in a small file of the lake's folder, so that it is not asked for again.

The file is written after the rows are in the lake, whole or not at all: a crash before that asks again, and what comes
is there already. Without it, or with one that cannot be read, all is asked for again.
"""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from flows.collector.spans import Spans, joined, within
from flows.jobs.holes import Ask, Kind
from lake.clock import DAY_US
from lake.errors import LakeUnwritable
from lake.vocab import Venue

LOG: Final = logging.getLogger("movers.backfill")

FILE: Final = "_backfill.json"
FORGOTTEN_US: Final = 30 * DAY_US
"""What is older is not remembered: nothing so old is asked for."""

_Told = dict[Venue, dict[Kind, dict[int, Spans]]]
_FILE: Final = msgspec.json.Decoder(_Told)
_EVER: Final = 1 << 62


class AnsweredFile:
    """The spans by venue, kind and market; `path` is in a local folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._told: _Told = {venue: {kind: {} for kind in Kind} for venue in Venue}
        try:
            for venue, kinds in _FILE.decode(self._path.read_bytes()).items():
                self._told[venue] |= {
                    kind: {key: joined(spans) for key, spans in kinds[kind].items()} for kind in kinds
                }
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeError) as exc:
            LOG.warning("%s: cannot be read (%s); what is there is asked for again", self._path, type(exc).__name__)

    def of(self, venue: Venue) -> dict[Kind, dict[int, Spans]]:
        """The venue's spans, by kind and market."""
        return self._told[venue]

    def add(self, venue: Venue, asks: Iterable[Ask]) -> None:
        """These were answered."""
        for ask in asks:
            spans = self._told[venue][ask.kind]
            spans[ask.market.market] = joined([*spans.get(ask.market.market, ()), (ask.start, ask.end)])

    def save(self, now: int) -> None:
        """Write the file; what ended long before `now` is forgotten. Raises `LakeUnwritable`."""
        kept = {
            venue: {
                kind: {key: left for key, spans in found.items() if (left := within(spans, now - FORGOTTEN_US, _EVER))}
                for kind, found in kinds.items()
            }
            for venue, kinds in self._told.items()
        }
        temp = self._path.with_name(f"{FILE}.tmp")
        try:
            with temp.open("wb") as file:
                file.write(msgspec.json.encode(kept))
                file.flush()
                os.fsync(file.fileno())
            temp.replace(self._path)
        except OSError as exc:
            raise LakeUnwritable(f"{self._path}: {(exc.strerror or str(exc)).lower()}") from exc
