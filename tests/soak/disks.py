"""A disk that fills up: a small file system in memory, and a file on it that takes what room is wanted."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage

import pytest

MIB = 1 << 20


@contextmanager
def small(place: Path, size: int) -> Iterator[Path]:
    """A file system of `size` bytes mounted at `place`; the test is skipped where it cannot be."""
    place.mkdir()
    asked = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    try:
        subprocess.run(asked, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        reason = getattr(exc, "stderr", None) or str(exc)
        pytest.skip(f"no file system can be mounted here: {reason.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


class Ballast:
    """The file that takes the room."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ballast"

    def fill(self, free: int) -> None:
        """Take room until about `free` bytes are left."""
        with self._path.open("ab") as file:
            while (left := disk_usage(self._path.parent).free - free) > 0:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), min(left, MIB))
                except OSError:  # the last byte is gone
                    return

    def leave(self) -> None:
        """Give all of it back."""
        self._path.unlink()
