"""Files in a bucket of an object store that speaks S3, through obstore: a file is one PUT, so it is whole or absent.

A file that never changes is created by a conditional PUT. Where an answer is lost nobody knows whether the PUT was
applied: it is sent again, and "is there already" is settled by comparing the bytes. Requests that may succeed later,
such as one that met "503 Slow Down", are repeated a few times with full jitter; then whoever asked decides. Keys and
region come from the environment, as usual for S3, and stay there.
"""

import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from random import Random
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit
from zlib import crc32

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from lake.errors import LakeUnwritable, SettingError
from lake.files import Stat, Wanted, Write, descend
from lake.place import Bucket

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode
    from pyarrow.fs import FileSystem

TRIES: Final = 6
"""How often a request is sent before its failure is told."""

FIRST_PAUSE: Final = 0.1  # seconds, doubled with each try; the pause is anything up to that
LONGEST_PAUSE: Final = 5.0
PATIENCE: Final = 60.0  # seconds for one request with its answer
CONNECT: Final = 5.0  # seconds of it for the connection
OLD: Final = 3_600.0  # seconds after which nobody is still writing a temporary file

_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REGIONS: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_STATUS: Final = re.compile(r"status code: (\d{3}[ A-Za-z-]*)")
_PASSING: Final = ("408", "409", "425", "429", "500", "502", "503", "504")
_REDIRECT: Final = "redirect"
TEMP: Final = ".put-"
_NO_VERSION: Final = '"0"'

T = TypeVar("T")


class Service(NamedTuple):
    """The object store: where it answers, None for Amazon's own, and its region."""

    endpoint: str | None
    region: str

    @property
    def is_plain(self) -> bool:
        """Whether it is spoken to without TLS."""
        return self.endpoint is not None and self.endpoint.startswith("http://")


def service(environment: Mapping[str, str]) -> Service:
    """The object store that these variables name. Raises `SettingError` for one without TLS on another machine."""
    name = next((name for name in _ENDPOINTS if environment.get(name)), None)
    region = next((environment[name] for name in _REGIONS if environment.get(name)), "us-east-1")
    if name is None:
        return Service(None, region)
    endpoint = environment[name].rstrip("/")
    parts = urlsplit(endpoint)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(parts.hostname)):
        raise SettingError(
            f"{name}={parts.scheme}://{parts.hostname}: keys and rows travel by https only; write https://"
        )
    return Service(endpoint, region)


def _is_here(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


class BucketFiles:
    """Files below a prefix of a bucket."""

    def __init__(
        self,
        place: Bucket,
        *,
        patience: float = PATIENCE,
        tries: int = TRIES,
        rng: Random | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """`rng` and `sleep` make and keep the pauses between tries. Raises `SettingError`."""
        self._place: Final = place
        self._service: Final = service(os.environ)
        self._tries, self._rng, self._sleep = tries, rng or Random(), sleep
        self._store: Final = S3Store(
            place.name,
            prefix=place.prefix or None,
            endpoint=self._service.endpoint,
            region=self._service.region,
            client_options={
                "allow_http": self._service.is_plain,
                "timeout": timedelta(seconds=patience),
                "connect_timeout": timedelta(seconds=min(patience, CONNECT)),
            },
            retry_config={"max_retries": 0},  # here, where it is known what a repetition means
            disable_bulk_delete=True,
        )

    def __str__(self) -> str:
        return str(self._place)

    def prepare(self) -> None:
        """The bucket has to be there already. What a killed process left on this machine is swept away."""
        self._list("")
        for left in self._place.local.glob(f"{TEMP}*"):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > OLD:
                    rmtree(left, ignore_errors=True)

    def require_conditions(self, path: str) -> None:
        """A PUT whose condition does not hold must be refused.

        Tried on a file that is there, with its own bytes, so a store that does not look at conditions changes nothing.
        """
        data = self.read(path)
        if self._put_new(path, data) or self.swap(path, data, _NO_VERSION) is not None:
            raise LakeUnwritable(
                f"lake {self._place}: its store takes no notice of If-None-Match and If-Match, so two writers could "
                "overwrite each other; use one that does"
            )

    def folders(self, folder: str, wanted: Wanted) -> list[str]:
        """By listing each level."""
        return descend(folder, wanted, lambda above: self._list(above)[0])

    def tree(self, folder: str, wanted: Wanted) -> list[tuple[str, list[str]]]:
        """By listing each level while values are wanted, then all that is below: a thousand names a request."""
        depth = len(wanted)
        while depth and wanted[depth - 1] is None:
            depth -= 1
        found: dict[str, list[str]] = {}
        levels = folder.count("/") + len(wanted)
        for above in self.folders(folder, wanted[:depth]):
            for path in self.walk(above):
                below, _, name = path.rpartition("/")
                if below.count("/") == levels:
                    found.setdefault(below, []).append(name)
        return list(found.items())

    def walk(self, folder: str) -> list[str]:
        """A thousand names a request."""
        return sorted(meta["path"] for meta in self._below(folder))

    def stats(self, paths: Collection[str]) -> dict[str, Stat]:
        """By listing their folders."""
        folders = {path.rpartition("/")[0] for path in paths}
        found = {meta["path"]: _stat(meta) for folder in folders for meta in self._list(folder)[1]}
        return {path: found[path] for path in paths if path in found}

    def mark(self, folder: str) -> tuple[int, int] | None:
        """A sum over names and versions tells what the newest time alone would not."""
        metas = self._list(folder)[1]
        if not metas:
            return None
        words = sorted(f"{meta['path']} {meta['e_tag']}" for meta in metas)
        return max(_stat(meta).modified for meta in metas), crc32("\n".join(words).encode())

    def stat(self, path: str) -> Stat | None:
        """A file's version is its entity tag."""
        try:
            return _stat(self._ask(lambda: obstore.head(self._store, path)))
        except FileNotFoundError:
            return None

    def read(self, path: str) -> bytes:
        """All of it."""
        return self._ask(lambda: bytes(obstore.get(self._store, path).bytes()))

    def edges(self, path: str, first: int, last: int) -> tuple[bytes, bytes, int]:
        """Its size, then two ranges."""
        size = self._ask(lambda: obstore.head(self._store, path))["size"]
        if not size:
            return b"", b"", 0
        starts, ends = [0, max(0, size - last)], [min(first, size), size]
        head, tail = self._ask(lambda: obstore.get_ranges(self._store, path, starts=starts, ends=ends))
        return bytes(head), bytes(tail), size

    def create(self, path: str, write: Write) -> bool:
        """By a PUT on the condition that there is none; if its answer was lost, what is there then tells."""
        data, is_unsure = self._made(path, write), False

        def put() -> bool:
            nonlocal is_unsure
            try:
                if self._put_once(path, data):
                    return True
            except GenericError:
                is_unsure = True
                raise
            try:
                there = obstore.get(self._store, path).bytes()
            except FileNotFoundError:  # another writer's PUT was on its way: ask again
                raise GenericError("status code: 409 Conflict") from None
            if there != data:
                raise FileExistsError(17, "is there", path)
            return is_unsure

        return self._ask(put)

    def replace(self, path: str, write: Write) -> None:
        """By a plain PUT: to repeat it does no harm."""
        data = self._made(path, write)
        self._ask(lambda: obstore.put(self._store, path, data, mode="overwrite", use_multipart=False))

    def load(self, path: str) -> tuple[bytes, str] | None:
        """A file's bytes and version; None if it is not there."""
        try:
            found = self._ask(lambda: obstore.get(self._store, path))
            return bytes(found.bytes()), found.meta["e_tag"] or ""
        except FileNotFoundError:
            return None

    def swap(self, path: str, data: bytes, version: str | None) -> str | None:
        """Replace that version of a file, None = no file, and no other; the new version, or None if it is not that one.

        Sent once: who gets no answer has to look what is there. Raises `OSError`.
        """
        mode: PutMode = "create" if version is None else {"e_tag": version}
        try:
            return self._ask(lambda: obstore.put(self._store, path, data, mode=mode, use_multipart=False), tries=1)[
                "e_tag"
            ]
        except (PreconditionError, AlreadyExistsError, FileNotFoundError):
            return None

    def remove(self, path: str) -> None:
        """To repeat it does no harm."""
        try:
            self._ask(lambda: obstore.delete(self._store, path))
        except FileNotFoundError:
            return

    def move(self, path: str, to: str) -> None:
        """A copy within the store, then the removal: for a moment it is in both places, and never in none."""
        self._ask(lambda: obstore.copy(self._store, path, to))
        self.remove(path)

    def prune(self, folder: str) -> None:
        """A bucket has no folders."""

    def address(self, path: str) -> str:
        """As s3://bucket/key."""
        return f"{self._place}/{path}"

    def polars(self) -> Mapping[str, Any]:
        """Polars takes the keys from the environment too."""
        options = {"aws_region": self._service.region}
        if self._service.endpoint is not None:
            options |= {
                "aws_endpoint_url": self._service.endpoint,
                "aws_allow_http": str(self._service.is_plain).lower(),
            }
        return {"storage_options": options, "credential_provider": None}

    def arrow(self) -> tuple["FileSystem", str]:
        """Pyarrow's own, which reads ranges without the interpreter."""
        from pyarrow.fs import S3FileSystem

        scheme, _, host = (self._service.endpoint or "https://").partition("://")
        found = S3FileSystem(endpoint_override=host or None, scheme=scheme, region=self._service.region)
        return found, "/".join(filter(None, (self._place.name, self._place.prefix)))

    def _made(self, path: str, write: Write) -> bytes:
        """What `write` writes, by way of a file on this machine."""
        self._place.local.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=TEMP, dir=self._place.local) as folder:
            temp = Path(folder) / PurePosixPath(path).name
            write(temp)
            return temp.read_bytes()

    def _put_new(self, path: str, data: bytes) -> bool:
        return self._ask(lambda: self._put_once(path, data))

    def _put_once(self, path: str, data: bytes) -> bool:
        """Create a file by one request; False if there is one, or one is just being written."""
        try:
            obstore.put(self._store, path, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True

    def _list(self, folder: str) -> tuple[list[str], list["ObjectMeta"]]:
        """The names of the folders and the facts of the files directly in `folder`."""
        found = self._ask(lambda: obstore.list_with_delimiter(self._store, folder))
        names = [PurePosixPath(path).name for path in found["common_prefixes"]]
        return names, list(found["objects"])

    def _below(self, folder: str) -> list["ObjectMeta"]:
        return self._ask(lambda: list(obstore.list(self._store, folder).collect()))

    def _ask(self, request: Callable[[], T], tries: int | None = None) -> T:
        """The answer, of a later try if need be. Raises `OSError` in one line, without what the store wrote."""
        most = tries or self._tries
        for number in range(1, most + 1):
            try:
                return request()
            except (PreconditionError, AlreadyExistsError):
                raise
            except BaseError as exc:
                if _is_refusal(exc):
                    reason = "refused; look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what the key may do"
                    raise PermissionError(13, f"the object store said {_status(exc)}: {reason}", str(self)) from None
                if number == most or not _is_passing(exc):
                    often = f", {number} times" if number > 1 else ""
                    raise ConnectionError(110, f"the object store said {_status(exc)}{often}", str(self)) from None
                self._sleep(self._rng.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**number)))
        raise AssertionError("a try returns or raises")


def _stat(meta: "ObjectMeta") -> Stat:
    when = meta["last_modified"].timestamp()
    return Stat(meta["size"], int(when * 1_000) * 1_000_000, meta["e_tag"] or "")


def _status(exc: Exception) -> str:
    """What the store answered: its status alone, since an answer's text may repeat parts of the request."""
    found = _STATUS.search(str(exc))
    if found:
        return found[1].strip()
    return (
        "elsewhere: AWS_REGION is not the bucket's"
        if _REDIRECT in str(exc)
        else "nothing: no connection, or it broke off"
    )


def _is_refusal(exc: Exception) -> bool:
    """Whether the key is none, or may not do this; a listing says so in words alone."""
    is_said = isinstance(exc, PermissionDeniedError | UnauthenticatedError)
    return is_said or _status(exc).startswith(("401", "403"))


def _is_passing(exc: Exception) -> bool:
    """Whether the same request may succeed later: a busy or failing store, or no answer at all."""
    found = _STATUS.search(str(exc))
    return found[1].startswith(_PASSING) if found else _REDIRECT not in str(exc)
