"""A reader in a process of its own, that scans without pause and holds each answer against what was published."""

import json
from pathlib import Path
from time import perf_counter

from lake.schema import QUOTES
from lake.store import Store
from tests.lake.merging import Sum, total

LONGEST = 1_800.0
"""Seconds after which it stops by itself: whoever started it is gone."""


def read_until(root: Path, stop: Path, out: Path, step: int, known: list[tuple[int, int]]) -> None:
    """Scan quotes until `stop` is there; `known[k]` is what the first k segments of `step` rows hold.

    Writes to `out` after the first look and at the end: how often it looked, how often a listing was done again, how
    many different answers there were, and each answer that was no prefix.
    """
    store, faults, looks, again, most, seen = Store.open(root), [], 0, 0, 0, set[int]()
    prefixes = [Sum(*each) for each in known]
    started = perf_counter()

    def tell() -> None:
        told = {"looks": looks, "again": again, "faults": faults, "rows": most * step, "answers": len(seen)}
        temp = out.with_suffix(".tmp")
        temp.write_text(json.dumps(told | {"seconds": perf_counter() - started}))
        temp.replace(out)

    while not stop.exists() and perf_counter() - started < LONGEST:
        tries = 0

        def look() -> Sum:
            nonlocal tries
            tries += 1
            return total(store.scan(QUOTES).select(*QUOTES.columns).collect())

        try:
            found = store.again(look)
        except Exception as exc:  # whatever it is, it is what the test is about
            faults.append(f"{type(exc).__name__}: {exc}"[:300])
        else:
            looks, again = looks + 1, again + tries - 1
            place = found.rows // step
            if place >= len(prefixes) or prefixes[place] != found or place < most:
                faults.append(f"{found.rows} rows after {most * step}, hash {found.hash}")
            most = max(most, place)
            seen.add(place)
        if not out.exists():
            tell()
    tell()
