"""`lake.rowhash`: the same rows have the same hash however they are cut, ordered or stored."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.rowhash import added, rows_hash
from lake.schema import QUOTES, SEGMENTS, TIME
from tests.builders import TODAY, quote
from tests.lake.lakes import new_lake, publish, rows
from tests.strategies import examples

DTYPES = {
    "key": pl.Int64(),
    "price": pl.Float64(),
    "time": TIME,
    "day": pl.Date(),
    "flag": pl.Boolean(),
    "text": pl.String(),
    "bytes": pl.Binary(),
    "tags": pl.List(pl.String()),
}
VALUES = {
    "key": st.integers(-(2**63), 2**63 - 1),
    "price": st.floats(allow_nan=False),
    "time": st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    "day": st.dates(),
    "flag": st.booleans(),
    "text": st.text(st.characters(codec="utf-8"), max_size=5),
    "bytes": st.binary(max_size=5),
    "tags": st.lists(st.none() | st.text(st.characters(codec="utf-8"), max_size=3), max_size=3),
}
row = st.fixed_dictionaries({name: st.none() | value for name, value in VALUES.items()})


def frame(given_rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(given_rows, schema=DTYPES)


def test_the_hash_is_this_number():
    """The numbers of lakes that exist stay what they are, whatever library is upgraded."""
    known = frame([
        {"key": 1, "price": 0.5, "time": datetime(2026, 3, 2, tzinfo=UTC), "day": date(2026, 3, 2), "flag": True,
         "text": "é", "bytes": b"\0", "tags": ["a", None]},
        dict.fromkeys(DTYPES),
    ])  # fmt: skip
    assert rows_hash(known) == 1343221516571574500
    assert rows_hash(frame([])) == 0


@given(st.lists(row, max_size=12), st.randoms(), st.integers(0, 12))
@examples(60)
def test_order_files_and_columns_do_not_matter(given_rows, random, cut):
    """Shuffled rows, reordered columns, and the sum over pieces give the hash of the whole."""
    whole = rows_hash(frame(given_rows))
    shuffled = random.sample(given_rows, len(given_rows))
    assert rows_hash(frame(shuffled).select(reversed(list(DTYPES)))) == whole
    assert added([rows_hash(frame(given_rows[:cut])), rows_hash(frame(given_rows[cut:]))]) == whole


@given(st.lists(row, min_size=1, max_size=6), st.data())
@examples(100)
def test_any_change_of_a_value_changes_it(given_rows, data):
    """Another value in one place, a null for a value, a row twice or a row less: another hash."""
    place, name = data.draw(st.integers(0, len(given_rows) - 1)), data.draw(st.sampled_from(list(VALUES)))
    other = data.draw((st.none() | VALUES[name]).filter(lambda value: value != given_rows[place][name]))
    changed = [dict(each) for each in given_rows]
    changed[place][name] = other
    whole = rows_hash(frame(given_rows))
    assert rows_hash(frame(changed)) != whole
    assert rows_hash(frame([*given_rows, given_rows[place]])) != whole
    assert rows_hash(frame(given_rows[1:])) != whole


@given(st.lists(row, max_size=6))
@examples(30)
def test_a_column_of_nulls_says_nothing(given_rows):
    """What an older file lacks is read as null, and its rows keep their hash."""
    made = frame(given_rows)
    assert rows_hash(made.with_columns(later=pl.lit(None, pl.Int64()))) == rows_hash(made)


def test_values_that_are_equal_have_one_hash():
    """-0.0 is 0.0, one NaN is as good as another; an empty text, list or number is not null."""
    minus = pl.DataFrame({"price": [-0.0, float("nan")]})
    plus = pl.DataFrame({"price": [0.0, -float("nan")]})
    assert rows_hash(minus) == rows_hash(plus)
    for empty, dtype in (("", pl.String()), ([], pl.List(pl.String())), (0, pl.Int64()), (b"", pl.Binary())):
        found, missing = (pl.DataFrame({"x": [value]}, schema={"x": dtype}) for value in (empty, None))
        assert rows_hash(found) != rows_hash(missing)


def test_values_do_not_move_between_columns_or_lists():
    """The same values in other columns, or cut otherwise in a list, are other rows."""
    pairs = [
        ({"bid": [0.4], "ask": [0.5]}, {"bid": [0.5], "ask": [0.4]}),
        ({"x": [["ab", ""]]}, {"x": [["a", "b"]]}),
        ({"x": [["n"]]}, {"x": [[None]]}),
        ({"x": [1, 2], "y": [3, 4]}, {"x": [1, 2], "y": [4, 3]}),
    ]
    for left, right in pairs:
        schema = {"x": pl.List(pl.String())} if isinstance(next(iter(left.values()))[0], list) else None
        assert rows_hash(pl.DataFrame(left, schema=schema)) != rows_hash(pl.DataFrame(right, schema=schema))


@pytest.mark.parametrize("step", [1, 7, 100])
def test_a_sealed_segment_says_the_hash_of_its_rows(tmp_path, step):
    """The ledger's line holds the hash of the file's rows as they are read back."""
    lake = new_lake(tmp_path)
    made = [quote(number / 1_000, None, f"10:00:{number % 60:02}") for number in range(0, 100, step)]
    publish(lake, {(QUOTES, "kalshi"): made}, TODAY)
    line = lake.scan(SEGMENTS).collect().row(0, named=True)
    assert line["rows_hash"] == rows_hash(rows(QUOTES, made)) == rows_hash(lake.load(lake.parts(QUOTES)[0]))
