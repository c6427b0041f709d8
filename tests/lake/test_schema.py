"""`lake.schema`: what the rows of every table mean."""

import polars as pl
import pytest

from lake.errors import SchemaMismatch
from lake.schema import DEAD_LETTERS, MARKETS, QUOTES, TABLES, TIME
from tests.builders import frame, quote

EVERY = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@EVERY
def test_keys_and_orders_are_columns(table):
    """Every table can be keyed and sorted by what it has."""
    assert set(table.key) <= set(table.schema)
    assert set(table.order) <= set(table.columns)


@EVERY
def test_partitions_are_not_in_the_file(table):
    """A value is in the path or in the file, never in both."""
    assert not set(table.columns) & set(table.partitions)
    assert list(table.schema) == [*table.columns, *table.partitions]


@EVERY
def test_names_say_their_units(table):
    """Instants end in _time or are known names, days in date, flags begin with is_ or are known names."""
    instants = {name for name, dtype in table.columns.items() if dtype == TIME}
    assert all(name.endswith("_time") or name in {"as_of", "bar_start", "minute"} for name in instants)
    flags = {name for name, dtype in table.columns.items() if dtype == pl.Boolean}
    assert all(name.startswith(("is_", "has_")) or name in {"backfilled", "mutually_exclusive"} for name in flags)


@EVERY
def test_an_empty_scan_has_the_columns_of_a_full_one(table):
    """No rows have the same columns as many."""
    assert dict(table.empty().collect_schema()) == table.schema
    assert dict(table.frame([]).schema) == dict(table.columns)


@EVERY
def test_every_table_is_written_and_read_back(table, tmp_path):
    """Parquet keeps every type."""
    found = pl.DataFrame(schema=dict(table.columns)).clear(2)
    found.write_parquet(tmp_path / "x.parquet")
    assert pl.read_parquet(tmp_path / "x.parquet").equals(found)


def test_conform_orders_the_columns():
    """A frame with the right columns comes back in the table's order."""
    given = frame(QUOTES, [quote()]).collect()
    assert QUOTES.conform(given.select(reversed(given.columns))).columns == list(QUOTES.columns)


@pytest.mark.parametrize(
    ("change", "odd"),
    [
        (lambda given: given.drop("bid"), "bid"),
        (lambda given: given.with_columns(extra=1), "extra"),
        (lambda given: given.with_columns(pl.col("seq").cast(pl.Int32)), "seq"),
        (lambda given: given.with_columns(pl.col("event_time").dt.replace_time_zone(None)), "event_time"),
    ],
)
def test_conform_names_the_odd_column(change, odd):
    """A missing, an extra and a wrongly typed column are refused by table and name."""
    with pytest.raises(SchemaMismatch, match=rf"quotes.*{odd}"):
        QUOTES.conform(change(frame(QUOTES, [quote()]).collect()))


def test_rows_are_sorted_and_typed():
    """Tuples in column order, times as microseconds, become a sorted frame."""
    made = QUOTES.frame([(2, 10, 10, 0.4, 0.5, None, None, 1, "book"), (1, 5, 5, None, 0.5, 1.0, 2.0, 2, "rest")])
    assert made["market_key"].to_list() == [1, 2]
    assert dict(made.schema) == dict(QUOTES.columns)


def test_lists_and_bytes_are_rows_too():
    """Tags are lists of text, frames are bytes."""
    letters = DEAD_LETTERS.frame([("c", 0, "bad", b"\xff\x00", 1, 0)])
    assert letters["frame"].to_list() == [b"\xff\x00"]
    values = {**dict.fromkeys(MARKETS.columns), "market_key": 1, "tags": ["a", "b"], "as_of": 0, "seq": 1}
    assert MARKETS.frame([tuple(values.values())])["tags"].to_list() == [["a", "b"]]
