"""What a lake holds of a time, and of what markets: what a back-fill compares with, and what it leaves out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import polars as pl

from flows.collector.backfill import feed_minutes, live_bars
from flows.collector.backfill import known as bars_known
from flows.collector.segments import Row
from flows.collector.spans import Spans, is_within, joined
from flows.collector.universe import Listed, listed, rule_of
from flows.jobs.holes import Ask, Gap, Kind, Known
from flows.venues.base import HISTORY_US, Stats
from lake import ledger, reading
from lake.clock import SECOND_US, from_us, to_us
from lake.derived.prices import distinct_gaps, moment
from lake.errors import SettingError
from lake.schema import BARS, DEAD_LETTERS, GAPS, HISTORY, MARKETS, QUOTES, TRADES, VENUE_STATS, Table
from lake.settings import Settings
from lake.store import Store
from lake.text import safe_text
from lake.vocab import Venue, market_id

Rows = dict[tuple[Table, str], list[Row]]

_BAR: Final = "5m"
_RECENT_DAYS: Final = 2  # of reported figures


@dataclass(frozen=True, slots=True)
class Held:
    """What the lake has of a span."""

    known: Known
    gaps: list[Gap]  # that meet it and are not back-filled, the market's next quote as the end of one without
    gap_rows: pl.DataFrame  # `schema.GAPS`, which `Gap.place` counts


# --- markets -------------------------------------------------------------------------------------


def chosen_markets(
    store: Store, settings: Settings, venues: Collection[Venue], names: Sequence[str] | None
) -> dict[Venue, list[Listed]]:
    """The markets of these names, ids with or without their venue, by venue. Raises `SettingError`, naming one."""
    found: dict[Venue, list[Listed]] = {venue: [] for venue in Venue}
    if names is None:
        return found
    rows = reading.newest(store, MARKETS, "market_key").filter(pl.col("venue").is_in([*venues]))
    for name in dict.fromkeys(names):
        wanted = [name, *(market_id(venue, name) for venue in venues)]
        hits = rows.filter(pl.col("market_id").is_in(wanted)).collect()
        if hits.is_empty():
            raise SettingError(
                f"--market {safe_text(name, 100)}: lake {store.root} knows no such market of "
                f'{" or ".join(venues)}; `movers query "SELECT market_id, title FROM markets"` lists them'
            )
        for row in hits.iter_rows(named=True):
            one = _listed(row)
            if one is None:
                raise SettingError(
                    f"--market {safe_text(name, 100)}: its two tokens are not known yet; try again later"
                )
            found[Venue(row["venue"])].append(one)
    return found


def everything(store: Store, settings: Settings, venue: Venue, held: Held) -> list[Listed]:
    """The venue's markets that are followed by the rule in force, the most traded first; then those that once were."""
    rows = reading.newest(store, MARKETS, "market_key").filter(pl.col("venue") == venue.value).collect()
    named = {row["market_key"]: row for row in rows.iter_rows(named=True)}
    stats = _figures(store, venue)
    fields = [(key, {**row, "listed_time": _micros(row["listed_time"])}) for key, row in named.items()]
    chosen = rule_of(settings).choose(listed(fields, stats, venue), venue)
    there = {one.market for one in chosen}
    were = {*held.known.followed, *(gap.market for gap in held.gaps if gap.market is not None)}
    late = [_listed(named[key]) for key in sorted(were - there) if key in named]
    return [*chosen, *(one for one in late if one is not None)]


def _figures(store: Store, venue: Venue) -> dict[int, Stats]:
    days = reading.dates(store, VENUE_STATS, [venue.value])[-_RECENT_DAYS:]
    rows = store.scan(VENUE_STATS, venues=[venue.value], dates=days).sort("received_time", "seq")
    newest = rows.group_by("market_key").agg(pl.col("volume_24h_usd", "volume_24h_contracts").last()).collect()
    return {key: Stats(key, volume_24h_usd=usd, volume_24h_contracts=count) for key, usd, count in newest.iter_rows()}


def _listed(row: Mapping[str, Any]) -> Listed | None:
    """A market as what can be asked for, whatever its status."""
    tokens = tuple(row["outcome_token_ids"] or ())
    if row["venue"] == Venue.POLYMARKET.value and len(tokens) != 2:
        return None
    native_id = row["market_id"].partition(":")[2]
    return Listed(row["market_key"], native_id, tokens, 0.0, _micros(row["listed_time"]))


def _micros(time: Any) -> int | None:
    return None if time is None else to_us(time)


# --- what is there -------------------------------------------------------------------------------


def look(store: Store, venue: Venue, start: int, end: int) -> Held:
    """What the lake has of the venue in [start, end), both on a bar's edge, microseconds."""
    if start >= end:
        return Held(Known({kind: [] for kind in Kind}), [], GAPS.empty().collect())
    quoted = _quoted(store, venue, start, end)
    followed = dict(quoted.group_by("market_key").agg(pl.col("first").min()).iter_rows())
    followed |= dict.fromkeys(_followed_before(store, venue, start), start)
    bars = {key: _spans(starts) for key, starts in bars_known(store, venue, start, end)[0].items()}
    gaps, rows = _gaps(store, venue, start, end, quoted)
    return Held(Known(_live(store, venue, start, end), followed, bars), gaps, rows)


def _quoted(store: Store, venue: Venue, start: int, end: int) -> pl.DataFrame:
    """By market and bar with a quote in it: market_key, bar, and of its quotes first and last, microseconds."""
    time = pl.col("event_time").dt.epoch("us")
    return (
        reading.days(store, QUOTES, [venue.value], from_us(start), from_us(end))
        .filter(pl.col("event_time").is_between(moment(from_us(start)), moment(from_us(end)), closed="left"))
        .group_by("market_key", bar=time // HISTORY_US)
        .agg(first=time.min(), last=time.max())
        .collect()
    )


def _followed_before(store: Store, venue: Venue, start: int) -> list[int]:
    """Markets of which there is a bar of one of the days before."""
    day = from_us(start).date()
    days = {str(day - timedelta(days=back)) for back in (1, 2)}
    parts = [
        part
        for part in store.parts(BARS, venues=[venue.value])
        if part.partition["interval"] == "1d" and part.partition["date"] in days
    ]
    return store.scan_parts(BARS, parts).select(pl.col("market_key").unique()).collect()["market_key"].to_list()


def _live(store: Store, venue: Venue, start: int, end: int) -> dict[Kind, Spans]:
    """The bars in each minute of which the feed was seen; a poll tells prices and no trades."""
    rows = feed_minutes(store, venue, start, end)
    streamed = rows.filter(~pl.col("is_poll"))
    return {Kind.HISTORY: _spans(live_bars(rows["minute"])), Kind.TRADES: _spans(live_bars(streamed["minute"]))}


def _spans(bars: Iterable[int]) -> Spans:
    return joined((bar, bar + HISTORY_US) for bar in bars)


def _gaps(store: Store, venue: Venue, start: int, end: int, quoted: pl.DataFrame) -> tuple[list[Gap], pl.DataFrame]:
    """The gaps that meet [start, end) and are not back-filled, the latest first, and their rows."""
    meets = (pl.col("start_time") < moment(from_us(end))) & (
        pl.col("end_time").is_null() | (pl.col("end_time") > moment(from_us(start)))
    )
    rows = (
        distinct_gaps(ledger.remembered(store, GAPS).filter(pl.col("venue") == venue.value))
        .filter(meets & ~pl.col("backfilled"))
        .sort("start_time", "seq", descending=True)
        .collect()
    )
    open_keys = rows.filter(pl.col("end_time").is_null())["market_key"].drop_nulls().unique()
    quotes: dict[int, list[int]] = {}
    for key, last in (
        quoted.filter(pl.col("market_key").is_in(open_keys.to_list()))
        .sort("bar")
        .select("market_key", "last")
        .iter_rows()
    ):
        quotes.setdefault(key, []).append(last)
    times = rows.select("market_key", pl.col("start_time", "end_time").dt.epoch("us"))
    gaps = []
    for place, (key, began, ended) in enumerate(times.iter_rows()):
        if ended is None and key is not None:
            ended = next((last for last in quotes.get(key, ()) if last > began), None)
        if ended is None or ended > start:
            gaps.append(Gap(key, began, ended, place))
    return gaps, rows


def gap_rows(rows: pl.DataFrame, gaps: Iterable[Gap], seq: int) -> list[Row]:
    """The rows of these gaps anew, as back-filled."""
    times = [name for name in GAPS.columns if name.endswith("_time")]
    chosen = rows[[gap.place for gap in gaps]].with_columns(pl.col(times).dt.epoch("us"), backfilled=True, seq=seq)
    return list(chosen.select(*GAPS.columns).iter_rows())


def sweep(store: Store, collector: str) -> int:
    """Remove the files of that collector's segments that never came to their line in the ledger; how many.

    Whoever wrote them was killed before its work was noted, so it is done again. Only for who alone writes as it.
    """
    sealed = {span for span in ledger.sealed(store) if span.collector == collector}
    found = [
        part
        for table in (TRADES, HISTORY, GAPS, DEAD_LETTERS)
        for part in store.parts(table)
        if part.name.startswith(f"{collector}-") and not sealed.issuperset(store.spans(part))
    ]
    for part in found:
        store.remove(part)
    return len(found)


# --- what is new ---------------------------------------------------------------------------------


def new_rows(store: Store, venue: Venue, rows: Rows, asks: Iterable[Ask]) -> Rows:
    """Of these rows the history and trades that were asked for and are not in the lake, and all dead letters.

    A Polymarket trade is known if any of its transaction is, in that market: its fills may be told otherwise.
    """
    spans: dict[tuple[Kind, int], Spans] = {}
    for ask in asks:
        spans.setdefault((ask.kind, ask.market.market), []).append((ask.start, ask.end))
    asked = {key: joined(found) for key, found in spans.items()}
    kept: Rows = {}
    for (table, name), found in rows.items():
        kind = {HISTORY: Kind.HISTORY, TRADES: Kind.TRADES}.get(table)
        if table is DEAD_LETTERS:
            kept[table, name] = found
        elif kind is not None:
            mine = [row for row in found if is_within((row[2], row[2] + 1), asked.get((kind, row[0]), []))]
            new = _new(store, venue, table, mine)
            if new:
                kept[table, name] = new
    return kept


def _new(store: Store, venue: Venue, table: Table, rows: list[Row]) -> list[Row]:
    if not rows:
        return []
    assert table.time is not None
    times = [row[2] for row in rows]
    first, last = from_us(min(times) - SECOND_US), from_us(max(times) + SECOND_US)
    keys = list({row[0] for row in rows})
    of = pl.col("trade_id") if table is TRADES else pl.col("bar_start").dt.epoch("us")
    there = (
        reading.days(store, table, [venue.value], first, last)
        .filter(pl.col("market_key").is_in(keys), *reading.between(table.time, first, last))
        .select("market_key", of)
        .collect()
    )
    is_tape = table is TRADES and venue is Venue.POLYMARKET
    known = {(key, _transaction(value) if is_tape else value) for key, value in there.iter_rows()}
    place = 1 if table is TRADES else 2
    return [row for row in rows if (row[0], _transaction(row[place]) if is_tape else row[place]) not in known]


def _transaction(trade_id: str) -> str:
    return trade_id.partition("-")[0]
