"""How far a venue's catalogue was read, kept in a small file, so that a walk which was broken off goes on."""

import logging
from pathlib import Path
from typing import Final

import msgspec

from flows.collector.making import VENUES
from lake.clock import MINUTE_US
from lake.files import Folder
from lake.vocab import Venue

LOG: Final = logging.getLogger("movers.collector")

FOLDER: Final = "catalog"
YOUNG_US: Final = 30 * MINUTE_US
"""A cursor is sent again only so long after its page came."""


class Place(msgspec.Struct):
    """Where the reading of one catalogue is; times are our clock's, microseconds, 0 = never."""

    began: int = 0  # when the walk under way began; 0 = none is
    cursor: str = ""  # of its next page
    at: int = 0  # when its last page came
    pages: int = 0  # of it
    markets: int = 0  # of it
    whole: int = 0  # when the last walk that came to the end began
    expected: int = 0  # markets of that one
    changed: int = 0  # since when changes are to be asked for
    newest: int = 0  # the largest number of a market on Polymarket
    passed: int = 0  # when anything was last read to its end

    def begin(self, now: int) -> bool:
        """A walk begins, or goes on at the cursor of one that was broken off a short time ago; whether it goes on."""
        if self.began and self.cursor and 0 <= now - self.at < YOUNG_US:
            return True
        self.began, self.cursor, self.at, self.pages, self.markets = now, "", now, 0, 0
        return False

    def end(self, now: int) -> None:
        """The walk came to its end: what changes from when it began is still to be asked for."""
        self.whole, self.expected, self.passed = self.began, self.markets, now
        self.changed = max(self.changed, self.began)
        self.began, self.cursor = 0, ""


_PLACE: Final = msgspec.json.Decoder(Place)


class PlaceFile:
    """A `Place` in a file of `folder`, the lake's local one, under the name of who reads."""

    def __init__(self, folder: Path, reader: str, venue: Venue) -> None:
        self._files = Folder(folder)
        self._path = f"{FOLDER}/{reader}-{venue.value}.json"

    def load(self) -> Place:
        """What was kept; a file that is not there, or cannot be read, is a fresh start."""
        try:
            return _PLACE.decode(self._files.read(self._path))
        except FileNotFoundError:
            return Place()
        except (OSError, msgspec.DecodeError, UnicodeError) as exc:
            LOG.warning("%s: cannot be read (%s); the catalogue is read from its beginning", self._path, exc)
            return Place()

    def save(self, place: Place) -> None:
        """Keep it, whole or not at all; a disk that refuses costs a walk from the beginning at worst."""
        try:
            self._files.replace(self._path, lambda temp: temp.write_bytes(msgspec.json.encode(place)))
        except OSError as exc:
            LOG.warning("%s: cannot be written: %s", self._path, exc.strerror)


def last_passes(folder: Path, but: str) -> dict[Venue, tuple[str, int]]:
    """By venue who, of all readers `but` one, read its catalogue last, and when, microseconds."""
    found: dict[Venue, tuple[str, int]] = {}
    for venue in VENUES:
        for path in sorted((folder / FOLDER).glob(f"*-{venue.value}.json")):
            reader = path.name.removesuffix(f"-{venue.value}.json")
            passed = PlaceFile(folder, reader, venue).load().passed
            if reader != but and passed > found.get(venue, ("", 0))[1]:
                found[venue] = (reader, passed)
    return found
