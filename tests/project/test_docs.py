"""What README and docs say of commands, ports and targets is so."""

import re
import subprocess
from pathlib import Path

import pytest
import typer.main

import lake
from flows import cli
from lake.settings import Settings

ROOT = Path(lake.__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
COMMANDS = set(typer.main.get_command(cli.app).commands)

each = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@each
def test_commands_exist(page):
    """Each `movers x` that a page tells of."""
    told = set(re.findall(r"(?:`|bin/)movers ([a-z]+)\b", page.read_text()))
    assert told <= COMMANDS


@each
def test_targets_exist(page):
    """Each `make x` that a page tells of."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^    |[A-Z=] )make ([a-z]+)\b", page.read_text(), re.MULTILINE)) <= targets


@each
def test_settings_exist(page):
    """Each setting that a page names, and the port where one is given."""
    text, names = page.read_text(), {name.upper() for name in Settings.model_fields}
    told = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)[`=]", text)) - {"PREFECT_API_URL"}
    assert told <= names
    for port, name in re.findall(r"(\d{4,5}) \(`([A-Z_]+)`\)", text):
        assert int(port) == Settings.model_fields[name.lower()].default


@each
def test_pages_named_exist(page):
    """Each file of ours that a page sends its reader to."""
    for name in re.findall(r"`?\b((?:docs|notebooks|tests)/[\w./-]+\.(?:md|ipynb))\b", page.read_text()):
        assert (ROOT / name).exists(), name


def test_ci_is_a_shell_script():
    """`.ci/run` parses, and may be run."""
    script = ROOT / ".ci" / "run"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert script.stat().st_mode & 0o111
