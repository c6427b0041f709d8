"""One writer at a time on a lake that several machines can write to: a lease, kept in the bucket itself.

`_<role>.lease` says who has the role: host, pid, epoch, and when that was said last. It is taken and renewed by
conditional PUT, so of two who try one gets it. A holder that finds another's name in it, or could not renew it in time,
publishes nothing more. Whoever holds the lock of the local folder takes over from its own former process at once; any
other has to wait until the lease has run out, by clocks that should agree within seconds.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from lake.bucket import BucketFiles
from lake.errors import LakeError, LakeUnwritable, LeaseLost
from lake.lock import only_one, refusal
from lake.place import Bucket
from lake.store import Store

LOG: Final = logging.getLogger("movers.lease")

UPKEEP: Final = "maintenance"
"""The role of whoever merges, removes and mends files."""

LIFE: Final = 15.0  # seconds that a lease lasts without being renewed
BEAT: Final = 5.0  # seconds between renewals
AGAIN: Final = 1.0  # seconds until the next try after one that failed
TAKES: Final = 3  # tries to take a lease while others do

_MACHINE: Final = "_machine"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a role, as the file says it."""

    host: str
    pid: int
    machine: str  # names the local folder: its lock is held by one process at a time
    epoch: int  # larger with each holder
    renewed: float | None  # seconds since 1970 by the holder's clock; None = given up

    def bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    def is_same(self, other: "Holder") -> bool:
        """Whether both are one process, whenever they were written."""
        return replace(self, renewed=None) == replace(other, renewed=None)


class Lease:
    """The right to one role. `take` it, `renew` it each `BEAT` seconds, ask `require` before each write."""

    def __init__(
        self,
        files: BucketFiles,
        role: str,
        me: Holder,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`me` without epoch and time: these come with the lease."""
        self._files, self._role, self._me = files, role, me
        self._wall, self._monotonic = wall, monotonic
        self._path: Final = f"_{role}.lease"
        self._version: str | None = None
        self._until = float("-inf")  # of the monotonic clock
        self._lost: LeaseLost | None = None

    @property
    def epoch(self) -> int:
        """Larger than that of every former holder."""
        return self._me.epoch

    def take(self, least_epoch: int = 0) -> None:
        """Get the role. Raises `LakeError` naming the process that has it, `OSError` if the store does not answer."""
        found = None
        for _ in range(TAKES):
            found = self._read()
            holder, self._version = found if found is not None else (None, None)
            if holder is not None and self._is_held(holder):
                break
            epoch = least_epoch if holder is None else max(least_epoch, holder.epoch + 1)
            if self._write(replace(self._me, epoch=epoch)):
                return
        assert found is not None
        raise LakeError(refusal(self._files, self._role, found[0].pid, found[0].host))

    def renew(self) -> None:
        """Keep the role for another `LIFE` seconds. Raises `LeaseLost`, `OSError`."""
        if self._lost is not None:
            raise self._lost
        if self._write(self._me):
            return
        found = self._read()
        if found is not None and found[0].is_same(self._me):  # ours: a renewal whose answer was lost
            self._version = found[1]
            if self._write(self._me):
                return
        who = "was removed" if found is None else f"is now that of process {found[0].pid} on {found[0].host}"
        self._lost = LeaseLost(
            f"lake {self._files}: the lease of its {self._role} {who}; nothing more is published here"
        )
        raise self._lost

    def require(self) -> None:
        """Raises `LeaseLost` if another has the role, `LakeUnwritable` while it is not known that none has."""
        if self._lost is not None:
            raise self._lost
        if self._monotonic() >= self._until:
            raise LakeUnwritable(
                f"lake {self._files}: the lease of its {self._role} could not be renewed for {LIFE:.0f} s; "
                "nothing is published until it is"
            )

    def give_up(self) -> None:
        """Let the next one have the role without waiting."""
        with suppress(OSError):
            if self._lost is None and self._version is not None:
                self._files.swap(self._path, replace(self._me, renewed=None).bytes(), self._version)
        self._until = float("-inf")

    def _write(self, me: Holder) -> bool:
        """Put `me` in the place of the version that was seen; whether that is what is there now."""
        began, me = self._monotonic(), replace(me, renewed=self._wall())
        try:
            version = self._files.swap(self._path, me.bytes(), self._version)
        except ConnectionError:  # applied or not: the file tells
            found = self._read()
            if found is None or found[0] != me:
                raise
            version = found[1]
        if version is None:
            return False
        self._me, self._version, self._until = me, version, began + LIFE
        return True

    def _read(self) -> tuple[Holder, str] | None:
        found = self._files.load(self._path)
        if found is None:
            return None
        try:
            return Holder(**json.loads(found[0])), found[1]
        except (ValueError, TypeError) as exc:
            raise LakeError(
                f"{self._files.address(self._path)}: is no lease; remove it if no one writes there"
            ) from exc

    def _is_held(self, holder: Holder) -> bool:
        """Whether another process may be at work."""
        if holder.renewed is None or holder.machine == self._me.machine:
            return False
        return abs(self._wall() - holder.renewed) < LIFE


@contextmanager
def sole(store: Store, role: str, least_epoch: Callable[[], int] = lambda: 0) -> Iterator[Store]:
    """While this lasts no other process has that role on the lake, here or elsewhere; the store to write with.

    That store refuses to write once the role is lost, and its `least_epoch` is larger than each former holder's, at
    least what `least_epoch` says. Raises `LakeError`, naming who has the role.
    """
    if isinstance(store.root, Bucket):
        store.local.mkdir(parents=True, exist_ok=True)
    with only_one(store.local, role, store.root):
        if not isinstance(store.root, Bucket):
            yield store
            return
        me = Holder(socket.gethostname(), os.getpid(), _machine(store.local), 0, None)
        files = BucketFiles(store.root, patience=LIFE / 3, tries=2)
        lease, stop = Lease(files, role, me), threading.Event()
        try:
            lease.take(least_epoch())
        except OSError as exc:
            raise LakeUnwritable(f"lake {store.root}: no lease can be taken: {exc.strerror or exc}") from exc
        keeper = threading.Thread(target=_keep, args=(lease, stop), name=f"lease-{role}", daemon=True)
        keeper.start()
        try:
            yield replace(store, require_owner=lease.require, least_epoch=lease.epoch)
        finally:
            stop.set()
            keeper.join()
            lease.give_up()


def _keep(lease: Lease, stop: threading.Event) -> None:
    """Renew until `stop`, or until there is nothing to renew."""
    pause = BEAT
    while not stop.wait(pause):
        try:
            lease.renew()
            pause = BEAT
        except LakeError as exc:
            LOG.error("%s", exc)
            return
        except OSError as exc:
            LOG.warning("lease: not renewed, tried again: %s", exc.strerror or exc)
            pause = AGAIN


def _machine(local: Path) -> str:
    """A name of that folder that no other has, made once."""
    path = local / _MACHINE
    if not path.exists():
        temp = path.with_suffix(".tmp")
        temp.write_text(uuid.uuid4().hex)
        temp.replace(path)
    return path.read_text()
