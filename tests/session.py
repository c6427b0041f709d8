"""The project's own session, as a lake made by the command itself."""

import sys
from pathlib import Path

import pytest

from flows import cli

SESSION = Path(__file__).parent / "frames" / "session"


def replayed(root: Path) -> Path:
    """The lake at `root`, with the session replayed into it."""
    argv, sys.argv = sys.argv, ["movers", "replay", str(SESSION), "--lake", str(root)]
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main()
    finally:
        sys.argv = argv
    assert stop.value.code in (0, None)
    return root
