"""The project's own session, as a lake made by the command itself."""

import sys
from pathlib import Path

import pytest

from flows import cli
from lake.place import Bucket

SESSION = Path(__file__).parent / "frames" / "session"


def replayed(root: Path | Bucket, recording: Path = SESSION) -> Path | Bucket:
    """The lake at `root`, with the session, or that part of it, replayed into it."""
    argv, sys.argv = sys.argv, ["movers", "replay", str(recording), "--lake", str(root)]
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main()
    finally:
        sys.argv = argv
    assert stop.value.code in (0, None)
    return root
