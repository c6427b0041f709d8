"""What tests of the command line share."""

from collections.abc import Callable

import pytest

from tests import session
from tests.environment import RECORDINGS


@pytest.fixture
def movers(monkeypatch, tmp_path, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run `movers` in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(RECORDINGS, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code, said = session.run(*arguments), capsys.readouterr()
        return code, said.out, said.err

    return run
