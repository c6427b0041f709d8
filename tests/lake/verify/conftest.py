"""What the tests of `lake.verify` share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lake.store import Store
from lake.verify.apart import Apart
from tests.lake.verify.small import copied, small


@pytest.fixture(scope="module")
def processes() -> Iterator[Apart]:
    """The processes that read rows, for all tests of a module."""
    with Apart(1) as started:
        yield started


@pytest.fixture(autouse=True)
def without_fsync(no_fsync) -> None:
    """No test here cuts the power."""


@pytest.fixture(scope="session")
def sound(tmp_path_factory) -> Store:
    """A sound lake of four segments, to be copied."""
    return small(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def lake(sound: Store, tmp_path: Path) -> Store:
    """A copy of it, to be harmed."""
    return copied(sound, tmp_path)
