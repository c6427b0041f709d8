"""What tests of the command line share."""

import sys
from collections.abc import Callable

import pytest

from flows import cli


@pytest.fixture
def movers(monkeypatch, tmp_path, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run `movers` in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("MOVERS_RECORDINGS", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["movers", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    return run
