"""One writer at a time: a lock that lasts as long as its process, however that ends.

The lock is the system's own on an open file, so a process that was killed holds nothing. The file stays, and names who
held it last. On one machine; who writes from several gives each collector a name and a lake of its own.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake.errors import LakeError, LakeUnwritable


@contextmanager
def only_one(root: Path, role: str) -> Iterator[None]:
    """While this lasts, no other process has that role on the lake at `root`. Raises `LakeError` at once, naming it."""
    path = root / f"_{role}.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as exc:
        raise LakeUnwritable(f"{path}: {(exc.strerror or str(exc)).lower()}; no lock can be taken") from exc
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 20).decode(errors="replace").strip() or "unknown"
            raise LakeError(
                f"lake {root}: process {owner} is its {role} already; stop that one, or give another folder as LAKE_URI"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
