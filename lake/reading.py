"""The rows that questions share: which days to read, newest versions, what is known of a market, boards.

Raw rows lie in the day in which they were received, and are asked for by the venue's clock. Ours and the venue's may
differ by `SKEW`, and a row may come in `LATE`: the days that are read allow for both.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from typing import Final

import polars as pl

from lake import ledger
from lake.clock import EPOCH, from_us, to_us
from lake.derived import coverage
from lake.derived.blocks import block_start
from lake.derived.carry import since
from lake.derived.movers import HISTORY_AGE, board
from lake.derived.prices import TRADE_AGE, distinct_gaps, moment
from lake.derived.slices import needs
from lake.errors import QueryError
from lake.layout import Part
from lake.schema import BARS, BLOCKS, GAPS, HISTORY, MARKETS, MOVERS, QUOTES, TRADES, VENUE_STATS, Table
from lake.store import Store
from lake.vocab import MarketStatus

SKEW: Final = timedelta(hours=1)
LATE: Final = timedelta(days=7)
"""How far back the collector accepts a venue's clock."""

BOARD_AGE: Final = timedelta(minutes=2)
"""How much older than the newest row a published board may be to answer for "now": two refreshes."""

BARS_JOB: Final = "blocks"
"""Whose watermark says which segments are in blocks and bars."""

BOARD: Final = "board-"
LISTS: Final = "lists-"
"""How files of `movers` are called: a whole board with its instant, and the lists of an hour's former boards."""

_NEVER: Final = moment(datetime.max.replace(tzinfo=UTC))

FACTS: Final = ("title", "market_id", "category", "close_time", "status")
"""What answers say of each market; all but the title are null for a market without a row in `markets`."""


def dates(store: Store, table: Table, venues: Collection[str] | None = None) -> list[date]:
    """The last day of each file and of rows that are in none yet, in order: with the files of these, all are found."""
    fresh = {day for one in store.fresh(table, venues) for day in one.rows["date"].unique()}
    return sorted(fresh | {store.days_of(part)[1] for part in store.parts(table, venues=venues)})


def days(
    store: Store,
    table: Table,
    venues: Collection[str] | None = None,
    first: datetime | None = None,
    last: datetime | None = None,
) -> pl.LazyFrame:
    """Of the files that can hold rows from `first` to `last`, both included, all rows; None is no bound."""
    if first is None and last is None:
        return store.scan(table, venues=venues)
    low = date.min if first is None else (first - SKEW).date()
    high = date.max if last is None else (last + LATE).date()
    fresh = store.fresh(table, venues)  # before the files are listed
    there = store.parts(table, venues=venues)
    parts = [part for part in there if _is_of(store.days_of(part), low, high)]
    rows = store.scan_parts(table, ledger.overlapping(store, parts, ledger.ends(store, table), first, last))
    return store.with_hot(rows, fresh, there)


def _is_of(span: tuple[date, date], low: date, high: date) -> bool:
    return low <= span[1] and span[0] <= high


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
    versions = ledger.remembered(store, table)
    rows = versions if as_of is None else versions.filter(pl.col("as_of") <= moment(as_of))
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
    return pl.concat([known, unlisted(seen(store).join(known, on="market_key", how="anti"))])


def seen(store: Store) -> pl.LazyFrame:
    """market_key and venue of every market with a quote or a trade, each once.

    A quote or a trade leaves a bar of a day behind, so rows are read only of segments that are in no bar yet.
    """
    daily = [part for part in store.parts(BARS) if part.partition["interval"] == "1d"]
    reached = store.watermark(BARS_JOB)
    frames = [store.scan_parts(BARS, daily).select("market_key", "venue")]
    for table in (QUOTES, TRADES):
        new = [part for part in store.parts(table) if not _is_taken(store, part, reached)]
        frames.append(store.scan_parts(table, new).select("market_key", "venue"))
    return pl.concat(frames).unique("market_key")


def _is_taken(store: Store, part: Part, reached: Mapping[str, int]) -> bool:
    """Whether the rows of a sealed or merged file are in the bars."""
    return all(span.last <= reached.get(f"{span.collector}-{span.epoch}", -1) for span in store.spans(part))


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
    spans = {store.days_of(part) for part in store.parts(QUOTES, venues=[venue])}
    for first, day in sorted(spans, key=itemgetter(1), reverse=True):
        if first > (as_of + LATE).date():
            continue
        if not found.is_empty() and (found["event_time"].item() - SKEW).date() > day:
            break
        rows = store.scan(QUOTES, venues=[venue], dates=[day]).filter(where)
        found = pl.concat([found.lazy(), rows]).sort("event_time", "seq").last().collect()
    return found


def open_gaps(store: Store, as_of: datetime, within: timedelta) -> pl.LazyFrame:
    """Gaps begun `within` before `as_of` and not over by then; one without an end is over at the next quote."""
    start = as_of - within
    gaps = distinct_gaps(ledger.remembered(store, GAPS))
    begun = gaps.filter(pl.col("start_time").is_between(moment(start), moment(as_of)))
    still = begun.filter((pl.col("end_time") > moment(as_of)).fill_null(True)).collect()
    if still["end_time"].null_count() == 0:
        return still.lazy()
    by_market = last_quotes(store, start, as_of).lazy()
    by_venue = by_market.group_by("venue").agg(venue_quote=pl.col("market_quote").max())
    told = still.lazy().join(by_market, on=["venue", "market_key"], how="left").join(by_venue, on="venue", how="left")
    last = pl.when(pl.col("market_key").is_null()).then("venue_quote").otherwise("market_quote")
    is_over = pl.col("end_time").is_null() & (last > pl.col("start_time")).fill_null(False)
    return told.filter(~is_over)


def unseen(store: Store, markets: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """What was not seen of `markets` (market_key, venue) in [start, end): the answer of `derived.coverage.unseen`.

    Rows of quotes are read of that time only, and blocks of the time before.
    """
    wanted = markets.lazy().select("market_key", "venue")
    gaps = distinct_gaps(ledger.remembered(store, GAPS))
    is_over = (pl.col("end_time") <= moment(start)).fill_null(False)
    met = gaps.filter(pl.col("start_time") < moment(end), ~is_over).collect()
    within = pl.col("event_time").is_between(moment(start), moment(end), closed="left")
    rows = days(store, QUOTES, markets["venue"].unique().to_list(), start, end).filter(within)
    quotes = rows.select("market_key", "event_time", "seq").join(wanted, on="market_key", how="semi")
    oldest = met.filter(pl.col("end_time").is_null())["start_time"].min()
    if isinstance(oldest, datetime) and oldest < start:
        former = last_quotes(store, oldest, start - timedelta(microseconds=1)).lazy()
        ends = former.select("market_key", event_time="market_quote", seq=pl.lit(0, dtype=pl.Int64()))
        quotes = pl.concat([quotes, ends])
    known = quotes.collect().lazy()
    return coverage.unseen(met.lazy(), wanted, known, _followed(store, wanted, known, start)).collect()


def _followed(store: Store, markets: pl.LazyFrame, quotes: pl.LazyFrame, start: datetime) -> pl.LazyFrame:
    """When the feed of each market began, market_key and event_time, if not before `start`: at its first quote.

    `quotes` are those from `start` on; a market without any was never followed, as far as they reach.
    """
    blocks = store.scan(BLOCKS, dates=[day for day in dates(store, BLOCKS) if day <= start.date()])
    summed = blocks.filter(pl.col("bar_start") < moment(block_start(start)), pl.col("last_quote_time").is_not_null())
    parts, marks = store.parts(QUOTES), store.watermark(BARS_JOB)
    late = [part for part in parts if not _is_taken(store, part, marks)]
    ends = ledger.ends(store, QUOTES)
    near = {
        *ledger.overlapping(store, parts, ends, block_start(start), start),
        *ledger.overlapping(store, late, ends, None, start),
    }
    rows = store.scan_parts(QUOTES, list(near)).filter(pl.col("event_time") < moment(start))
    before = pl.concat([summed.select("market_key"), rows.select("market_key")]).unique()
    first = quotes.group_by("market_key").agg(pl.col("event_time").filter(pl.col("event_time") >= moment(start)).min())
    new = markets.select("market_key").join(before, on="market_key", how="anti")
    return new.join(first, on="market_key", how="left").with_columns(pl.col("event_time").fill_null(_NEVER))


def last_quotes(store: Store, start: datetime, as_of: datetime) -> pl.DataFrame:
    """venue, market_key, market_quote: the time of each market's newest quote since `start`, or before, by `as_of`.

    From blocks that had ended by then; rows are read only of what is in no block.
    """
    marks = store.watermark(BARS_JOB)
    ended = block_start(min(as_of, from_us(marks["until"])) if "until" in marks else as_of)
    blocks = store.scan(BLOCKS, dates=[day for day in dates(store, BLOCKS) if start.date() <= day])
    within = pl.col("bar_start").is_between(moment(block_start(start)), moment(ended), closed="left")
    summed = blocks.filter(within).select("venue", "market_key", time="last_quote_time")
    recent = ledger.ends(store, QUOTES)
    parts = store.parts(QUOTES)
    late = [part for part in parts if not _is_taken(store, part, marks)]
    near = ledger.overlapping(store, parts, recent, ended, as_of)
    rows = store.scan_parts(QUOTES, list({*near, *ledger.overlapping(store, late, recent, start, as_of)}))
    quotes = rows.filter(pl.col("event_time") <= moment(as_of)).select("venue", "market_key", time="event_time")
    found = pl.concat([summed.drop_nulls(), quotes]).group_by("venue", "market_key")
    return found.agg(market_quote=pl.col("time").max()).collect()


def published_board(store: Store, window: str, first: datetime, last: datetime | None = None) -> pl.DataFrame:
    """The newest published board of that window as of `first` to `last` (None = any later): `schema.MOVERS`, venue.

    No rows if there is none. Of the boards of hours that are over the lists may be all that is kept: no whole board.
    """
    wanted = [day for day in dates(store, MOVERS) if first.date() <= day and (last is None or day <= last.date())]
    parts = [part for part in store.parts(MOVERS, dates=wanted) if _may_hold_board(part, first, last)]
    is_in = pl.col("as_of") >= moment(first)
    if last is not None:
        is_in &= pl.col("as_of") <= moment(last)
    rows = store.scan_parts(MOVERS, parts).filter(pl.col("window") == window, is_in)
    return rows.filter(pl.col("as_of") == pl.col("as_of").max()).select(*MOVERS.columns, "venue").collect()


def _may_hold_board(part: Part, first: datetime, last: datetime | None) -> bool:
    """Whether a file may hold a whole board as of `first` to `last`; the lists of former ones are no whole boards."""
    if part.name.startswith(LISTS):
        return False
    instant = part.name.removeprefix(BOARD)
    return not instant.isdigit() or (to_us(first) <= int(instant) and (last is None or int(instant) <= to_us(last)))


def computed_board(store: Store, windows: Mapping[str, timedelta], as_of: datetime) -> pl.DataFrame:
    """The whole board of those windows at `as_of`, from raw rows: `schema.MOVERS`, venue.

    Loads what `slices.needs` names and, of what is older, the newest quote of each market and day.
    """
    try:
        start = min(needs(as_of, width).start for width in windows.values())
    except OverflowError:
        start = EPOCH
    if start <= EPOCH + LATE:
        raise QueryError(f"window {', '.join(map(repr, windows))}: begins before 1970; give a shorter one")
    recent = pl.col("event_time") <= moment(as_of)
    quotes, stats = (days(store, table, first=start) for table in (QUOTES, VENUE_STATS))
    trades = days(store, TRADES, first=start - TRADE_AGE)
    held = pl.concat([*_held(store, start), quotes.filter(recent, pl.col("event_time") >= moment(start))])
    loaded = [frame.lazy() for frame in pl.collect_all([held, trades.filter(recent), store.scan(GAPS)])]
    ticks = since(loaded[0], loaded[1], loaded[2], start)
    markets, history = newest(store, MARKETS, "market_key", as_of), former_bars(store, windows, as_of)
    return board(*ticks, stats, markets, history, as_of=as_of, windows=windows)


def former_bars(store: Store, windows: Mapping[str, timedelta], as_of: datetime) -> pl.LazyFrame:
    """The rows of `history` that may serve the former prices of these windows."""
    opening = min(as_of - width for width in windows.values())
    first, last = opening - HISTORY_AGE - timedelta(minutes=5), as_of
    return days(store, HISTORY, first=first).filter(pl.col("bar_start").is_between(moment(first), moment(last)))


def _held(store: Store, start: datetime) -> list[pl.LazyFrame]:
    """The newest quote of each market before `start`, a frame for each day that has files."""
    ends, order = ledger.ends(store, QUOTES), ["market_key", "event_time", "seq"]
    found = []
    for day in dates(store, QUOTES):
        parts = ledger.overlapping(store, store.parts(QUOTES, dates=[day]), ends, None, start)
        rows = store.scan_parts(QUOTES, parts).filter(pl.col("event_time") < moment(start))
        found.append(rows.sort(order).unique("market_key", keep="last", maintain_order=True))
    return found
