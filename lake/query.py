"""Each question that a page, a notebook or the command line asks of the lake, as one method.

A method answers with a frame whose columns and order its docstring gives, or with a small record. Filters come
before limits. Nothing here asks the wall clock: what needs a "now" takes `as_of`, and without one it is the newest
`received_time` in the lake, so a recorded day answers as it did on that day. An argument that cannot be used, and a
market that the lake does not know, raise `QueryError`; a damaged file raises `LakeError`.

Markets are known by `market_key`, its digits, or by `market_id`. A market without a row in `markets` is shown all the
same: its title is its key.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Concatenate, Final, ParamSpec, Self, TypeVar

import polars as pl

from lake import layout, ledger, reading, sql
from lake.arguments import (
    Instant,
    require_choice,
    require_count,
    require_key,
    require_range,
    require_span,
    require_time,
)
from lake.derived import coverage
from lake.derived.prices import TRADE_AGE, distinct_gaps, distinct_trades, moment, reference
from lake.errors import QueryError
from lake.layout import Merged, Part
from lake.place import Place
from lake.reading import between, contains, newest
from lake.schema import (
    BAR_INTERVALS,
    BARS,
    DEAD_LETTERS,
    DEPTH,
    EVENTS,
    FEED_HEALTH,
    GAPS,
    HISTORY,
    MAINTENANCE,
    MARKETS,
    MOVERS,
    QUOTES,
    SEGMENTS,
    TIME,
    TRADES,
    VENUE_STATS,
    Table,
)
from lake.store import Store
from lake.vocab import SUCCESSOR, MarketId, MarketStatus, Mode, Venue, market_key

SCORES: Final = ("classic", "biggest")
DIRECTIONS: Final = ("up", "down")

_VENUES: Final = tuple(venue.value for venue in Venue)
_STATUSES: Final = tuple(status.value for status in MarketStatus)
_DAY: Final = timedelta(days=1)

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Counts:
    """What the lake holds. Markets count if they are in `markets` or have a quote or a trade."""

    markets: int
    quotes: int
    trades: int
    gaps: int
    dead_letters: int
    first_time: datetime | None  # received_time of the oldest quote or trade; None = there is none
    last_time: datetime | None


@dataclass(frozen=True, slots=True)
class Marks:
    """What changes when the lake does, to be compared with those of a look before; None = nothing there."""

    lake: object  # another lake in the same place has another one
    segments: object
    boards: object


@dataclass(frozen=True, slots=True)
class News:
    """The rows of segments that were published since a look before: `schema.QUOTES` and so on, with venue."""

    segments: frozenset[str]  # all that are known by now, to be given to the next look
    quotes: pl.DataFrame
    trades: pl.DataFrame
    gaps: pl.DataFrame


def _answered(
    ask: Callable[Concatenate["Lake", _Arguments], _Answer],
) -> Callable[Concatenate["Lake", _Arguments], _Answer]:
    """The question, which raises `LakeError` where a damaged file keeps it from an answer."""

    @wraps(ask)
    def asked(lake: "Lake", /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        with lake.store.reading():
            return lake.store.again(lambda: ask(lake, *args, **kwargs))

    return asked


@dataclass(frozen=True, slots=True)
class Lake:
    """The questions, over one lake."""

    store: Store

    @classmethod
    def open(cls, root: str | Place, mode: Mode | None = None) -> Self:
        """The lake at `root`, a folder or s3://bucket/prefix. Raises `LakeMissing` and others as `Store.open` does."""
        return cls(Store.open(root, mode))

    @_answered
    def latest_time(self) -> datetime:
        """The newest `received_time` of a quote, a trade or a venue's figure: "now" in a replay. Reads no sealed row.

        Raises `QueryError` if there is none.
        """
        sealed = ledger.totals(self.store, (QUOTES, TRADES, VENUE_STATS))["last_received_time"].max()
        times = [sealed, *(frame["received_time"].max() for frame in self.fresh())]
        found = max((time for time in times if isinstance(time, datetime)), default=None)
        if found is None:
            raise QueryError(f"lake {self.store.root}: holds no quotes and no trades yet; collect or replay some first")
        return found

    @_answered
    def counts(self) -> Counts:
        """How many rows and markets there are, and from when to when: by the lines of `segments`; each gap once."""
        totals = ledger.totals(self.store, (QUOTES, TRADES, DEAD_LETTERS))
        rows: dict[str, int] = dict(totals.select("table", "rows").iter_rows())
        ends = totals.filter(pl.col("table").is_in([QUOTES.name, TRADES.name]))
        first, last = ends["first_received_time"].min(), ends["last_received_time"].max()
        quotes, trades, letters = (rows.get(table.name, 0) for table in (QUOTES, TRADES, DEAD_LETTERS))
        gaps = distinct_gaps(ledger.remembered(self.store, GAPS)).select(pl.len()).collect().item()
        markets = reading.all_markets(self.store).select(pl.len()).collect().item()
        times = (time if isinstance(time, datetime) else None for time in (first, last))
        return Counts(markets, quotes, trades, gaps, letters, *times)

    @_answered
    def status(self, as_of: Instant | None = None) -> pl.DataFrame:
        """Each stream's newest minute at or before `as_of`, by venue and connection, which may be two by turns.

        venue, connection, minute; of that minute: messages = applied + ignored + duplicate + dead; reconnects: of the
        24 hours before `as_of`; lag_p50_ms, lag_p99_ms: the worse, where the minute has several rows; subscribed, seen;
        open_gaps: begun on that connection in the two days before `as_of` and not over. Connections that were silent
        on the venue's last two days with any news are left out.
        """
        now = self._now(as_of)
        which, sums = ["venue", "connection"], ["messages", "applied", "ignored", "duplicate", "dead"]
        told = pl.concat([FEED_HEALTH.empty(), *(self._last_days(venue, now) for venue in _VENUES)])
        rows = told.with_columns(pl.col("connection").str.strip_suffix(SUCCESSOR))
        known = rows.filter(pl.col("minute") <= moment(now))
        is_recent = pl.col("minute") > moment(now - _DAY)
        reconnects = known.group_by(which).agg(reconnects=pl.col("reconnects").filter(is_recent).sum())
        last = known.filter(pl.col("minute") == pl.col("minute").max().over(which)).sort("seq")
        minute = last.group_by(which, maintain_order=True).agg(
            pl.col("minute").last(),
            pl.col(sums).sum(),
            pl.col("lag_p50_ms", "lag_p99_ms", "subscribed", "seen").max(),
        )
        open_gaps = reading.open_gaps(self.store, now, 2 * _DAY)
        streams = open_gaps.with_columns(pl.col("connection").str.strip_suffix(SUCCESSOR))
        gaps = streams.group_by(which).agg(open_gaps=pl.len().cast(pl.Int64))
        joined = minute.join(reconnects, on=which, how="left").join(gaps, on=which, how="left")
        rest = ("reconnects", "lag_p50_ms", "lag_p99_ms", "subscribed", "seen")
        return joined.select(*which, "minute", *sums, *rest, pl.col("open_gaps").fill_null(0)).sort(which).collect()

    @_answered
    def markets(
        self,
        search: str | None = None,
        venue: str | None = None,
        category: str | None = None,
        status: str | None = None,
        limit: int | None = 100,
        offset: int = 0,
    ) -> pl.DataFrame:
        """The newest version of each market, the most lately changed first: `schema.MARKETS` and venue.

        `search` is a text, not a pattern, found in any case in title, market_id or slug. Markets that only have
        quotes or trades come last; of them only market_key, title (the key) and venue are known.
        """
        where = _where(venue=venue, category=category, status=status)
        if search:
            where.append(contains(search, "title", "market_id", "slug"))
        found = reading.all_markets(self.store).filter(*where)
        ordered = found.sort("as_of", "market_key", descending=[True, False], nulls_last=True)
        return _cut(ordered, limit, offset).collect()

    @_answered
    def market(self, market: int | str) -> pl.DataFrame:
        """One row as in `markets`. Raises `QueryError` if the lake has never seen that market."""
        digits = require_key(market)
        key = market_key(MarketId(str(market).strip())) if digits is None else digits
        is_it = pl.col("market_key") == key
        known = newest(self.store, MARKETS, "market_key").filter(is_it).collect()
        if not known.is_empty():
            return known
        row = reading.unlisted(reading.seen(self.store).filter(is_it)).collect()
        if not row.is_empty():
            return row
        raise QueryError(f"market {market!r}: is not in the lake; search for its title")

    @_answered
    def latest(self, market: int | str, as_of: Instant | None = None) -> pl.DataFrame:
        """The market's state at `as_of`: one row, or none if it had no quote and no young trade by then.

        market_key, venue, title, as_of; of its newest quote event_time, received_time, bid, ask, bid_size, ask_size,
        source; is_live: false if a gap came after that; spread, price, rule: the reference price and where it comes
        from, null where there is none; last_trade_price, last_trade_time: if younger than 15 minutes.
        """
        now = self._now(as_of)
        row = self.market(market)
        key, venue = row["market_key"].item(), row["venue"].item()
        is_it, is_past = pl.col("market_key") == key, pl.col("event_time") <= moment(now)
        quote = reading.newest_quote(self.store, venue, key, now)
        trades = reading.days(self.store, TRADES, [venue], first=now - TRADE_AGE).filter(is_it, is_past)
        gaps = self.store.scan(GAPS, venues=[venue]).filter(is_it | pl.col("market_key").is_null())
        states = reference(quote.lazy(), trades, gaps).filter(is_past)
        has_any = pl.lit(not quote.is_empty()) | pl.col("last_trade_time").is_not_null()
        state = states.last().drop("event_time", "bid", "ask").filter(has_any)
        shown = (
            "market_key", "venue", "title", "as_of", *_QUOTE_FACTS, "is_live", "spread", "price", "rule",
            "last_trade_price", "last_trade_time",
        )  # fmt: skip
        told = reading.told(self.store, state, now).with_columns(venue=pl.lit(venue), as_of=moment(now))
        with_quote = told.join(quote.lazy().select("market_key", *_QUOTE_FACTS), on="market_key", how="left")
        return with_quote.select(shown).with_columns(pl.col("rule").cast(pl.String)).collect()

    @_answered
    def quotes(
        self,
        market: int | str,
        start: Instant | None = None,
        end: Instant | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """The market's quotes with start <= event_time < end, in order of time: `schema.QUOTES` and venue.

        `limit` keeps the newest.
        """
        return self._of_market(QUOTES, market, start, end, limit)

    @_answered
    def depth(
        self,
        market: int | str,
        start: Instant | None = None,
        end: Instant | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """The dollars near the market's mid, start <= event_time < end, in order of time: `schema.DEPTH` and venue.

        A row holds until the next, or until a gap. `limit` keeps the newest: 1 is what rests there now.
        """
        return self._of_market(DEPTH, market, start, end, limit)

    @_answered
    def trades(
        self,
        market: int | str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        limit: int | None = 100,
        venue: str | None = None,
    ) -> pl.DataFrame:
        """The tape, of one market or of all, start <= event_time < end, newest first, each trade once.

        `schema.TRADES`, venue, title, market_id, category, close_time, status.
        """
        first, last = require_range(start, end)
        most = require_count("limit", limit)
        where = [*_where(venue=venue), *between("event_time", first, last)]
        if market is not None:
            row = self.market(market)
            where.append(pl.col("market_key") == row["market_key"].item())
            venue = row["venue"].item() if venue is None else venue
        found = self._tape(where, None if venue is None else [venue], first, most)
        ordered = _cut(found.sort("event_time", "seq", "trade_id", descending=True), most)
        return reading.told(self.store, ordered).collect()

    @_answered
    def bars(
        self,
        market: int | str,
        interval: str = "1m",
        start: Instant | None = None,
        end: Instant | None = None,
    ) -> pl.DataFrame:
        """The market's bars with start <= bar_start < end, in order of time: `schema.BARS`, interval and venue.

        Sparse: a bar without a quote or a trade in it does not exist.
        """
        width = require_choice("interval", interval, tuple(BAR_INTERVALS))
        first, last = require_range(start, end)
        row = self.market(market)
        parts = [
            part
            for part in self.store.parts(BARS, venues=row["venue"].to_list())
            if part.partition["interval"] == width
            and (first is None or part.partition["date"] >= first.date().isoformat())
            and (last is None or part.partition["date"] <= last.date().isoformat())
        ]
        rows = self.store.scan_parts(BARS, parts).filter(pl.col("market_key") == row["market_key"].item())
        found = rows.filter(*between("bar_start", first, last)).sort("bar_start")
        return found.select(*BARS.columns, "interval", "venue").collect()

    @_answered
    def history(self, market: int | str, start: Instant | None = None, end: Instant | None = None) -> pl.DataFrame:
        """The market's back-filled bars with start <= bar_start < end, in order of time: `schema.HISTORY` and venue.

        As the venue serves them, the newest version of each bar; they are no quotes and no trades of ours.
        """
        first, last = require_range(start, end)
        row = self.market(market)
        rows = reading.days(self.store, HISTORY, row["venue"].to_list(), first, None)
        where = [pl.col("market_key") == row["market_key"].item(), *between("bar_start", first, last)]
        ordered = rows.filter(*where).sort("interval", "bar_start", "seq")
        newest_of = ordered.unique(["interval", "bar_start"], keep="last", maintain_order=True)
        return newest_of.sort("bar_start", "interval").select(*HISTORY.columns, "venue").collect()

    @_answered
    def movers(
        self,
        window: str = "1h",
        score: str = "biggest",
        as_of: Instant | None = None,
        venue: str | None = None,
        category: str | None = None,
        direction: str | None = None,
        min_move_pp: float | None = None,
        min_volume_usd: float | None = None,
        status_not: str | Collection[str] | None = None,
        limit: int | None = 50,
    ) -> pl.DataFrame:
        """The markets that `score` lists over `window`, best first: the columns of `moves_at`.

        From the whole board that was published as of exactly `as_of`, else computed from rows: of boards of former
        hours only the lists are kept. Without `as_of` from the newest board, if it is at most two minutes older than
        `latest_time`, else computed as of then. The column `as_of` says of when it is, and so is what is said of each
        market. Ranks are those of the whole board. `min_move_pp` is of |move_pp|,
        `min_volume_usd` of volume_24h_usd; a row whose figure is unknown reaches neither.
        """
        rank = f"{require_choice('score', score, SCORES)}_rank"
        where = [pl.col(rank).is_not_null(), *_where(venue=venue, category=category)]
        if direction is not None:
            is_up = require_choice("direction", direction, DIRECTIONS) == "up"
            where.append(pl.col("move_pp") > 0 if is_up else pl.col("move_pp") < 0)
        if min_move_pp is not None:
            where.append(pl.col("move_pp").abs() >= min_move_pp)
        if min_volume_usd is not None:
            where.append(pl.col("volume_24h_usd") >= min_volume_usd)
        if status_not is not None:
            given = [status_not] if isinstance(status_not, str) else status_not
            hidden = [require_choice("status_not", status, _STATUSES) for status in given]
            where.append(~pl.col("status").is_in(hidden).fill_null(False))
        found = self._board(window, as_of).filter(*where)
        return _cut(found.sort(rank, "market_key"), limit).collect()

    def marks(self) -> Marks:
        """Marks that differ from former ones if a segment or a board was published since; reads no file."""
        store = self.store
        return Marks(store.born(), store.mark(SEGMENTS), store.mark(MOVERS))

    @_answered
    def board(self) -> pl.DataFrame:
        """The newest published board, all its windows, whatever its age: `schema.MOVERS` and venue.

        By window and market_key; no rows if there is none. Never computed: see `movers`.
        """
        for day in reversed(self.store.days(MOVERS)):
            parts = self.store.parts(MOVERS, dates=[day])
            newest_name = max((part.name for part in parts if part.name.startswith(reading.BOARD)), default=None)
            same = [part for part in parts if part.name == newest_name]
            if same:
                rows = self.store.scan_parts(MOVERS, same).drop("date")
                return rows.filter(pl.col("as_of") == pl.col("as_of").max()).sort("window", "market_key").collect()
        return MOVERS.empty().drop("date").collect()

    @_answered
    def news(self, known: Collection[str] = (), most: int = 60) -> News:
        """The quotes, trades and gaps of segments that are not `known`, the newest `most` segments at most.

        Looks at the last two days with segments.
        """
        days = self.store.days(SEGMENTS)[-2:]
        parts = [part for part in self.store.parts(SEGMENTS, dates=days) if Merged.parse(part.name) is None]
        times = self.store.published([part for part in parts if part.name not in known])
        new = sorted(times, key=lambda part: (times[part], part.name))[-most:]
        quotes, trades, gaps = (self._of_segments(table, new) for table in (QUOTES, TRADES, GAPS))
        return News(frozenset(part.name for part in parts), quotes, trades, gaps)

    def fresh(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Quotes and trades of segments that are not published yet: `schema.QUOTES`, `schema.TRADES`, with venue.

        On the machine that collects, a quarter of a second old; elsewhere there are none.
        """
        quotes, trades = (
            pl.concat([table.empty().collect(), *(one.rows for one in self.store.fresh(table))]).drop("date")
            for table in (QUOTES, TRADES)
        )
        return quotes, trades

    @_answered
    def catalogue(self) -> pl.DataFrame:
        """The newest version of each market that a catalogue told of: `schema.MARKETS` and venue, by title."""
        return newest(self.store, MARKETS, "market_key").sort("title", "market_key").collect()

    @_answered
    def moves_at(self, window: str, as_of: Instant | None = None) -> pl.DataFrame:
        """Every market's move over any window, computed from raw rows at `as_of`, by market_key.

        `schema.MOVERS`, venue, title, market_id, category, close_time, status. Rows whose verdict is not "ok" are
        among them; only the ranks say what a list would show.
        """
        width, now = require_span("window", window), self._now(as_of)
        found = reading.computed_board(self.store, {window: width}, now).lazy()
        return reading.told(self.store, found, now).sort("market_key").collect()

    @_answered
    def gaps(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        venue: str | None = None,
        limit: int | None = None,
        market: int | str | None = None,
    ) -> pl.DataFrame:
        """What was not seen in [start, end), the newest first: `schema.GAPS`, venue, title.

        Of `market`, if it is given: its own gaps and those of its whole venue. Each gap once. Without end_time it lasts
        until the market's next quote; without market_key, and so without a title, it is the whole venue's.
        """
        first, last = require_range(start, end)
        where = _where(venue=venue)
        if first is not None:
            where.append((pl.col("end_time") > moment(first)).fill_null(True))
        if last is not None:
            where.append(pl.col("start_time") < moment(last))
        gaps = ledger.remembered(self.store, GAPS)
        if market is not None:
            row = self.market(market)
            where.append(pl.col("venue") == row["venue"].item())
            gaps = gaps.filter((pl.col("market_key") == row["market_key"].item()) | pl.col("market_key").is_null())
        rows = distinct_gaps(gaps).filter(*where)
        order = ["start_time", "venue", "connection", "market_key", "reason"]
        found = _cut(rows.sort(order, descending=[True, *[False] * 4], nulls_last=False), limit)
        return reading.told(self.store, found).select(*GAPS.columns, "venue", "title").collect()

    @_answered
    def maintenance(self) -> pl.DataFrame:
        """What the newest pass of maintenance found and did, a row a table and venue: `schema.MAINTENANCE`.

        By table and venue; no rows before the first pass. `bytes` and `files` are what the table takes up.
        """
        days = reading.dates(self.store, MAINTENANCE)[-1:]
        rows = self.store.scan(MAINTENANCE, dates=days).filter(pl.col("as_of") == pl.col("as_of").max())
        return rows.select(*MAINTENANCE.columns).sort("table", "venue").collect()

    @_answered
    def coverage(
        self,
        window: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        markets: Collection[int | str] | None = None,
        as_of: Instant | None = None,
    ) -> pl.DataFrame:
        """The share of [start, end) in which each market was watched, the least watched first, then by market_key.

        Over `window` (1h, if nothing is given) before `as_of`, or from `start` to `end`, which is `as_of` if it is not
        given or later. Of `markets`, else of all with a quote or a trade. market_key, venue, title, market_id,
        category, close_time, status, start_time, end_time, coverage (0 to 1), unseen_seconds; reasons: a JSON object,
        `vocab.Gap` or "not_followed_yet" (before the market's first quote) to seconds, the longest first, null where
        nothing was missed. Overlapping reasons each count whole. A gap that nobody has noticed yet is not in it.
        """
        first, last = self._span(window, start, end, as_of)
        known = self._followed(markets)
        spans = pl.LazyFrame({"start_time": [first], "end_time": [last]}, schema=dict.fromkeys(_WINDOW, TIME))
        lost = reading.unseen(self.store, known, first, last).lazy()
        found = coverage.coverage(lost, known.lazy(), spans).join(known.lazy(), on="market_key", how="left")
        item = pl.concat_str(pl.lit('"'), "reason", pl.lit('": '), "seconds").str.join(", ").alias("items")
        each = coverage.reasons(lost, spans).group_by("market_key", maintain_order=True).agg(item)
        said = each.select("market_key", reasons=pl.concat_str(pl.lit("{"), "items", pl.lit("}")))
        told = reading.told(self.store, found.join(said, on="market_key", how="left"), last)
        facts = ("market_key", "venue", *reading.FACTS, *_WINDOW, "coverage", "unseen_seconds", "reasons")
        return told.select(facts).sort("coverage", "market_key").collect()

    @_answered
    def dead_letters(self, limit: int | None = 100, venue: str | None = None) -> pl.DataFrame:
        """Messages that could not be read, the newest first: venue, connection, received_time, reason, bytes, frame."""
        rows = self.store.scan(DEAD_LETTERS).filter(*_where(venue=venue))
        found = _cut(rows.sort("received_time", "seq", "element", descending=True), limit)
        size = pl.col("frame").bin.size().cast(pl.Int64).alias("bytes")
        return found.select("venue", "connection", "received_time", "reason", size, "frame").collect()

    @_answered
    def events(
        self,
        search: str | None = None,
        venue: str | None = None,
        category: str | None = None,
        limit: int | None = 100,
        offset: int = 0,
    ) -> pl.DataFrame:
        """The newest version of each event, the most lately changed first: `schema.EVENTS` and venue.

        `search` is a text, not a pattern, found in any case in title, event_id or slug.
        """
        where = _where(venue=venue, category=category)
        if search:
            where.append(contains(search, "title", "event_id", "slug"))
        found = newest(self.store, EVENTS, "event_id").filter(*where)
        return _cut(found.sort("as_of", "event_id", descending=[True, False]), limit, offset).collect()

    @_answered
    def categories(self, window: str = "24h", as_of: Instant | None = None) -> pl.DataFrame:
        """How much each category moved over `window`, the most first, from the same board as `movers`.

        category (null = unknown); markets: with a known move; mean_move_pp, max_move_pp: of |move_pp|; gainers, losers;
        notional_usd: traded in the window; as_of.
        """
        move = pl.col("move_pp")
        sums = self._board(window, as_of).group_by("category").agg(
            markets=move.count().cast(pl.Int64),
            mean_move_pp=move.abs().mean(),
            max_move_pp=move.abs().max(),
            gainers=(move > 0).sum().cast(pl.Int64),
            losers=(move < 0).sum().cast(pl.Int64),
            notional_usd=pl.col("notional_usd").sum(),
            as_of=pl.col("as_of").first(),
        )  # fmt: skip
        return sums.sort("mean_move_pp", "category", descending=[True, False], nulls_last=True).collect()

    @_answered
    def sql(self, query: str) -> pl.DataFrame:
        """The answer to one SELECT over the tables and views of `lake.sql`."""
        return sql.run(self.store, query)

    def _of_market(
        self, table: Table, market: int | str, start: Instant | None, end: Instant | None, limit: int | None
    ) -> pl.DataFrame:
        """The market's rows of a table by event_time, the newest `limit` of them, in order of time."""
        first, last = require_range(start, end)
        row = self.market(market)
        rows = reading.days(self.store, table, row["venue"].to_list(), first, last)
        found = rows.filter(pl.col("market_key") == row["market_key"].item(), *between("event_time", first, last))
        kept = _cut(found.sort("event_time", "seq", descending=True), limit)
        return kept.reverse().select(*table.columns, "venue").collect()

    def _now(self, as_of: Instant | None) -> datetime:
        return require_time("as_of", as_of) or self.latest_time()

    def _span(
        self, window: str | None, start: Instant | None, end: Instant | None, as_of: Instant | None
    ) -> tuple[datetime, datetime]:
        """The time that a question is of. Raises `QueryError` where it is none."""
        first, last = require_range(start, end)
        now = self._now(as_of)
        until = now if last is None else min(last, now)
        if first is None:
            return until - require_span("window", window or "1h"), until
        if window is not None:
            raise QueryError(f"window {window!r}: ends at as_of; give start and end without it")
        if first >= until:
            raise QueryError(f"start {first.isoformat()}: is not before {until.isoformat()}; give an earlier one")
        return first, until

    def _followed(self, markets: Collection[int | str] | None) -> pl.DataFrame:
        """market_key and venue of these markets, else of all with a quote or a trade."""
        if markets is None:
            return reading.seen(self.store).collect()
        rows = [self.market(market).select("market_key", "venue") for market in markets]
        empty = MARKETS.empty().select("market_key", "venue").collect()
        return pl.concat([empty, *rows]).unique("market_key")

    def _board(self, window: str, as_of: Instant | None) -> pl.LazyFrame:
        """The published board that answers, or a computed one, with what was known of each market by then."""
        width, now = require_span("window", window), self._now(as_of)
        first, last = (now, now) if as_of is not None else (now - reading.BOARD_AGE, None)
        found = reading.published_board(self.store, window, first, last)
        if found.is_empty():
            found = reading.computed_board(self.store, {window: width}, now)
        made = now if found.is_empty() else found["as_of"].item(0)
        return reading.told(self.store, found.lazy(), made)

    def _of_segments(self, table: Table, segments: Collection[Part]) -> pl.DataFrame:
        """The rows that these segments left in `table`."""
        parts = [
            layout.part(table, segment.name, venue=venue, date=segment.partition["date"])
            for segment in segments
            for venue in _VENUES
        ]
        parts = list(self.store.published(parts))
        return self.store.scan_parts(table, parts).drop("date").collect()

    def _last_days(self, venue: str, now: datetime) -> pl.LazyFrame:
        """The venue's health on the last two days that have any, at or before `now`."""
        past = [day for day in reading.dates(self.store, FEED_HEALTH, [venue]) if day <= now.date()]
        rows = ledger.remembered(self.store, FEED_HEALTH)
        return rows.filter(pl.col("venue") == venue, pl.col("minute").dt.date().is_in(past[-2:]))

    def _tape(
        self, where: list[pl.Expr], venues: list[str] | None, start: datetime | None, most: int | None
    ) -> pl.LazyFrame:
        """Trades, each once, from as many days backwards as it takes to hold the newest `most` of them."""
        low = None if start is None else (start - reading.SKEW).date()
        found = TRADES.empty().drop("date")
        for day in reversed(reading.dates(self.store, TRADES, venues)):
            if low is not None and day < low:
                break
            rows = self.store.scan(TRADES, venues=venues, dates=[day]).drop("date").filter(*where)
            found = distinct_trades(pl.concat([found, rows])).collect().lazy()
            # What older days hold was received before this one: it cannot be newer than these.
            is_sure = pl.col("event_time") >= pl.lit(day).cast(pl.Datetime("us", "UTC")) + reading.SKEW
            if most is not None and found.filter(is_sure).select(pl.len()).collect().item() >= most:
                break
        return found


_WINDOW: Final = ("start_time", "end_time")
_QUOTE_FACTS: Final = ("event_time", "received_time", "bid", "ask", "bid_size", "ask_size", "source")


def _where(*, venue: str | None = None, category: str | None = None, status: str | None = None) -> list[pl.Expr]:
    """The conditions that these arguments set; None sets none."""
    found = []
    if venue is not None:
        found.append(pl.col("venue") == require_choice("venue", venue, _VENUES))
    if status is not None:
        found.append(pl.col("status") == require_choice("status", status, _STATUSES))
    if category is not None:
        found.append(pl.col("category") == category)
    return found


def _cut(rows: pl.LazyFrame, limit: int | None, offset: int = 0) -> pl.LazyFrame:
    return rows.slice(require_count("offset", offset) or 0, require_count("limit", limit))
