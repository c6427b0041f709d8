"""What the tests of `lake.verify` share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lake.store import Store
from lake.verify.apart import Apart
from tests.lake.verify.small import small


@pytest.fixture(scope="module")
def processes() -> Iterator[Apart]:
    """The processes that read rows, for all tests of a module."""
    with Apart(1) as started:
        yield started


@pytest.fixture
def lake(tmp_path: Path) -> Store:
    """A sound lake of four segments."""
    return small(tmp_path)
