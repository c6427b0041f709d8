"""One list of dependencies, told three times: pyproject.toml, the locks, environment.yml. They must agree."""

import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import lake

ROOT = Path(lake.__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PYPROJECT["dependency-groups"]
PYTHONS = ("3.11", "3.12", "3.13")

# Where conda calls a distribution otherwise.
CONDA_NAMES = {"duckdb": "python-duckdb"}
CONDA_ONLY = {"pip"}  # installs this project, without its dependencies
HELD_BACK = {"fastapi": "0.155", "sqlalchemy": "2.1", "prefect": "3.9", "websockets": "17"}


def stated(*lists: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in (Requirement(line) for lines in lists for line in lines)}


RUN_TIME = stated(PYPROJECT["project"]["dependencies"])
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
DEVELOPMENT = stated(EXTRAS["test"], EXTRAS["notebooks"], GROUPS["build"])
LOCKED = RUN_TIME | DEVELOPMENT


def entries(path: Path) -> list[str]:
    """Each requirement of a lock with its hashes, as one line."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def pins(path: Path) -> dict[str, list[Requirement]]:
    """By name; more than one where the version depends on the Python."""
    found = defaultdict(list)
    for entry in entries(path):
        requirement = Requirement(entry.split("--hash", 1)[0].strip())
        found[canonicalize_name(requirement.name)].append(requirement)
    return dict(found)


def version(pin: Requirement) -> Version:
    (only,) = pin.specifier
    assert only.operator == "=="
    return Version(only.version)


LOCKS = [(ROOT / "requirements.lock", LOCKED), (ROOT / "requirements-uv.lock", stated(GROUPS["installer"]))]
BOTH_LOCKS = pytest.mark.parametrize(("path", "requirements"), LOCKS, ids=lambda value: getattr(value, "name", ""))


@BOTH_LOCKS
def test_lock_satisfies_pyproject(path, requirements):
    """Each dependency is locked, for each Python that we support, at a version in its range."""
    locked = pins(path)
    assert sorted(set(requirements) - set(locked)) == [], "run `make lock`"
    wrong = [str(p) for name, r in requirements.items() for p in locked[name] if version(p) not in r.specifier]
    assert wrong == [], "run `make lock`"
    for name in requirements:
        for python in PYTHONS:
            environment = {"python_version": python, "python_full_version": f"{python}.0"}
            chosen = [p for p in locked[name] if p.marker is None or p.marker.evaluate(environment)]
            assert len(chosen) == 1, f"{name} on Python {python}"


@BOTH_LOCKS
def test_lock_is_hashed(path, requirements):
    """Nothing is installed that is not known byte for byte."""
    bare = [e.split()[0] for e in entries(path) if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", e)]
    assert bare == []


@BOTH_LOCKS
def test_lock_names_no_address(path, requirements):
    """Any mirror serves it: no address, no index, no file of a machine."""
    text = path.read_text()
    assert not re.search(r"https?:|file:|://|index-url|find-links|^-", text, re.MULTILINE)


def test_no_lock_that_records_addresses():
    """`uv.lock` and its like name the registry they were made with."""
    assert [p.name for p in ROOT.iterdir() if p.name in {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"}] == []


@pytest.mark.parametrize(("name", "bound"), HELD_BACK.items())
def test_held_back(name, bound):
    """What is known to break Prefect 3.8, or untried, stays out: in the ranges and in the lock."""
    assert not RUN_TIME[name].specifier.contains(bound)
    assert not RUN_TIME[name].specifier.contains(f"{bound}.1", prereleases=True)
    assert all(version(pin) < Version(bound) for pin in pins(ROOT / "requirements.lock")[name])


def test_conda_says_the_same():
    """environment.yml has the names and ranges of pyproject.toml, no more and no fewer. No solver has seen it."""
    document = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert all(isinstance(line, str) for line in document["dependencies"]), "no nested pip section"
    conda = {}
    for line in document["dependencies"]:
        name, _, specifier = line.partition(" ")
        conda[name] = SpecifierSet(specifier)
    expected = {CONDA_NAMES.get(name, name): r.specifier for name, r in LOCKED.items()}
    expected["python"] = SpecifierSet(PYPROJECT["project"]["requires-python"])
    assert {name: found for name, found in conda.items() if name not in CONDA_ONLY} == expected
    assert set(conda) >= CONDA_ONLY


def test_conda_is_called_unverified():
    """Who opens the file reads that it was never solved."""
    assert "not been solved" in (ROOT / "environment.yml").read_text()
