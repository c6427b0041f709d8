"""What the repository may hold: no place of a machine, no registry, and settings that are documented as they are."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lake
from lake.settings import Settings

ROOT = Path(lake.__file__).parents[1]
NOT_OURS = {".git", ".venv", "data", "build", "dist"}


def git(*args: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", ROOT, *args], input=given, capture_output=True, text=True, check=False)


def files() -> list[Path]:
    """What git tracks or would add; outside a clone, all but caches and data."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        found = list(_walk(ROOT))
    return sorted(path for path in found if path.is_file())


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir():
            if path.name not in NOT_OURS and not path.name.endswith(("cache", "__", ".egg-info", ".hypothesis")):
                yield from _walk(path)
        elif path.name != ".env":
            yield path


def texts() -> dict[str, str]:
    """The text files, by their path in the repository."""
    found = {}
    for path in files():
        raw = path.read_bytes()
        if b"\0" not in raw:
            found[path.relative_to(ROOT).as_posix()] = raw.decode("utf-8", "replace")
    return found


def holders(pattern: str) -> list[str]:
    return [name for name, text in texts().items() if re.search(pattern, text)]


def test_files_are_found():
    """The tests below look at something."""
    assert {"pyproject.toml", "lake/settings.py", ".ci/run", "tests/project/test_hygiene.py"} <= set(texts())


@pytest.mark.parametrize(
    "parts",
    [
        ("py", "pi", r"\.", "org"),
        ("python", "hosted", r"\.", "org"),
        ("registry", r"\.", "npm", "js"),
        ("registry", r"\.", "yarn", "pkg"),
        ("deb", r"\.", "deb", "ian"),
        ("conda", r"\.", "ana", "conda"),
        ("repo", r"\.", "ana", "conda"),
        ("proxy", r"\.", "golang"),
        ("static", r"\.", "crates"),
    ],
    ids="".join,
)
def test_no_registry_host(parts):
    """Packages come from wherever the machine is told to look; no file names a registry."""
    assert holders("".join(parts)) == []


@pytest.mark.parametrize("name", ["work", "root", "home", "Users"])
def test_no_place_of_a_machine(name):
    """No absolute path that holds on one machine only."""
    assert holders(rf"(?<![\w.~}}-])/{name}/") == []


def test_neighbours_are_named_by_ci_alone():
    """What lies beside the repository is CI's business."""
    assert set(holders(r"\.\./" + "shared")) <= {".ci/run"}
    assert holders(r"\.\./\." + "library") == []


def test_license():
    """MIT, as pyproject.toml says."""
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License\n\nCopyright (c) 2026 the prediction-market-movers authors\n")
    assert 'THE SOFTWARE IS PROVIDED "AS IS"' in text


def test_readme_says_how_to_start():
    """The two commands that a newcomer needs."""
    text = (ROOT / "README.md").read_text()
    assert "make run" in text
    assert "make test" in text


def test_floors():
    """Imports only point down: the contracts of pyproject.toml hold."""
    tool = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_make_lists_its_targets():
    """`make` alone explains each target, and there is none that it hides."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ran = subprocess.run(["make", "-C", ROOT, "--no-print-directory"], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^  make (\w+)\t", ran.stdout, re.MULTILINE) == phony.split()


def test_git_ignores_no_source():
    """The lake's code is kept, the lake itself and secrets are not."""
    names = [
        "lake/store.py",
        "lake/derived/bars.py",
        "docs/data.md",
        ".env.example",
        "data/live/x.parquet",
        ".env",
        ".venv/x",
    ]
    if git("rev-parse").returncode:
        pytest.skip("not a git clone")
    ignored = git("check-ignore", "--no-index", "--stdin", given="\n".join(names)).stdout.split()
    assert ignored == ["data/live/x.parquet", ".env", ".venv/x"]


# The settings, as .env.example tells them

EXAMPLE = ROOT / ".env.example"
SETTING = re.compile(r"^# ([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("MOVERS_RECORDINGS", raising=False)
    return Settings(_env_file=None)


def test_example_documents_every_setting():
    """Each setting once, with a comment that says what it is, and nothing that is not a setting."""
    text = EXAMPLE.read_text()
    named = [name for name, _ in SETTING.findall(text)]
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)
    for name in named:
        assert re.search(rf"\n\n(# [^-\n].*\n)+# {name}=", text), f"{name}: say what it is"
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == []


def test_example_gives_the_defaults(tmp_path, defaults):
    """As it stands and with every line switched on, the file changes nothing."""
    switched_on = tmp_path / "env"
    switched_on.write_text(SETTING.sub(r"\1=\2", EXAMPLE.read_text()))
    assert Settings(_env_file=EXAMPLE) == defaults
    assert Settings(_env_file=switched_on) == defaults


def test_example_spells_each_default_out(defaults):
    """A default that is a value is written, and only one that is computed or absent is left empty."""
    for name, value in SETTING.findall(EXAMPLE.read_text()):
        default = getattr(defaults, name.lower())
        assert bool(value) == (default not in (None, "", ())), name
