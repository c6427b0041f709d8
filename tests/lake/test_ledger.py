"""The ledger knows of each file what its rows are, and files are opened once."""

from datetime import timedelta

import polars as pl
import pytest

from lake import ledger
from lake.errors import QueryError
from lake.query import Lake
from lake.reading import days, seen
from lake.schema import BARS, GAPS, HISTORY, QUOTES, SEGMENTS, TRADES, VENUE_STATS
from lake.store import Store
from tests.builders import TODAY, gap, instant, quote, trade, venue_stat
from tests.lake.lakes import derive, new_lake, publish, row


def test_lines_say_when_rows_happened(tmp_path):
    """First and last by the venue's clock and by ours; tables without such a time have none."""
    store = new_lake(tmp_path)
    publish(store, {
        (QUOTES, "kalshi"): [quote(at="10:00", received_time=instant("10:05")), quote(at="09:00")],
        (GAPS, "kalshi"): [gap("08:00", "11:00")],
    })  # fmt: skip
    times = ("first_time", "last_time", "first_received_time", "last_received_time")
    lines = {row["table"]: [row[name] for name in times] for row in store.scan(SEGMENTS).collect().rows(named=True)}
    assert lines == {
        "quotes": [instant(at) for at in ("09:00", "10:00", "09:00", "10:05")],
        "gaps": [instant("08:00"), instant("08:00"), None, None],
    }


def test_a_line_of_an_older_program_is_the_same_line(tmp_path):
    """Publishing a segment again over a line with fewer columns changes nothing and is no conflict."""
    store, rows = new_lake(tmp_path), [quote(at="10:00")]
    publish(store, {(QUOTES, "kalshi"): rows}, number=7)
    [part] = store.parts(SEGMENTS)
    store.load(part).drop("first_time", "last_time").write_parquet(store.path(part))
    before = store.path(part).read_bytes()
    assert publish(store, {(QUOTES, "kalshi"): rows}, number=7) == 0
    assert store.path(part).read_bytes() == before
    assert days(store, QUOTES, first=instant("10:00"), last=instant("10:00")).collect().height == 1


def test_times_that_an_older_program_left_out(tmp_path):
    """They are those of the files, so that an old lake has a now, and questions of ten minutes are still cheap."""
    store = new_lake(tmp_path)
    publish(store, {
        (QUOTES, "kalshi"): [quote(at="10:00", received_time=instant("10:05")), quote(at="09:00")],
        (GAPS, "kalshi"): [gap("08:00")], (VENUE_STATS, "polymarket"): [venue_stat("10:06")],
    })  # fmt: skip
    [part] = store.parts(SEGMENTS)
    lines, times = store.load(part), ("first_time", "last_time", "first_received_time", "last_received_time")
    lines.drop(times).write_parquet(store.path(part))
    publish(store, {(QUOTES, "kalshi"): [quote(at="10:01")]})
    assert Lake(store).latest_time() == instant("10:06")
    found = ledger.remembered(store, SEGMENTS).collect().filter(pl.col("first_seq") == lines["first_seq"][0])
    assert found.select(lines.columns).sort("table").equals(lines.sort("table"))


def test_a_file_is_opened_once(tmp_path, monkeypatch):
    """What was read is remembered, what is new is added, and what is gone is forgotten."""
    store = new_lake(tmp_path)
    publish(store, {(GAPS, "kalshi"): [gap("08:00")]})
    opened: list[int] = []
    scan = Store.scan_parts
    monkeypatch.setattr(
        Store, "scan_parts", lambda self, table, parts: opened.append(len(parts)) or scan(self, table, parts)
    )
    assert ledger.remembered(store, GAPS).collect().height == 1
    publish(store, {(GAPS, "kalshi"): [gap("09:00")]})
    for _ in range(3):
        assert ledger.remembered(store, GAPS).collect().equals(scan(store, GAPS, store.parts(GAPS)).collect())
    assert opened == [1, 1]
    store.remove(store.parts(GAPS)[0])
    assert ledger.remembered(store, GAPS).collect().height == 1


def test_only_files_of_the_time_are_read(tmp_path):
    """Files whose rows lie before or after are left out; one that touches the edge is not, nor one without a line."""
    store = new_lake(tmp_path)
    for at in ("09:00", "10:00", "11:00"):
        publish(store, {(QUOTES, "kalshi"): [quote(at=at)]})

    def found(first: str, last: str) -> list[str]:
        rows = days(store, QUOTES, first=instant(first), last=instant(last)).collect()
        return [f"{time:%H}" for time in rows["event_time"].sort()]

    assert found("09:30", "10:30") == ["10"]
    assert found("10:00", "11:00") == ["10", "11"]
    assert found("12:00", "13:00") == []
    derive(store, QUOTES, [quote(at="09:15")])
    assert found("12:00", "13:00") == ["09"]


def test_counts_read_no_rows(tmp_path, monkeypatch):
    """Rows and times are those of the ledger, even if the files of quotes and trades are away."""
    store = new_lake(tmp_path)
    publish(
        store, {(QUOTES, "kalshi"): [quote(at="10:00"), quote(at="10:01")], (TRADES, "kalshi"): [trade(at="10:02")]}
    )
    derive(store, BARS, [row(BARS, market_key=1, bar_start=instant("00:00"))], interval="1d")
    reached = {f"{span.collector}-{span.epoch}": span.last for span in ledger.sealed(store)}
    store.set_watermark("blocks", reached)
    for table in (QUOTES, TRADES):
        store.remove(store.parts(table)[0])
    counts, lake = Lake(store).counts(), Lake(store)
    assert (counts.markets, counts.quotes, counts.trades) == (1, 2, 1)
    assert (counts.first_time, counts.last_time, lake.latest_time()) == (
        instant("10:00"),
        instant("10:02"),
        instant("10:02"),
    )
    assert seen(store).collect().rows() == [(1, "kalshi")]


def test_the_newest_version_of_each_bar_of_history(tmp_path):
    """In order of time, half open, of one market; what came in last stands."""
    store = new_lake(tmp_path)

    def bar(at: str, close: float, seq: int, market: int = 1) -> dict:
        return row(HISTORY, market_key=market, interval="5m", bar_start=instant(at), close=close, seq=seq)

    publish(store, {
        (QUOTES, "kalshi"): [quote(at="10:00")],
        (HISTORY, "kalshi"): [
            bar("09:05", 0.2, 3), bar("09:00", 0.1, 2), bar("09:00", 0.9, 1), bar("09:00", 0.5, 9, 2),
        ],
    })  # fmt: skip
    publish(store, {(HISTORY, "kalshi"): [bar("09:05", 0.3, 4)]}, TODAY + timedelta(days=1))
    lake = Lake(store)
    found = lake.history(1)
    assert found.columns == [*HISTORY.columns, "venue"]
    assert found.select("bar_start", "close").rows() == [(instant("09:00"), 0.1), (instant("09:05"), 0.3)]
    assert lake.history(1, instant("09:05"))["close"].to_list() == [0.3]
    assert lake.history(1, end=instant("09:05"))["close"].to_list() == [0.1]
    with pytest.raises(QueryError, match="not in the lake"):
        lake.history(99)
