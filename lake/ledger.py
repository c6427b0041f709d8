"""What was sealed, from the lines of `segments` instead of the rows themselves; small tables, kept in memory.

Files of raw tables never change, so each is read once a process, however often it is asked for. The ledger says of
each file when its rows happened, which its name does not: a question about ten minutes opens the files of these.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from threading import Lock
from typing import Final, NamedTuple

import polars as pl

from lake import layout
from lake.clock import from_us
from lake.layout import Part, SeqRange
from lake.place import Place, absolute
from lake.schema import GAPS, QUOTES, SEGMENTS, TABLES, TRADES, VENUE_STATS, Table
from lake.store import Store


class _Known(NamedTuple):
    """The rows of these files of a table; new ones are added at the end."""

    parts: frozenset[Part]
    rows: pl.DataFrame
    birth: object  # another one where the rows were read anew


_KNOWN: Final[dict[tuple[Place, str], _Known]] = {}
_LOCK: Final = Lock()

_TIMED: Final = (QUOTES, TRADES, GAPS, VENUE_STATS)
_RECEIVED: Final = "received_time"

Ends = tuple[datetime, datetime]
_ENDS: Final[dict[tuple[Place, str], tuple[object, int, dict[str, Ends]]]] = {}


def remembered(store: Store, table: Table) -> pl.LazyFrame:
    """All rows of a raw table of few rows and many files, as `Store.scan` returns them; only new files are opened."""
    return _known(store, table).rows.lazy()


def _known(store: Store, table: Table) -> _Known:
    place = (absolute(store.root), table.name)
    with _LOCK:
        known = _KNOWN.get(place, _Known(frozenset(), table.empty().collect(), object()))
        known = _KNOWN[place] = store.again(lambda: _with_new(store, table, known))
        return known


def _with_new(store: Store, table: Table, known: _Known) -> _Known:
    parts = store.parts(table)
    if not known.parts.issubset(parts):  # merged, or removed
        known = _Known(frozenset(), table.empty().collect(), object())
    new = [part for part in parts if part not in known.parts]
    if not new:
        return known
    added = store.scan_parts(table, new).collect()
    rows = pl.concat([known.rows, _timed(store, added) if table is SEGMENTS else added])
    return _Known(frozenset(parts), rows, known.birth)


def _timed(store: Store, lines: pl.DataFrame) -> pl.DataFrame:
    """Lines of `segments` with the times that an older program left out, read from the files that they tell of."""
    numbered, found = lines.with_row_index("line"), list[pl.LazyFrame]()
    bare = numbered.filter(pl.col("first_time").is_null(), pl.col("table").is_in([table.name for table in _TIMED]))
    for line in bare.iter_rows(named=True):
        table = TABLES[line["table"]]
        name = SeqRange(line["collector"], line["epoch"], line["first_seq"], line["last_seq"]).name
        part = layout.part(table, name, venue=line["venue"], date=line["partition_date"])
        if store.exists(part):
            found.append(
                store.scan_parts(table, [part]).select(line=pl.lit(line["line"], pl.UInt32()), **_bounds(table))
            )
    if not found:
        return lines
    told = pl.concat(pl.collect_all(found), how="diagonal")
    return numbered.update(told, on="line").drop("line")


def _bounds(table: Table) -> dict[str, pl.Expr]:
    """The times of a line of `segments`, of the rows of a file."""
    assert table.time is not None
    columns = {"time": table.time} | ({"received_time": _RECEIVED} if _RECEIVED in table.columns else {})
    ends = {f"first_{name}": pl.col(column).min() for name, column in columns.items()}
    return ends | {f"last_{name}": pl.col(column).max() for name, column in columns.items()}


def totals(store: Store, tables: Collection[Table]) -> pl.DataFrame:
    """By table: table, rows, first and last received_time. Tables without rows are left out."""
    lines = remembered(store, SEGMENTS).filter(pl.col("table").is_in([table.name for table in tables]))
    ends = (pl.col("first_received_time").min(), pl.col("last_received_time").max())
    return lines.group_by("table").agg(pl.col("rows").sum(), *ends).collect()


def sealed(store: Store) -> list[SeqRange]:
    """Every sealed segment."""
    lines = _known(store, SEGMENTS).rows.select("collector", "epoch", "first_seq", "last_seq").unique()
    return sorted(SeqRange(*line) for line in lines.iter_rows())


def ends(store: Store, table: Table) -> Mapping[str, Ends]:
    """When the rows of each sealed file happened, first and last, by its path; files of which it is unknown are not in.

    The answer is kept, and added to when segments come in.
    """
    known, place = _known(store, SEGMENTS), (absolute(store.root), table.name)
    birth, height, found = _ENDS.get(place, (None, 0, {}))
    if birth is not known.birth:
        height, found = 0, {}
    if height < known.rows.height:
        found = found | _ends(known.rows[height:], table)
        _ENDS[place] = (known.birth, known.rows.height, found)
    return found


def _ends(lines: pl.DataFrame, table: Table) -> dict[str, Ends]:
    of_table = lines.filter(pl.col("table") == table.name)
    name = pl.concat_str("collector", "epoch", "first_seq", "last_seq", separator="-")
    place = pl.concat_str("venue", pl.col("partition_date").cast(pl.String), name, separator="/")
    known = of_table.select(place, "first_time", "last_time").drop_nulls()
    return {where: (first, last) for where, first, last in known.iter_rows()}


def overlapping(
    store: Store, parts: Iterable[Part], known: Mapping[str, Ends], first: datetime | None, last: datetime | None
) -> list[Part]:
    """Of these files those that may hold rows from `first` to `last`, both included; None is no bound."""
    return [part for part, span in spans(store, parts, known) if meets(span, first, last)]


def spans(store: Store, parts: Iterable[Part], known: Mapping[str, Ends]) -> list[tuple[Part, Ends | None]]:
    """Each file with what `ends` knows of it, or what the footer of a merged file says."""
    return [(part, known.get("/".join((*part.values, part.name))) or _merged_ends(store, part)) for part in parts]


def _merged_ends(store: Store, part: Part) -> Ends | None:
    cover = store.cover(part)
    if cover is None or cover.first_time is None or cover.last_time is None:
        return None
    return from_us(cover.first_time), from_us(cover.last_time)


def meets(span: Ends | None, first: datetime | None, last: datetime | None) -> bool:
    """Whether a file with these ends may hold rows from `first` to `last`; of unknown ends, it may."""
    return span is None or ((last is None or span[0] <= last) and (first is None or span[1] >= first))
