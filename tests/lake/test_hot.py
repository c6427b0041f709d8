"""Hot rows: what is not published yet is read as it grows, whole and true batches only, and each row once."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from lake import hot, layout, sql
from lake.hot import Hot
from lake.layout import Life, SeqRange
from lake.schema import MARKETS, QUOTES, TRADES
from lake.store import Store
from lake.vocab import Mode
from tests.builders import TODAY, quote, quotes

LIFE, DAY = Life("main", 3), TODAY
FIRST = 3 << 40


def rows(*seqs: int) -> pl.DataFrame:
    return quotes(*(quote(seq=FIRST + seq) for seq in seqs)).collect()


def seen(local: Path) -> list[int]:
    return [seq - FIRST for one in hot.read(local, QUOTES) for seq in one.rows["seq"]]


def stream(local: Path) -> Path:
    return local / layout.hot_path("quotes", "kalshi", LIFE, FIRST)


def test_rows_grow(tmp_path):
    """Each batch is seen once it is whole; rows are those that were written, with venue and day."""
    writer = Hot(tmp_path, LIFE)
    assert seen(tmp_path) == []
    for number in range(3):
        writer.append(QUOTES, "kalshi", FIRST, DAY, rows(number, number + 10))
        assert seen(tmp_path) == [n for done in range(number + 1) for n in (done, done + 10)]
    (one,) = hot.read(tmp_path, QUOTES)
    assert one.rows.schema == pl.Schema(QUOTES.schema)
    assert one.rows.select("venue", "date").unique().rows() == [("kalshi", DAY)]
    assert (one.life, one.first_seq) == (LIFE, FIRST)
    assert hot.read(tmp_path, QUOTES, ["polymarket"]) == [] and hot.read(tmp_path, TRADES) == []


def test_removed_with_its_segment(tmp_path):
    """Once a segment is published its streams go, and no others."""
    writer = Hot(tmp_path, LIFE)
    writer.append(QUOTES, "kalshi", FIRST, DAY, rows(1))
    writer.append(QUOTES, "kalshi", FIRST + 5, DAY, rows(6))
    writer.remove(FIRST)
    assert seen(tmp_path) == [6]
    hot.remove(tmp_path, LIFE)
    assert seen(tmp_path) == [] and hot.lives(tmp_path) == set()


def test_cut_anywhere(tmp_path):
    """Of a stream cut at any byte the whole batches are read, and the rest once it is there."""
    writer = Hot(tmp_path / "a", LIFE)
    for number in range(3):
        writer.append(QUOTES, "kalshi", FIRST, DAY, rows(number))
    whole = stream(tmp_path / "a").read_bytes()
    path = stream(tmp_path / "b")
    path.parent.mkdir(parents=True)
    counts = []
    for size in range(0, len(whole) + 1, 13):
        path.write_bytes(whole[:size])  # the same file, longer each time
        counts.append(len(seen(tmp_path / "b")))
        assert seen(tmp_path / "b") == list(range(counts[-1]))
    path.write_bytes(whole)
    assert seen(tmp_path / "b") == [0, 1, 2] and counts == sorted(counts) and 1 in counts


@pytest.mark.parametrize("place", range(0, 2_000, 41))
def test_flipped_byte(tmp_path, place):
    """A wrong byte never makes a wrong row, and the batches before it are read."""
    writer, path, ends = Hot(tmp_path, LIFE), stream(tmp_path), []
    for number in range(3):
        writer.append(QUOTES, "kalshi", FIRST, DAY, rows(number))
        ends.append(path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 0x20
    path.write_bytes(data)
    before = sum(end <= place % len(data) for end in ends)
    found = pl.concat([rows(), *(one.rows.drop("venue", "date") for one in hot.read(tmp_path, QUOTES))])
    assert found.height >= before and found.equals(rows(0, 1, 2).head(found.height))


def test_what_is_published_is_not_hot(tmp_path):
    """Between the publishing of a file and the end of its stream, a row is seen once; before and after as well."""
    store = Store.create(tmp_path, Mode.SIMULATED)
    writer = Hot(store.local, LIFE)
    frame = rows(1, 2, 3)
    writer.append(QUOTES, "kalshi", FIRST, DAY, frame)
    writer.append(QUOTES, "kalshi", FIRST + 9, DAY, rows(10))

    def found() -> list[int]:
        return sorted(seq - FIRST for seq in store.scan(QUOTES).collect()["seq"])

    assert found() == [1, 2, 3, 10]
    span = SeqRange("main", 3, FIRST, FIRST + 8)
    store.publish(layout.part(QUOTES, span.name, venue="kalshi", date=DAY), frame)
    assert found() == [1, 2, 3, 10]
    writer.remove(FIRST)
    assert found() == [1, 2, 3, 10]
    asked = sql.run(
        store, f"SELECT seq - {FIRST} n, venue, date FROM quotes WHERE bid > 0.1 AND venue = 'kalshi' ORDER BY 1"
    )
    assert asked.rows() == [(n, "kalshi", DAY) for n in (1, 2, 3, 10)]
    assert store.scan(QUOTES, dates=[date(2020, 1, 1)]).collect().is_empty()
    assert store.scan(QUOTES, dates=[DAY]).collect().height == 4


def test_texts_and_lists(tmp_path):
    """Every kind of column comes back, empty lists and nulls included."""
    row = dict.fromkeys(MARKETS.columns) | {"market_key": 1, "tags": ["a", "b"], "outcomes": [], "seq": FIRST}
    row["as_of"] = datetime(2026, 9, 21, tzinfo=UTC)
    frame = pl.DataFrame([row], schema=dict(MARKETS.columns))
    Hot(tmp_path, LIFE).append(MARKETS, "kalshi", FIRST, DAY, frame)
    (one,) = hot.read(tmp_path, MARKETS)
    assert one.rows.drop("venue", "date").equals(frame)
