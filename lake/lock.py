"""One writer at a time: a lock that lasts as long as its process, however that ends.

The lock is the system's own on an open file, so a process that was killed holds nothing. The file stays, and names who
held it last. On one machine: of a lake in a bucket, which several can write to, `lake.lease` tells the others.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake.errors import LakeError, LakeUnwritable


@contextmanager
def only_one(local: Path, role: str, lake: object = None) -> Iterator[None]:
    """While this lasts, no other process has that role on the lake whose local folder that is.

    Raises `LakeError` at once, naming the process, its host and `lake`; None = the folder is the lake.
    """
    path = local / f"_{role}.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as exc:
        raise LakeUnwritable(f"{path}: {(exc.strerror or str(exc)).lower()}; no lock can be taken") from exc
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, _, host = os.read(handle, 300).decode(errors="replace").strip().partition(" ")
            raise LakeError(refusal(lake or local, role, pid or "unknown", host or "this machine")) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def refusal(lake: object, role: str, pid: object, host: str) -> str:
    """What a second one is told."""
    return (
        f"lake {lake}: process {pid} on {host} is its {role} already; stop that one, or set LAKE_URI to another place"
    )
