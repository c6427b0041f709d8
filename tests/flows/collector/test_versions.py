"""A version is kept small and comes back as it was; a row is made only when something changed."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flows.collector.versions import Versions
from lake.schema import EVENTS, MARKETS

TEXT = st.none() | st.text(max_size=12)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "market_id": TEXT, "title": TEXT, "status": TEXT, "tags": st.lists(st.text(max_size=4), max_size=3),
        "close_time": st.none() | st.integers(0, 2**60), "tick_size": st.none() | st.floats(0, 1),
    },
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 3), FIELDS), max_size=20))
def test_versions_are_what_was_said(told):
    """Each field is the newest that was said of its key; a row comes of updates that changed one, and of no other."""
    versions, known = Versions(MARKETS, {"tags": []}), dict[int, dict[str, Any]]()
    columns = list(MARKETS.columns)
    for number, (key, fields) in enumerate(told):
        before = known.get(key)
        now = {**(before or {name: [] if name == "tags" else None for name in columns[1:-2]}), **fields}
        row = versions.update(key, fields, number, number + 1)
        assert (row is None) == (before == now)
        assert row is None or row == (key, *now.values(), number, number + 1)
        known[key] = now
        assert versions.get(key) == now and key in versions
    assert len(versions) == len(known) and versions.get(99) is None


def test_known_before():
    """What was known before makes no row again, and its keys are found by what their name starts with."""
    versions = Versions(EVENTS, {"tags": []})
    fields = dict.fromkeys(EVENTS.columns) | {"title": "Acme", "tags": ["a"]}
    versions.know("kalshi:A", fields)
    assert versions.update("kalshi:A", {"title": "Acme"}, 1, 1) is None
    markets = Versions(MARKETS, {})
    for number, name in enumerate(("kalshi:A", "polymarket:B", "kalshi:C")):
        markets.update(number, {"market_id": name}, 0, 0)
    assert [key for key, _ in markets.starting("kalshi:")] == [0, 2]
    assert [fields for _, fields in markets.starting("kalshi:C")] == [markets.get(2)]
