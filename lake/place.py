"""Where a lake is: a folder, or a prefix in a bucket of an object store."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from lake.errors import SettingError

SCHEME: Final = "s3://"
SPOOL: Final = Path("data/spool")
"""Where the local part of a lake in a bucket is, unless it is told otherwise."""

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FOLDER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A lake in an object store; its name as text is `s3://<bucket>/<prefix>`."""

    name: str
    prefix: str  # folders with / between; may be empty
    local: Path  # the folder for what has to stay on this machine

    def __str__(self) -> str:
        return SCHEME + "/".join(filter(None, (self.name, self.prefix)))


Place: TypeAlias = Path | Bucket


def place(given: str | Place, local: Path | None = None) -> Place:
    """The place that `given` names; `local` is a bucket's local folder. Raises `SettingError`."""
    if not isinstance(given, str):
        return given
    if "://" not in given:
        return Path(given)
    name, *folders = given.removeprefix(SCHEME).removesuffix("/").split("/")
    is_spelled = given.startswith(SCHEME) and _BUCKET.fullmatch(name) and all(map(_FOLDER.fullmatch, folders))
    if not is_spelled:
        raise SettingError(f"{given}: is no place for a lake; give a folder or s3://bucket/prefix, of letters and ._=-")
    return Bucket(name, "/".join(folders), local or SPOOL / "+".join((name, *folders)))


def absolute(where: Place) -> Place:
    """The same place, told so that it means the same from every folder."""
    return where if isinstance(where, Bucket) else where.absolute()
