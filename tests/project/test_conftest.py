"""`tests/conftest.py` itself: what CI must not let pass, and what a test must not see."""

from pathlib import Path

import pytest

import lake

ROOT = Path(lake.__file__).parents[1]
INI = """
    [tool.pytest.ini_options]
    markers = ["recordings", "browser"]
"""
TESTS = """
    import pytest

    def test_recorded(recordings):
        pass

    @pytest.mark.browser
    def test_page():
        pytest.skip("no driver")

    def test_reason():
        pytest.skip("Playwright cannot start")

    @pytest.mark.recordings
    @pytest.mark.xfail(strict=True)
    def test_known():
        raise AssertionError

    def test_other():
        pytest.skip("no PostgreSQL")

    def test_plain():
        pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with our conftest, outside CI and without recordings."""
    for name in ("MOVERS_CI", "MOVERS_PROFILE", "MOVERS_RECORDINGS", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyprojecttoml(INI)
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    return pytester


def run(project: pytest.Pytester, *args: str) -> pytest.RunResult:
    return project.runpytest_subprocess("-ra", "-p", "no:cacheprovider", *args)


def test_skip_is_allowed_elsewhere(project):
    """Without MOVERS_CI what cannot run is skipped, and says why."""
    project.makepyfile(TESTS)
    result = run(project)
    result.assert_outcomes(passed=1, skipped=4, xfailed=1)
    result.stdout.fnmatch_lines(["*MOVERS_RECORDINGS is not set*"])


def test_skip_fails_in_ci(project, monkeypatch):
    """With MOVERS_CI a skip for want of recordings or a browser fails; any other skip stays one."""
    monkeypatch.setenv("MOVERS_CI", "1")
    project.makepyfile(TESTS)
    result = run(project)
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["skipped"], outcomes["xfailed"]) == (1, 1, 1)
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 3
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*must not skip where MOVERS_CI is set: *MOVERS_RECORDINGS is not set*"])


def test_module_that_skips_fails_in_ci(project, monkeypatch):
    """A module that leaves for want of a browser fails as well."""
    monkeypatch.setenv("MOVERS_CI", "1")
    project.makepyfile('import pytest\n\npytest.skip("no browser", allow_module_level=True)\n')
    result = run(project)
    assert result.parseoutcomes() == {"errors": 1}
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_missing_folder_fails(project, monkeypatch):
    """A folder that was promised and is not there is an error anywhere."""
    monkeypatch.setenv("MOVERS_RECORDINGS", str(project.path / "nowhere"))
    project.makepyfile("def test_recorded(recordings):\n    pass\n")
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*nowhere: there is no such folder*"])


def test_mark_can_be_chosen(project, monkeypatch):
    """`-m recordings` finds a test that only asks for the fixture."""
    monkeypatch.setenv("MOVERS_RECORDINGS", str(project.path))
    project.makepyfile("def test_recorded(recordings):\n    pass\n\ndef test_plain():\n    pass\n")
    run(project, "-m", "recordings").assert_outcomes(passed=1, deselected=1)


def test_developer_is_not_seen(project, monkeypatch):
    """Neither a variable nor a `.env` where the tests run changes a setting."""
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    monkeypatch.setenv("lake_uri", "elsewhere")
    (project.path / ".env").write_text("COLLECTOR_MODE=replay\n")
    project.makepyfile(
        """
        from lake.settings import Settings

        def test_defaults():
            assert Settings() == Settings(_env_file=None)
            assert (Settings().log_level, Settings().lake_uri, Settings().collector_mode) == ("INFO", None, "simulated")
        """
    )
    run(project).assert_outcomes(passed=1)
