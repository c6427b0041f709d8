"""How much room there is on a disk, and how much of it is left alone."""

import shutil
from pathlib import Path
from typing import Final

LEAST: Final = 512 << 20
SHARE: Final = 0.05


def reserve(total: int) -> int:
    """Bytes that stay free on a disk of that size, unless a setting says otherwise: 512 MiB or 5 %, the larger."""
    return max(LEAST, round(total * SHARE))


def is_low(path: Path, least: int | None = None) -> bool:
    """Whether the disk that holds `path` has less than `least` bytes free; None = `reserve` of its size."""
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    return usage.free < (reserve(usage.total) if least is None else least)
