"""A reader in a process of its own, that scans without pause and holds each answer against what was published."""

import json
from pathlib import Path
from time import perf_counter

from lake.schema import QUOTES
from lake.store import Store
from tests.lake.merging import Sum, total


def read_until(root: Path, stop: Path, out: Path, step: int, known: list[tuple[int, int]]) -> None:
    """Scan quotes until `stop` is there; `known[k]` is what the first k segments of `step` rows hold.

    Writes to `out` how often it looked, how often a listing was done again, and each answer that was no prefix.
    """
    store, faults, looks, again, most = Store.open(root), [], 0, 0, 0
    prefixes = [Sum(*each) for each in known]
    started = perf_counter()
    while not stop.exists():
        tries = 0

        def look() -> Sum:
            nonlocal tries
            tries += 1
            return total(store.scan(QUOTES).select(*QUOTES.columns).collect())

        try:
            found = store.again(look)
        except Exception as exc:  # whatever it is, it is what the test is about
            faults.append(f"{type(exc).__name__}: {exc}"[:300])
            continue
        looks, again = looks + 1, again + tries - 1
        place = found.rows // step
        if place >= len(prefixes) or prefixes[place] != found or place < most:
            faults.append(f"{found.rows} rows after {most * step}, hash {found.hash}")
        most = max(most, place)
    told = {"looks": looks, "again": again, "faults": faults, "rows": most * step, "seconds": perf_counter() - started}
    out.write_text(json.dumps(told))
