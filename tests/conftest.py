"""What every test gets: a fixed hypothesis profile, no settings of the developer, and the recordings by one fixture.

Where MOVERS_CI is set, a test of recordings or of the browser that skips is a failure: there everything it needs is
there, and a skip would hide that it was not looked at.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from tests import objects
from tests.environment import RECORDINGS, forget_settings

REQUIRED = ("recordings", "browser")
ABOUT_REQUIRED = re.compile(r"recording|browser|playwright", re.IGNORECASE)

hypothesis_settings.register_profile("test", max_examples=50, deadline=None, derandomize=True)
hypothesis_settings.register_profile("soak", max_examples=2_000, deadline=None, print_blob=True)


def pytest_configure(config: pytest.Config) -> None:
    name = os.environ.get("MOVERS_PROFILE") or "test"
    if name not in ("test", "soak"):
        raise pytest.UsageError(f"MOVERS_PROFILE={name}: write test or soak")
    hypothesis_settings.load_profile(name)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for the recordings is marked so, before `-m` chooses."""
    for item in items:
        if "recordings" in getattr(item, "fixturenames", ()):
            item.add_marker("recordings")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    is_required = any(item.get_closest_marker(name) for name in REQUIRED)
    return _fail_if_hidden(report, is_required=is_required)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    """The same for a module that skips as a whole, as `importorskip` does."""
    return _fail_if_hidden((yield), is_required=False)


def _fail_if_hidden(report, *, is_required: bool):
    if not os.environ.get("MOVERS_CI") or not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if is_required or ABOUT_REQUIRED.search(reason):
        report.outcome = "failed"
        report.longrepr = f"must not skip where MOVERS_CI is set: {reason}"
    return report


@pytest.fixture(autouse=True)
def no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor `.env` changes what a test sees; only the place of the recordings stays."""
    forget_settings(monkeypatch)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded sessions, one sub-folder a venue."""
    given = os.environ.get(RECORDINGS)
    if not given:
        pytest.skip(f"{RECORDINGS} is not set: give it the folder of recorded sessions")
    folder = Path(given)
    if not folder.is_dir():
        pytest.fail(f"{RECORDINGS}={given}: there is no such folder")
    return folder


@pytest.fixture(scope="session")
def moto() -> Iterator[objects.Service]:
    """An object store on loopback, one for all tests; each takes a prefix of its own."""
    with objects.serving() as service:
        yield service


@pytest.fixture
def service(moto: objects.Service, monkeypatch: pytest.MonkeyPatch) -> objects.Service:
    """The same, with its keys and address in the environment."""
    objects.use(monkeypatch, moto.url)
    return moto


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests without a power cut: what was written is there, and waiting for the disk would show no more."""
    monkeypatch.setattr(os, "fsync", os.fstat)  # which is not content with any handle either
