"""Ports that must be free before anything starts, and who holds those that are not."""

import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lake.errors import SettingError
from lake.text import safe_text

HOST: Final = "127.0.0.1"
_LISTENING: Final = "0A"  # as /proc/net/tcp spells it


@dataclass(frozen=True, slots=True)
class Port:
    """A port on loopback and the setting that gives it."""

    number: int
    setting: str


def require_free(ports: Iterable[Port]) -> None:
    """Raises `SettingError`, in one line, if two settings share a port or something else listens on one."""
    owners: dict[int, str] = {}
    busy = []
    for port in ports:
        other = owners.setdefault(port.number, port.setting)
        if other != port.setting:
            raise SettingError(f"{other} and {port.setting} are both {port.number}; set one of them to another port")
        reason = _trouble(port.number)
        if reason:
            busy.append(f"port {port.number} ({port.setting}) {reason}")
    if busy:
        settings = "that setting" if len(busy) == 1 else "those settings"
        raise SettingError(f"{'; '.join(busy)}: stop what runs there, or give {settings} another port")


def answers(port: int) -> bool:
    """Whether something accepts a connection there."""
    try:
        with socket.create_connection((HOST, port), timeout=0.3):
            return True
    except OSError:
        return False


def owner(port: int) -> str | None:
    """`pid 123 (name)` of whoever listens there; None where the system does not tell us."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for folder in Path("/proc").glob("[0-9]*/fd") if sockets else ():
        with suppress(OSError):
            if any(_target(link) in sockets for link in folder.iterdir()):
                return f"pid {folder.parent.name} ({safe_text(_name(folder.parent), 60)})"
    return None


def _trouble(port: int) -> str | None:
    """Why we cannot listen there; None if we can."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
            trial.listen(1)
        except PermissionError:
            return "is not ours to use"
        except OSError:
            return f"is in use by {owner(port) or 'another program'}"
    return None


def _inodes(port: int) -> list[str]:
    """Of the sockets that listen on `port` at any address."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
            found += [row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]
    return found


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed meanwhile
        return ""


def _name(process: Path) -> str:
    """The command, without the path of the interpreter: `movers up`, `python -m http.server`."""
    words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:5]
    return " ".join(Path(word).name if "/" in word else word for word in words).strip()
