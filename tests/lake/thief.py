"""Another machine that takes a lease away."""

import time

from lake.errors import LeaseLost
from lake.lease import Holder
from lake.store import Store
from tests.waiting import until


def rob(own: Store, role: str) -> None:
    """Another machine takes the role from whoever writes with `own`; returns once that one knows."""
    thief = Holder("birch", 8, "birch", 9, time.time())
    own.files.replace(f"_{role}.lease", lambda path: path.write_bytes(thief.bytes()))
    until(lambda: _is_lost(own), 5, every=0.01)


def _is_lost(store: Store) -> bool:
    try:
        store.require_owner()
    except LeaseLost:
        return True
    return False
