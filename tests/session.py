"""The project's own session, as a lake made by the command itself."""

import gzip
import sys
from itertools import islice
from pathlib import Path

import pytest

from flows import cli
from lake.place import Bucket

SESSION = Path(__file__).parent / "frames" / "session"


def run(*arguments: str) -> int:
    """The exit code of `movers` with these arguments, run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["movers", *arguments])
        for console in (cli.out, cli.err):
            patch.setattr(console, "width", 250)
        with pytest.raises(SystemExit) as stop:
            cli.main()
    return stop.value.code or 0


def beginning(folder: Path, lines: int = 1_200) -> Path:
    """A recording in that folder with the beginning of Kalshi's part of it: enough for a board, and soon replayed."""
    path = folder / "kalshi.jsonl.gz"
    with gzip.open(SESSION / path.name, "rt") as whole, gzip.open(path, "wt") as some:
        some.writelines(islice(whole, lines))
    return path


def replayed(root: Path | Bucket, recording: Path = SESSION) -> Path | Bucket:
    """The lake at `root`, with the session, or that part of it, replayed into it."""
    assert run("replay", str(recording), "--lake", str(root)) == 0
    return root
