"""What the tests of recovering and of telling again share."""

import polars as pl
import pytest

from flows.collector.sealing import Frames, frames_of, write
from flows.collector.segments import Segment
from lake.store import Store
from lake.vocab import Mode
from tests.flows.collector.lived import LIFE, Lived, content


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> tuple[Lived, list[tuple[Segment, Frames]], dict[str, pl.DataFrame], Store]:
    """The session lived through without a break, its segments with their frames, and the lake that they make.

    All of it is there to be read: a test that changes something takes a copy.
    """
    folder = tmp_path_factory.mktemp("whole")
    lived = Lived(folder / "wal").run(3_000).end()
    sealed = [(segment, frames_of(segment, LIFE.collector, "boot")) for segment in lived.segments]
    store = Store.create(folder / "lake", Mode.SIMULATED)
    for segment, frames in sealed:
        write(store, segment, frames, LIFE.collector)
    return lived, sealed, content(store), store
