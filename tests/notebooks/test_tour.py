"""The notebooks: kept without outputs, and run from the first cell to the last on a lake that is made here."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import lake
from tests.session import replayed

ROOT = Path(lake.__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def session_lake(tmp_path_factory) -> Path:
    """A lake with the project's own session."""
    root = tmp_path_factory.mktemp("lake")
    return replayed(root)


def run(path: Path, lake_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    """The notebook with its outputs; its kernel is this interpreter, and leaves nothing in the home folder."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LAKE_URI", str(lake_root))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    return NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()


@each
def test_outputs_are_cleared(path):
    """What was seen once is not what the reader will see: no output, no count, no key of a machine."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}


@each
def test_notebook_holds_no_functions(path):
    """A notebook asks and shows; what computes is in a module with a test."""
    sources = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert not any(line.startswith(("def ", "class ")) for source in sources for line in source.splitlines())


@pytest.mark.slow
def test_tour_runs(session_lake, tmp_path, monkeypatch):
    """From the scan to a chart of movers and one of candles, each with its instant, and no cell says a warning."""
    done = run(ROOT / "notebooks" / "01_tour.ipynb", session_lake, tmp_path, monkeypatch)
    cells = [cell for cell in done.cells if cell.cell_type == "code"]
    assert [o for cell in cells for o in cell.outputs if o.output_type in ("error", "stream")] == []
    bars, candles = (cell.outputs[-1].data["text/html"] for cell in cells if ".hvplot." in cell.source)
    assert "Biggest moves of the last 1h, as of 2026-09-21 15:55:00 UTC" in bars
    assert "1 min bars, as of 2026-09-21" in candles
