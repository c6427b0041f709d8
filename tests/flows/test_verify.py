"""`movers verify` as a user meets it: exit codes, next steps, a repair that is told before it is done."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from flows import verify as command
from lake import layout
from lake.verify.apart import Apart
from tests.lake.verify.small import small
from tests.session import beginning, replayed

MOVERS = Path(sys.executable).with_name("movers")


@pytest.fixture(scope="module")
def processes() -> Iterator[Apart]:
    """The processes that read rows, for all tests here."""
    with Apart(1) as started:
        yield started


@pytest.fixture
def lake(tmp_path) -> Path:
    """A small lake, to be harmed."""
    return small(tmp_path / "small").root


@pytest.fixture
def verify(movers, monkeypatch, processes):
    """Run `movers verify`: exit code, standard output, standard error. Quotes are kept so many days, 0 = for ever."""
    monkeypatch.setattr(command, "Apart", lambda: nullcontext(processes))

    def run(folder: Path, *arguments: str, quotes: int = 0) -> tuple[int, str, str]:
        monkeypatch.setenv("RETENTION_DAYS", f"quotes={quotes}")
        return movers("verify", "--lake", str(folder), *arguments)

    return run


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file."""
    found = (place for place in folder.rglob("*") if place.is_file())
    return {place.relative_to(folder).as_posix(): (place.stat().st_size, place.stat().st_mtime_ns) for place in found}


def test_a_replayed_session_is_exit_code_0(tmp_path):
    """The command itself says how much was looked at, and changes nothing."""
    session = replayed(tmp_path / "lake", beginning(tmp_path))
    count = len(list(session.rglob("*.parquet")))
    before = files(session)
    ran = subprocess.run(
        [MOVERS, "verify", "--lake", session], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120,
        env=os.environ | {"COLUMNS": "250"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "Nothing found" in ran.stdout and re.search(rf"\b{count} files, \d+ lines of the ledger", ran.stdout)
    assert files(session) == before


def test_damage_is_exit_code_1_and_a_repair_0(verify, lake):
    """Found, with the next step; a dry run changes nothing, the repair does what was told, and once is enough."""
    victim = sorted((lake / "quotes").rglob("*.parquet"))[1]
    os.truncate(victim, 100)
    before = files(lake)
    code, out, _ = verify(lake)
    assert code == 1
    assert "damaged file" in out and victim.stem in out.replace("\n", "") and "--repair" in out
    code, out, _ = verify(lake, "--repair", "--dry-run")
    assert code == 1
    assert "begin with 2 steps" in out and "quarantine: quotes/" in out and "record a gap" in out
    assert files(lake) == before
    code, out, said = verify(lake, "--repair")
    assert code == 0
    assert "lost, on record" in out and "quarantine: quotes/" in said
    assert (lake / "_quarantine" / victim.relative_to(lake)).stat().st_size == 100
    mended = files(lake)
    code, _, said = verify(lake, "--repair")
    assert code == 0 and "quarantine" not in said
    assert {path: mark for path, mark in files(lake).items() if not path.endswith(".lock")} == {
        path: mark for path, mark in mended.items() if not path.endswith(".lock")
    }


def test_what_is_kept_no_longer_is_not_missed(verify, lake):
    """Rows of long ago that RETENTION_DAYS lets go are no finding, and a repair has nothing to do."""
    sorted((lake / "quotes").rglob("*.parquet"))[1].unlink()
    assert verify(lake)[0] == 1
    code, out, said = verify(lake, "--repair", quotes=1)
    assert code == 0 and "Nothing found" in out and "gap" not in said


@pytest.mark.parametrize(
    ("arguments", "harm", "word"),
    [
        ((), lambda folder: shutil.rmtree(folder), "there is none"),
        ((), lambda folder: (folder / layout.MARKER).unlink(), "there is none"),
        ((), lambda folder: (folder / layout.MARKER).write_text("{"), "no lake marker"),
        ((), lambda folder: newer(folder), "schema 99"),
        (("--dry-run",), lambda folder: None, "give both"),
    ],
)
def test_what_cannot_be_looked_at_is_exit_code_2(verify, lake, arguments, harm, word):
    """No lake, no marker, a damaged one, that of a newer program, and a question that makes no sense: one line each."""
    harm(lake)
    lake.mkdir(exist_ok=True)
    code, _, said = verify(lake, *arguments)
    assert code == 2
    assert word in said and len(said.strip().splitlines()) == 1


def newer(folder: Path) -> None:
    """Let the lake be of a program of tomorrow."""
    marker = folder / layout.MARKER
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"schema_version": 99}))


def test_help_teaches(movers):
    """What it looks at, what the exit codes mean, and how it is called."""
    code, out, _ = movers("verify", "--help")
    assert code == 0
    assert all(word in out for word in ("--full", "--repair", "--dry-run", "Exit code", "sound"))
