"""`movers verify` as a user meets it: exit codes, next steps, a repair that is told before it is done."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lake import layout
from tests.session import replayed

MOVERS = Path(sys.executable).with_name("movers")


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> Path:
    """The project's own session in a lake, made by the command itself."""
    return replayed(tmp_path_factory.mktemp("lake"))


@pytest.fixture
def lake(session, tmp_path) -> Path:
    """A copy of it, to be harmed."""
    return Path(shutil.copytree(session, tmp_path / "lake"))


def verify(folder: Path, *arguments: str, quotes: int = 0) -> tuple[int, str, str]:
    """The command: exit code, standard output, standard error. Quotes are kept so many days, 0 = for ever."""
    command = [MOVERS, "verify", "--lake", folder, *arguments]
    env = os.environ | {"COLUMNS": "250", "RETENTION_DAYS": f"quotes={quotes}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=folder.parent, timeout=120)
    return done.returncode, done.stdout, done.stderr


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file."""
    found = (place for place in folder.rglob("*") if place.is_file())
    return {place.relative_to(folder).as_posix(): (place.stat().st_size, place.stat().st_mtime_ns) for place in found}


def test_a_sound_lake_is_exit_code_0(session):
    """It says how much was looked at, and changes nothing."""
    before = files(session)
    code, out, _ = verify(session)
    assert code == 0
    assert "Nothing found" in out and re.search(r"9\d\d files, 6\d\d lines of the ledger", out)
    assert files(session) == before


def test_damage_is_exit_code_1_and_a_repair_0(lake):
    """Found, with the next step; a dry run changes nothing, the repair does what was told, and once is enough."""
    victim = sorted((lake / "quotes").rglob("*.parquet"))[7]
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


def test_what_is_kept_no_longer_is_not_missed(lake):
    """Rows of long ago that RETENTION_DAYS lets go are no finding, and a repair has nothing to do."""
    sorted((lake / "quotes").rglob("*.parquet"))[7].unlink()
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
def test_what_cannot_be_looked_at_is_exit_code_2(lake, arguments, harm, word):
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


def test_help_teaches():
    """What it looks at, what the exit codes mean, and how it is called."""
    done = subprocess.run([MOVERS, "verify", "--help"], capture_output=True, text=True, check=True)
    assert all(word in done.stdout for word in ("--full", "--repair", "--dry-run", "Exit code", "sound"))
