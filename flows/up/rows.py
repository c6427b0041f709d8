"""How old the newest rows are, for the supervisor's table."""

import threading
import time
from pathlib import Path
from typing import Final

from lake.errors import LakeError
from lake.place import Place
from lake.schema import SEGMENTS
from lake.store import Store

PAUSE: Final = 5.0  # seconds between two looks into a bucket


class NewestRows:
    """Call it: seconds since a segment was last published, None before the first or where nobody knows.

    A folder is looked at when asked. A bucket may take its time to answer, so a thread asks it now and then.
    """

    def __init__(self, root: Place) -> None:
        self._root = root
        self._seen: int | None = None
        self._thread: threading.Thread | None = None

    def __call__(self) -> float | None:
        """By the wall clock."""
        if isinstance(self._root, Path):
            self._look()
        elif self._thread is None:
            self._thread = threading.Thread(target=self._look_on, name="newest-rows", daemon=True)
            self._thread.start()
        return None if self._seen is None else max(0.0, time.time() - self._seen / 1e9)

    def _look_on(self) -> None:
        while True:
            self._look()
            time.sleep(PAUSE)

    def _look(self) -> None:
        try:
            mark = Store.open(self._root).mark(SEGMENTS)
        except (LakeError, OSError):
            return
        self._seen = None if mark is None else mark[0]
