"""The minute's refresh, again and again: when it is due, and what is done when it fails."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from flows.jobs.refresh import RefreshReport, Step, plainly, refresh
from lake import ledger
from lake.clock import MINUTE_US, SECOND_US, floor_to, from_us
from lake.derived.slices import WINDOWS
from lake.errors import LakeMissing, LakeUnreachable, LeaseLost
from lake.lease import sole
from lake.query import Lake
from lake.settings import Settings
from lake.store import Store
from lake.text import safe_text
from lake.vocab import OVER, Mode

LOG: Final = logging.getLogger("movers.jobs")

OFFSET_US: Final = 2 * SECOND_US  # after the minute's edge: its last rows come in
YOUNG_US: Final = 5 * MINUTE_US
HASTE_US: Final = 10 * SECOND_US
"""A lake younger than five minutes is refreshed every ten seconds, so that its first movers are soon seen."""

LONGEST_WAIT: Final = 60  # seconds: the clock may be set back while a refresh runs
TOP: Final = 10  # rows a window in the artifact


def wall_us() -> int:
    """The wall clock, microseconds."""
    return time.time_ns() // 1_000


def refresh_minute(store: Store, step: Step = plainly, wall: Callable[[], int] = wall_us) -> RefreshReport:
    """A refresh as of the newest row in the lake. Raises `LakeError`, `QueryError`.

    But for a replay it is as of `wall` at the latest: rows of a clock that was ahead do not stop time.
    """
    newest = Lake(store).latest_time()
    return refresh(store, newest if store.mode == Mode.REPLAY.lake else min(newest, from_us(wall())), step)


def top_movers(store: Store, as_of: datetime) -> list[dict[str, Any]]:
    """The first rows of each window's list, best first, as cells for a table; titles through `safe_text`."""
    reader, found = Lake(store), list[dict[str, Any]]()
    for window in WINDOWS:
        rows = reader.movers(window, as_of=as_of, status_not=OVER, limit=TOP)
        found += [{"window": window, **_cells(row)} for row in rows.iter_rows(named=True)]
    return found


def due(began: int, *, is_young: bool) -> int:
    """When the refresh after one that began then is due, microseconds: moments after the next minute's edge.

    A refresh that took longer, or a machine that slept, is followed by one refresh and not by those that were missed.
    """
    edge = floor_to(began - OFFSET_US, MINUTE_US) + MINUTE_US + OFFSET_US
    return min(edge, began + HASTE_US) if is_young else edge


class Minutes:
    """The refresh as a loop of its own thread, until `stop`.

    `refresh` does one and raises what went wrong: that is said in a line, counted, and the loop goes on.
    """

    def __init__(
        self,
        settings: Settings,
        stop: threading.Event,
        *,
        refresh: Callable[[Store], object] = refresh_minute,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._refresh = refresh
        self._wall = wall
        self.done = self.failed = 0

    def run(self) -> None:
        """Refresh until `stop`. Raises `LakeMismatch`, and `LakeError` where other jobs are at work on that lake."""
        store = self._await_rows()
        if store is not None:
            with sole(store, "jobs") as own:
                self._repeat(own)

    def _repeat(self, store: Store) -> None:
        while not self._stop.is_set():
            began = self._wall()
            self._once(store)
            is_young = began - born(store) < YOUNG_US
            left = (due(began, is_young=is_young) - self._wall()) / SECOND_US
            self._stop.wait(min(max(0, left), LONGEST_WAIT))

    def _await_rows(self) -> Store | None:
        """The lake, once a segment is in it; None if stopped before."""
        said = ""
        while not self._stop.is_set():
            try:
                store = Store.open(self._settings.lake_root, self._settings.collector_mode)
                if ledger.sealed(store):
                    return store
                word = f"lake {store.root}: no rows yet; waiting for the collector"
            except LakeMissing:
                word = f"lake {self._settings.lake_root}: not there yet; waiting for the collector"
            except LakeUnreachable as exc:
                word = str(exc)
            if word != said:
                LOG.info("%s", word)
            said = word
            self._stop.wait(1)
        return None

    def _once(self, store: Store) -> None:
        began = time.monotonic()
        try:
            store.require_owner()
            report = self._refresh(store)
        except LeaseLost:
            raise
        except Exception as exc:
            self.failed += 1
            LOG.error("refresh: failed, %d times so far: %s", self.failed, line(exc))
        else:
            self.done += 1
            LOG.info("refresh: %s, in %.1f s", report, time.monotonic() - began)


def born(store: Store) -> int:
    """When the lake was made, microseconds; of one that is gone, when time began."""
    made = store.born()
    return 0 if made is None else made[0] // 1_000


def line(exc: BaseException) -> str:
    """An error in one line."""
    return safe_text(f"{type(exc).__name__}: {exc}", 500)


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    then, now, move = (row[name] for name in ("price_then", "price_now", "move_pp"))
    return {
        "market": safe_text(row["title"] or row["market_id"] or ""),
        "venue": row["venue"],
        "from": None if then is None else f"{then:.1%}",
        "to": None if now is None else f"{now:.1%}",
        "move, pp": None if move is None else round(move, 1),
        "24 h volume, USD": None if row["volume_24h_usd"] is None else round(row["volume_24h_usd"]),
        "watched": None if row["coverage_window"] is None else f"{row['coverage_window']:.0%}",
        "market id": safe_text(row["market_id"] or ""),
    }
