"""A recorded day, told again from its raw frames: the same rows, segment by segment."""

from datetime import date

import polars as pl
import pytest

from flows.collector import again, retell
from flows.collector.sealing import frames_of
from lake.errors import RecordingError
from lake.schema import GAPS, MARKETS, QUOTES, RAW, TRADES
from lake.store import Store
from lake.vocab import Mode
from tests.flows.collector.lived import Lived, day_of, make

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_segments_anew(whole):
    """Every segment comes again with its rows of every table, raw ones aside."""
    _, sealed, _, store = whole
    (day,), without = retell.days(store, day_of(store))
    found = list(retell.segments(store, day, make))
    assert without == 0 and len(found) == len(sealed)
    for segment, (wanted, frames) in zip(found, sealed, strict=True):
        assert (segment.first_seq, segment.last_seq) == (wanted.first_seq, wanted.last_seq)
        got = {key: frame for key, frame in frames_of(segment).items() if key[0] is not RAW}
        kept = {key: frame for key, frame in frames.items() if key[0] is not RAW}
        assert got.keys() == kept.keys()
        assert all(got[key].equals(kept[key]) for key in kept)


def test_into_another_lake(whole, tmp_path):
    """The rows are those of the recorded day but for their numbers, and a second time adds nothing."""
    store = whole[3]
    target = Store.create(tmp_path / "again", Mode.REPLAY)
    (report,) = again.replay_day(store, target, day_of(store), make)
    for table in (QUOTES, TRADES, GAPS):
        rows = [lake.scan(table).sort("seq", *table.key).collect() for lake in (store, target)]
        assert rows[0].drop("seq").equals(rows[1].drop("seq")), table.name
        shift = rows[1]["seq"] - rows[0]["seq"]
        assert rows[0].height > 0 and shift.n_unique() == 1
    assert report.added > 0 and target.scan(RAW).collect().is_empty()
    names = target.scan(MARKETS).select("market_key").unique().collect()
    assert names.height > 0
    (second,) = again.replay_day(store, target, day_of(store), make)
    assert second.added == 0 and second.epoch == report.epoch


def test_day_that_is_not_kept(whole, tmp_path):
    """A day without frames is refused with what was found."""
    target = Store.create(tmp_path / "again", Mode.REPLAY)
    with pytest.raises(RecordingError, match="holds nothing of 2001-02-03"):
        again.replay_day(whole[3], target, date(2001, 2, 3), make)


def test_frames_that_retention_took(tmp_path):
    """Segments whose frames are gone are counted; the day begins with the first that are there."""
    lived = Lived(tmp_path / "wal").run(1_500).end()
    store = Store.create(tmp_path / "lake", Mode.SIMULATED)
    for place, segment in enumerate(lived.segments):
        lived.seal(store, segment)
        if place == 0:
            for part in store.parts(RAW):
                store.remove(part)
    (day,), without = retell.days(store, day_of(store))
    assert without == 1 and len(day.spans) == len(lived.segments) - 1
    found = list(retell.segments(store, day, make))
    assert [segment.first_seq for segment in found] == [segment.first_seq for segment in lived.segments[1:]]
    told = pl.concat([frame for each in found for (table, _), frame in frames_of(each).items() if table is TRADES])
    kept = store.scan(TRADES).filter(pl.col("seq") >= day.first).select(*TRADES.columns).collect()
    assert kept.height > 0 and told.sort("seq", *TRADES.key).equals(kept.sort("seq", *TRADES.key))
