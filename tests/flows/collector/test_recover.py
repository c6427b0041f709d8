"""What a life left in its log becomes what it would have become: the same rows, each once, whatever broke it off."""

from itertools import pairwise
from pathlib import Path
from random import Random

import polars as pl
import pytest

from flows.collector import journal, raw
from flows.collector.recover import rebuild, recover
from flows.collector.sealing import Waiting, frames_of, write
from flows.venues.base import Wire
from lake import wal
from lake.errors import LakeError
from lake.schema import GAPS, QUOTES, RAW, SEGMENTS, TRADES
from lake.store import Store
from lake.vocab import Mode, Venue
from tests.flows.collector.lived import CATALOG, LIFE, Lived, content, make
from tests.flows.feed import MARKET, NO, START, YES, Feed, frame

pytestmark = pytest.mark.usefixtures("no_fsync")


def fresh(tmp_path: Path, whole) -> tuple[Store, Path]:
    """An empty lake, and a copy of the log."""
    folder = tmp_path / "wal"
    folder.mkdir()
    for path in whole[0].folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return Store.create(tmp_path / "lake", Mode.SIMULATED), folder


def same(found: dict[str, pl.DataFrame], wanted: dict[str, pl.DataFrame]) -> None:
    for name, rows in wanted.items():
        assert found[name].equals(rows), name


def test_the_session_is_worth_it(whole):
    """The session has rows of both venues in many segments, some of which begin in the middle of books."""
    _, sealed, rows, _ = whole
    assert len(sealed) > 5 and rows["quotes"]["venue"].n_unique() == 2 and rows["trades"].height > 10
    assert rows["depth"]["venue"].n_unique() == 2


@pytest.mark.parametrize("sealed_before", [0, 1, 3, "all"])
def test_nothing_lost_nothing_doubled(tmp_path, whole, sealed_before):
    """Killed with none, some or all of its segments in the lake: the lake is that of a life that was not broken off."""
    store, folder = fresh(tmp_path, whole)
    _, sealed, rows, _ = whole
    count = len(sealed) if sealed_before == "all" else sealed_before
    for segment, frames in sealed[:count]:
        write(store, segment, frames, "main")
    report = recover(store, folder, LIFE, make, now=0)
    same(content(store), rows)
    assert report.segments == len(sealed) - count and not report.flaws
    assert not wal.lives(folder)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_from_what_was_known(tmp_path, whole, count):
    """Where the log of sealed segments is gone, books go on from what was known at their end."""
    store, folder = fresh(tmp_path, whole)
    _, sealed, rows, _ = whole
    for segment, frames in sealed[:count]:
        write(store, segment, frames, "main")
    following = journal.number_of(sealed[count - 1][0].last_seq, LIFE.epoch) + 1
    wal.write_state(folder, LIFE, following, sealed[count - 1][0].known)
    wal.forget(folder, LIFE, following)
    assert len(wal.files(folder, LIFE)) == len(sealed) - count
    recover(store, folder, LIFE, make, now=0)
    same(content(store), rows)


def test_twice(tmp_path, whole):
    """A recovery that was broken off is done again; what it published stays as it is."""
    store, folder = fresh(tmp_path, whole)
    keep = {path.name: path.read_bytes() for path in folder.iterdir()}
    recover(store, folder, LIFE, make, now=0)
    for name, data in keep.items():
        (folder / name).write_bytes(data)
    report = recover(store, folder, LIFE, make, now=0)
    same(content(store), whole[2])
    assert report.rows == 0


def test_half_published_segment(tmp_path, whole):
    """A segment of which some files are there, and no line, gets the rest and its line."""
    store, folder = fresh(tmp_path, whole)
    write(store, *whole[1][0], "main")
    for part in store.parts(SEGMENTS):
        store.remove(part)
    for part in store.parts(TRADES) + store.parts(RAW):
        store.remove(part)
    recover(store, folder, LIFE, make, now=0)
    same(content(store), whole[2])


def test_outage_is_a_gap(tmp_path, whole):
    """From the last frame of each venue to the next start nothing was seen, and it says so."""
    store, folder = fresh(tmp_path, whole)
    now = whole[0].now + 90_000_000
    recover(store, folder, LIFE, make, now=now)
    down = store.scan(GAPS).filter(pl.col("reason") == "collector_down").collect()
    frames = store.scan(RAW).filter(pl.col("kind") == "FRAME").collect()
    last = dict(frames.group_by("venue").agg(pl.col("received_time").max()).iter_rows())
    assert {row["venue"]: row["start_time"] for row in down.iter_rows(named=True)} == last
    assert down["market_key"].null_count() == 2 and set(down["end_time"].dt.epoch("us")) == {now}


@pytest.mark.parametrize("seed", range(6))
def test_torn_tail(tmp_path, whole, seed):
    """A log cut anywhere gives what stands before the cut; the tail is kept aside."""
    store, folder = fresh(tmp_path, whole)
    last = wal.files(folder, LIFE)[-1]
    data = last.read_bytes()
    last.write_bytes(data[: Random(seed).randrange(300, len(data))])
    count = len(list(wal.read(folder, LIFE, [])))
    recover(store, folder, LIFE, make, now=0)
    found = store.scan(RAW).sort("seq").collect()
    assert found.height == count
    assert content(store)["raw"].equals(whole[2]["raw"].head(count))
    assert (folder / wal.ASIDE).exists() or count == whole[2]["raw"].height


def test_damage_costs_one_segment(tmp_path, whole):
    """A flipped byte in a segment that waits: its rest is a gap, the next goes on from what was known at its start."""
    store, folder = fresh(tmp_path, whole)
    _, sealed, rows, _ = whole
    path = wal.files(folder, LIFE)[2]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    damaged = sealed[2][0]
    wal.write_state(folder, LIFE, journal.number_of(damaged.last_seq, LIFE.epoch) + 1, damaged.known)
    report = recover(store, folder, LIFE, make, now=0)
    assert len(report.flaws) == 1
    quotes = content(store)["quotes"]
    is_damaged = pl.col("seq").is_between(damaged.first_seq, damaged.last_seq)
    assert quotes.filter(~is_damaged).equals(rows["quotes"].filter(~is_damaged))
    assert 0 < quotes.filter(is_damaged).height < rows["quotes"].filter(is_damaged).height
    gap = store.scan(GAPS).filter(pl.col("reason") == "segment_damaged").collect()
    assert gap["venue"].n_unique() == 2 and gap["market_key"].null_count() == gap.height
    assert (gap["end_time"].dt.epoch("us") >= sealed[3][0].first_received).all()


def test_log_without_its_beginning(tmp_path, whole):
    """Of a log whose beginning somebody removed, nothing is published over what the lake has of the life already."""
    store, folder = fresh(tmp_path, whole)
    _, sealed, rows, _ = whole
    for segment, frames in sealed[:3]:
        write(store, segment, frames, "main")
    wal.files(folder, LIFE)[0].unlink()
    recover(store, folder, LIFE, make, now=0)
    spans = sorted(store.scan(SEGMENTS).select("first_seq", "last_seq").unique().collect().iter_rows())
    assert all(before[1] < after[0] for before, after in pairwise(spans)) and len(spans) == len(sealed)
    quotes = content(store)["quotes"]
    assert quotes.select("market_key", "seq").is_unique().all()
    is_sealed = pl.col("seq") <= sealed[2][0].last_seq
    assert quotes.filter(is_sealed).equals(rows["quotes"].filter(is_sealed))


def test_segment_that_waits_in_the_log(tmp_path, whole):
    """A closed segment whose rows left the memory is made again from the log, alike; without its state it is not."""
    _, folder = fresh(tmp_path, whole)
    _, sealed, _, _ = whole
    for (before, _), (segment, frames) in zip(sealed[:-2], sealed[1:-1], strict=True):
        wal.write_state(folder, LIFE, journal.number_of(segment.first_seq, LIFE.epoch), before.known)
        again = rebuild(folder, LIFE, make, Waiting(segment.first_seq, segment.last_seq))
        assert (again.first_seq, again.last_seq) == (segment.first_seq, segment.last_seq)
        found = frames_of(again, "main", "boot")
        assert found.keys() == frames.keys()
        assert all(found[key].equals(frames[key]) for key in frames if key[0] is not RAW)
    wal.forget_all(folder, LIFE)
    with pytest.raises(LakeError, match="is gone"):
        rebuild(folder, LIFE, make, Waiting(sealed[3][0].first_seq, sealed[3][0].last_seq))


def test_catalogue_pages_are_told_and_not_kept(tmp_path):
    """Of a catalogue's page the log and `raw` hold that it was here, and the lake what it said."""
    page = (Path(__file__).parents[2] / "frames/polymarket/gamma_keyset.json").read_bytes()
    lived = Lived(tmp_path / "wal", now=1_790_000_000_000_000)
    lived.intake.frame(CATALOG, Wire.GAMMA_PAGES, page)
    lived.intake.anchor()
    lived.work()
    (segment,) = lived.segments
    frames = frames_of(segment, "main", "boot")
    told = frames[RAW, "polymarket"]
    assert told["kind"].to_list() == ["WITHHELD"] and len(told["frame"][0]) < 100
    assert any(table.name == "markets" and frame.height for (table, _), frame in frames.items())
    assert page not in b"".join(path.read_bytes() for path in (tmp_path / "wal").iterdir())
    kept = raw.items(pl.concat([frame for (table, _), frame in frames.items() if table is RAW]))
    items, known = zip(*kept, strict=True)
    assert isinstance(items[0], journal.Withheld) and isinstance(items[-1], journal.Cut) and known[-1] == segment.known


def test_market_that_is_about_to_be_followed(tmp_path):
    """Its tokens' order came from a catalogue whose pages nobody kept: told again from the log, prices are the same."""
    lived = Lived(tmp_path / "wal", now=START)
    lived.intake.placed(Venue.POLYMARKET, [(MARKET, [YES, NO])])
    lived.intake.opened("polymarket-1", Wire.POLYMARKET_SOCKET)
    lived.intake.frame("polymarket-1", Wire.POLYMARKET_SOCKET, frame("polymarket/book_dump_second_token"))
    lived.intake.anchor()
    lived.work()
    (segment,) = lived.segments
    waiting = Waiting(segment.first_seq, segment.last_seq)
    again = rebuild(lived.folder, LIFE, make, waiting)
    backwards = Feed(Wire.POLYMARKET_SOCKET).named("polymarket/book_dump_second_token")
    (row,), (same,) = (each.rows[QUOTES, "polymarket"] for each in (segment, again))
    (other,) = backwards.tops(QUOTES)
    assert row == same and row[3] == pytest.approx(1 - other[1])
    placed, _ = next(raw.items(frames_of(segment, "main", "boot")[RAW, "polymarket"]))
    assert isinstance(placed, journal.Placed) and placed.markets == [(MARKET, [YES, NO])]


def test_market_that_stood_the_other_way_round(tmp_path):
    """What was heard of it before it was placed is void from then on: a gap, and no quote of the wrong direction."""
    lived = Lived(tmp_path / "wal", now=START)
    dump = frame("polymarket/book_dump_second_token")
    lived.intake.frame("polymarket-1", Wire.POLYMARKET_SOCKET, dump)
    lived.intake.placed(Venue.POLYMARKET, [(MARKET, [YES, NO])])
    lived.intake.placed(Venue.POLYMARKET, [(MARKET, [NO, YES])])
    lived.now += 1_000_000
    lived.intake.opened("polymarket-1", Wire.POLYMARKET_SOCKET)
    lived.intake.frame("polymarket-1", Wire.POLYMARKET_SOCKET, dump)
    lived.work()
    lived.end()
    rows = {table.name: found for segment in lived.segments for (table, _), found in segment.rows.items()}
    (before, after), gaps = rows["quotes"], rows["gaps"]
    assert before[3] == pytest.approx(1 - after[4]) and before[3] != after[3]
    assert "direction_changed" in {gap[5] for gap in gaps}
