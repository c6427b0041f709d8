"""Small lakes on disk: `publish(store, {(QUOTES, "kalshi"): [quote(), quote()]})` is one sealed segment."""

from collections.abc import Iterable, Mapping
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from lake import layout
from lake.layout import Part, SeqRange
from lake.schema import MARKETS, QUOTES, Table
from lake.store import Store
from lake.vocab import MarketId, Mode, market_key
from tests.builders import TODAY, Row, frame, instant

_FRAMES = count(1)


def new_lake(folder: Path, mode: Mode = Mode.SIMULATED) -> Store:
    """An empty lake."""
    return Store.create(folder / "lake", mode)


def row(table: Table, **columns: Any) -> Row:
    """A row of `table`, null where nothing is given."""
    return dict.fromkeys(table.columns) | columns


def rows(table: Table, given: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as they lie in a file of `table`."""
    return frame(table, given).collect().sort(*table.order)


def market(market_id: str, at: str = "09:00", **columns: Any) -> Row:
    """A version of a market, as of `at`."""
    known = {
        "market_key": market_key(MarketId(market_id)),
        "market_id": market_id,
        "title": f"Will {market_id} happen?",
        "category": "politics",
        "tags": [],
        "outcomes": ["Yes", "No"],
        "outcome_token_ids": ["t-yes", "t-no"],
        "status": "active",
        "tick_size": 0.01,
        "as_of": instant(at),
        "seq": next(_FRAMES),
    }
    return row(MARKETS, **known | columns)


def span(number: int | None = None, collector: str = "c") -> SeqRange:
    """The range of one frame of epoch 0."""
    seq = next(_FRAMES) if number is None else number
    return SeqRange(collector, 0, seq, seq)


def part_of(number: int, venue: str = "kalshi", day: date = TODAY) -> Part:
    """The file of quotes of that frame."""
    return layout.part(QUOTES, span(number).name, venue=venue, date=day)


def publish(
    store: Store,
    tables: Mapping[tuple[Table, str], Iterable[Mapping[str, Any]]],
    day: date = TODAY,
    number: int | None = None,
) -> int:
    """One segment with these rows; how many of them were new."""
    frames = {(table, venue): rows(table, given) for (table, venue), given in tables.items()}
    return store.publish_segment(span(number), day, 1, frames, None)


def derive(store: Store, table: Table, given: Iterable[Mapping[str, Any]], **partition: str | date) -> None:
    """One file of a derived table."""
    values = {"venue": "kalshi", "date": TODAY, **partition}
    part = layout.part(table, "x", **{key: values[key] for key in table.partitions})
    store.replace(part, rows(table, given))
