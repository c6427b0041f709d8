"""A board of movers from blocks: the rows of the slices are read, and what lies between is added up.

The answer is that of `lake.reading.computed_board` over all rows, at a cost that does not grow with the day. It needs
the blocks to be up to date (`flows.jobs.refresh.refresh_bars`).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import polars as pl

from flows.jobs.blocks import Source, ticks_of
from lake.derived.blocks import between, block_start, left_behind, plan, reported
from lake.derived.carry import Ticks, since
from lake.derived.movers import Between, Stretch, WideGap, moves_of
from lake.derived.prices import distinct_gaps, moment, reference
from lake.derived.scores import scored
from lake.derived.slices import DAY, Span
from lake.ledger import remembered
from lake.reading import former_bars, newest
from lake.schema import BLOCKS, GAPS, MARKETS, MOVERS, VENUE_STATS
from lake.store import Store

_INSTANT = timedelta(microseconds=1)


def summed_board(store: Store, venues: list[str], windows: Mapping[str, timedelta], as_of: datetime) -> pl.DataFrame:
    """The whole board of those windows at `as_of`: `schema.MOVERS`, venue, by window and market."""
    history = former_bars(store, windows, as_of).collect().lazy()
    found = [_moves(Source(store, venue), windows, as_of, history) for venue in venues]
    if not found:
        return MOVERS.empty().select(*MOVERS.columns, "venue").collect()
    rows = pl.concat(found).sort("window", "market_key")
    known = scored(rows.drop("venue"), newest(store, MARKETS, "market_key", as_of))
    return known.with_columns(rows["venue"]).select(*MOVERS.columns, "venue")


def _moves(source: Source, windows: Mapping[str, timedelta], as_of: datetime, history: pl.LazyFrame) -> pl.DataFrame:
    """One venue's rows of a board, before scores, with `venue`."""
    wide = _wide_gaps(source, plan(as_of, windows)[0].start, as_of)
    spans = plan(as_of, windows, [gap.start for gap in wide if gap.end is None])
    first, last = block_start(spans[0].start), spans[-1].start
    rows = _blocks(source, min(first, block_start(as_of - DAY)), last).lazy()
    stretches = [_stretch(source, span, as_of) for span in spans]
    betweens = [
        Between(Span(start, end), between(rows, left_behind(stretch.prices.lazy()), start, end))
        for stretch, (_, start), (end, _) in zip(stretches, spans, spans[1:], strict=False)
    ]
    stats = pl.concat([
        reported(rows),
        source.rows(VENUE_STATS, last, as_of + _INSTANT),
    ], how="diagonal")  # fmt: skip
    found = moves_of(stretches, betweens, stats, history, wide=wide, as_of=as_of, windows=windows)
    return found.with_columns(venue=pl.lit(source.venue))


def _wide_gaps(source: Source, start: datetime, end: datetime) -> list[WideGap]:
    """The gaps of the whole venue that begin by `end` and are not over at `start`, in order.

    Of those without an end that begin before `start` the newest, which is over for no market that an older one hits.
    """
    gaps = remembered(source.store, GAPS).filter(pl.col("venue") == source.venue, pl.col("market_key").is_null())
    is_met = (pl.col("end_time") > moment(start)).fill_null(True) & (pl.col("start_time") <= moment(end))
    met = distinct_gaps(gaps).filter(is_met).sort("start_time", "seq").select("start_time", "end_time", "seq").collect()
    found = [WideGap(*row) for row in met.iter_rows()]
    older = [gap for gap in found if gap.end is None and gap.start < start]
    return [gap for gap in found if gap not in older[:-1]]


def _blocks(source: Source, start: datetime, end: datetime) -> pl.DataFrame:
    """The venue's blocks of [start, end), of the columns that are used."""
    days = [start.date() + timedelta(days=number) for number in range((end.date() - start.date()).days + 1)]
    columns = [name for name in BLOCKS.columns if not name.endswith(("open", "high", "low", "close"))]
    within = pl.col("bar_start").is_between(moment(start), moment(end), closed="left")
    return source.store.scan(BLOCKS, venues=[source.venue], dates=days).filter(within).select(columns).collect()


def _stretch(source: Source, span: Span, as_of: datetime) -> Stretch:
    """The reference price over `span`; with its end, if that is `as_of`."""
    edge = block_start(span.start)
    end = span.end + _INSTANT if span.end == as_of else span.end
    ticks = ticks_of(source.carried(edge), source, edge, end)
    if edge != span.start:
        loaded = Ticks(*(frame.lazy() for frame in pl.collect_all(ticks)))
        ticks = since(*loaded, span.start)
    trades = ticks.trades.collect()
    prices = reference(ticks.quotes, trades.lazy(), ticks.gaps).filter(pl.col("event_time") < moment(end))
    return Stretch(span, prices.collect(), trades.lazy())
