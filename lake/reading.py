"""The rows that questions share: which days to read, newest versions, what is known of a market, boards.

Raw rows lie in the day in which they were received, and are asked for by the venue's clock. Ours and the venue's may
differ by `SKEW`, and a row may come in `LATE`: the days that are read allow for both.
"""

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from lake.clock import EPOCH
from lake.derived.carry import since
from lake.derived.movers import board
from lake.derived.prices import distinct_gaps, moment
from lake.derived.slices import needs
from lake.errors import QueryError
from lake.schema import GAPS, MARKETS, MOVERS, QUOTES, TRADES, VENUE_STATS, Table
from lake.store import Store
from lake.vocab import MarketStatus

SKEW: Final = timedelta(hours=1)
LATE: Final = timedelta(days=7)
"""How far back the collector accepts a venue's clock."""

BOARD_AGE: Final = timedelta(minutes=2)
"""How much older than the newest row a published board may be to answer for "now": two refreshes."""

FACTS: Final = ("title", "market_id", "category", "close_time", "status")
"""What answers say of each market; all but the title are null for a market without a row in `markets`."""


def dates(store: Store, table: Table, venues: Collection[str] | None = None) -> list[date]:
    """The days that have files, in order."""
    return sorted({date.fromisoformat(part.partition["date"]) for part in store.parts(table, venues=venues)})


def days(
    store: Store,
    table: Table,
    venues: Collection[str] | None = None,
    first: datetime | None = None,
    last: datetime | None = None,
) -> pl.LazyFrame:
    """The rows of the days that can hold those from `first` to `last`; None is no bound."""
    if first is None and last is None:
        return store.scan(table, venues=venues)
    low = date.min if first is None else (first - SKEW).date()
    high = date.max if last is None else (last + LATE).date()
    return store.scan(table, venues=venues, dates=[day for day in dates(store, table, venues) if low <= day <= high])


def edges(store: Store, table: Table) -> tuple[datetime, datetime] | None:
    """The smallest and the largest `received_time`; None without rows."""
    found = dates(store, table)
    if not found:
        return None
    time = pl.col("received_time")
    first = store.scan(table, dates=[found[0]]).select(time.min())
    last = store.scan(table, dates=[found[-1]]).select(time.max())
    low, high = (frame.item() for frame in pl.collect_all([first, last]))
    return None if low is None or high is None else (low, high)


def between(name: str, start: datetime | None, end: datetime | None) -> list[pl.Expr]:
    """start <= name < end; None is no bound."""
    after = [] if start is None else [pl.col(name) >= moment(start)]
    return after if end is None else [*after, pl.col(name) < moment(end)]


def contains(search: str, *names: str) -> pl.Expr:
    """Whether one of these columns holds that text, in any case; a text, not a pattern."""
    wanted = search.lower()
    hits = [pl.col(name).str.to_lowercase().str.contains(wanted, literal=True).fill_null(False) for name in names]
    return pl.any_horizontal(hits)


def newest(store: Store, table: Table, key: str, as_of: datetime | None = None) -> pl.LazyFrame:
    """What was known of each at `as_of` (None = now): the newest value of each column; the table's columns, venue.

    A version that leaves a column out, or has no tags, takes nothing back. A placeholder's title (the native id) and
    status count only if no other version has one.
    """
    rows = store.scan(table) if as_of is None else store.scan(table).filter(pl.col("as_of") <= moment(as_of))
    said = {"tags": pl.col("tags").list.len() > 0}
    if table is MARKETS:
        said |= dict.fromkeys(("title", "status"), ~_is_placeholder())
    told = [pl.when(is_said).then(name).alias(f"{name}/said") for name, is_said in said.items()]
    columns = [name for name in (*table.columns, "venue") if name != key]
    last = pl.col(*columns, *(f"{name}/said" for name in said)).last(ignore_nulls=True)
    folded = rows.with_columns(told).sort("as_of", "seq").group_by(key).agg(last)
    best = [pl.coalesce(f"{name}/said", name).alias(name) for name in said]
    return folded.with_columns(best).select(*table.columns, "venue")


def _is_placeholder() -> pl.Expr:
    """Whether a version of a market was made up from its id, as no catalogue had told of it yet."""
    native_id = pl.col("market_id").str.splitn(":", 2).struct[1]
    is_stub = (pl.col("status") == MarketStatus.INITIALIZED.value) & (pl.col("title") == native_id)
    return is_stub.fill_null(False)


def all_markets(store: Store) -> pl.LazyFrame:
    """The newest version of each market, and a row for each that only has quotes or trades."""
    known = newest(store, MARKETS, "market_key").collect().lazy()
    seen = pl.concat([store.scan(table).select("market_key", "venue").unique() for table in (QUOTES, TRADES)])
    return pl.concat([known, unlisted(seen.unique("market_key").join(known, on="market_key", how="anti"))])


def unlisted(seen: pl.LazyFrame) -> pl.LazyFrame:
    """Rows as of `newest` markets, of markets of which only market_key and venue are known."""
    empty = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in MARKETS.columns.items() if name != "market_key"]
    title = pl.col("market_key").cast(pl.String)
    return seen.with_columns(*empty).with_columns(title=title).select(*MARKETS.columns, "venue")


def told(store: Store, rows: pl.LazyFrame, as_of: datetime | None = None) -> pl.LazyFrame:
    """`rows` with `FACTS` as they were known at `as_of` (None = now), in the same order.

    The names of a market that only a later catalogue tells of, title and market_id, are those of today.
    """
    facts = newest(store, MARKETS, "market_key", as_of).select("market_key", *FACTS)
    if as_of is not None:
        today = newest(store, MARKETS, "market_key").join(facts, on="market_key", how="anti")
        facts = pl.concat([facts, today.select("market_key", "title", "market_id")], how="diagonal")
    title = pl.coalesce("title", "market_id", pl.col("market_key").cast(pl.String))
    return rows.join(facts, on="market_key", how="left", maintain_order="left").with_columns(title=title)


def newest_quote(store: Store, venue: str, market: int, as_of: datetime) -> pl.DataFrame:
    """The market's newest quote at `as_of`, one row or none: day by day backwards, until no older day can beat it."""
    where = (pl.col("market_key") == market) & (pl.col("event_time") <= moment(as_of))
    found = QUOTES.empty().collect()
    for day in reversed(dates(store, QUOTES, [venue])):
        if day > (as_of + LATE).date():
            continue
        if not found.is_empty() and (found["event_time"].item() - SKEW).date() > day:
            break
        rows = store.scan(QUOTES, venues=[venue], dates=[day]).filter(where)
        found = pl.concat([found.lazy(), rows]).sort("event_time", "seq").last().collect()
    return found


def open_gaps(store: Store, as_of: datetime, within: timedelta) -> pl.LazyFrame:
    """Gaps begun `within` before `as_of` and not over by then; one without an end is over at the next quote."""
    start = as_of - within
    gaps = distinct_gaps(days(store, GAPS, first=start))
    begun = gaps.filter(pl.col("start_time").is_between(moment(start), moment(as_of)))
    still = begun.filter((pl.col("end_time") > moment(as_of)).fill_null(True)).collect()
    if still["end_time"].null_count() == 0:
        return still.lazy()
    quotes = days(store, QUOTES, first=start, last=as_of).filter(pl.col("event_time") <= moment(as_of))
    by_market = quotes.group_by("venue", "market_key").agg(market_quote=pl.col("event_time").max()).collect().lazy()
    by_venue = by_market.group_by("venue").agg(venue_quote=pl.col("market_quote").max())
    told = still.lazy().join(by_market, on=["venue", "market_key"], how="left").join(by_venue, on="venue", how="left")
    last = pl.when(pl.col("market_key").is_null()).then("venue_quote").otherwise("market_quote")
    is_over = pl.col("end_time").is_null() & (last > pl.col("start_time")).fill_null(False)
    return told.filter(~is_over)


def published_board(store: Store, window: str, first: datetime, last: datetime | None = None) -> pl.DataFrame:
    """The newest published board of that window as of `first` to `last` (None = any later): `schema.MOVERS`, venue.

    No rows if there is none.
    """
    wanted = [day for day in dates(store, MOVERS) if first.date() <= day and (last is None or day <= last.date())]
    is_in = pl.col("as_of") >= moment(first)
    if last is not None:
        is_in &= pl.col("as_of") <= moment(last)
    rows = store.scan(MOVERS, dates=wanted).filter(pl.col("window") == window, is_in)
    return rows.filter(pl.col("as_of") == pl.col("as_of").max()).select(*MOVERS.columns, "venue").collect()


def computed_board(store: Store, windows: Mapping[str, timedelta], as_of: datetime) -> pl.DataFrame:
    """The whole board of those windows at `as_of`, from raw rows: `schema.MOVERS`, venue.

    Loads what `slices.needs` names and, of older days, the newest quote of each market.
    """
    try:
        start = min(needs(as_of, width).start for width in windows.values())
    except OverflowError:
        start = EPOCH
    if start <= EPOCH + LATE:
        raise QueryError(f"window {', '.join(map(repr, windows))}: begins before 1970; give a shorter one")
    recent = pl.col("event_time") <= moment(as_of)
    quotes, trades, stats = (days(store, table, first=start) for table in (QUOTES, TRADES, VENUE_STATS))
    old = [day for day in dates(store, QUOTES) if day < (start - SKEW).date()]
    before = [_last_rows(store.scan(QUOTES, dates=[day])) for day in old]
    held = pl.concat([*before, quotes.filter(recent)])
    loaded = [frame.lazy() for frame in pl.collect_all([held, trades.filter(recent), store.scan(GAPS)])]
    ticks = since(loaded[0], loaded[1], loaded[2], start)
    markets = newest(store, MARKETS, "market_key", as_of)
    return board(*ticks, stats, markets, as_of=as_of, windows=windows)


def _last_rows(quotes: pl.LazyFrame) -> pl.LazyFrame:
    """The newest quote of each market."""
    order = ["market_key", "event_time", "seq"]
    return quotes.sort(order).unique("market_key", keep="last", maintain_order=True)
