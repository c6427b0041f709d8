"""Every table of the lake: its columns with their units, its key, its partitions.

Prices are probabilities of the market's first outcome, 0 to 1; sizes are contracts, each paying
1 USD; times are UTC microseconds; ids of markets, events and series are `<venue>:<native id>`.
Partition columns live in the path (`lake.layout`), not in the file, and come back with every scan.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from lake.errors import SchemaMismatch

SCHEMA_VERSION: Final = 2
"""Raised with every change that an older reader would misread; `_lake.json` holds it."""

SEQ_BITS: Final = 40
"""`seq` = epoch * 2**40 + frame number."""

TIME = pl.Datetime("us", "UTC")
_INT, _FLOAT, _TEXT, _FLAG = pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()
_TEXTS = pl.List(pl.String())

VENUE_DAY: Final[Mapping[str, pl.DataType]] = {"venue": pl.String(), "date": pl.Date()}
DAY: Final[Mapping[str, pl.DataType]] = {"date": pl.Date()}
BAR_DAY: Final[Mapping[str, pl.DataType]] = {"interval": pl.String(), **VENUE_DAY}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What the rows of one table mean, and how its files are laid out."""

    name: str
    columns: Mapping[str, pl.DataType]  # in the file
    key: tuple[str, ...]  # one row for each value of these
    order: tuple[str, ...]  # how the rows of a file are sorted
    partitions: Mapping[str, pl.DataType]  # in the path
    about: str

    @property
    def time(self) -> str | None:
        """The column that says when a row happened; None = the table has none."""
        return next((name for name in _TIMES if name in self.columns), None)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """File columns, then partition columns: what a scan returns."""
        return {**self.columns, **self.partitions}

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` in this table's column order; raises `SchemaMismatch` on any other column."""
        found, wanted = dict(frame.schema), dict(self.columns)
        if found != wanted:
            odd = sorted({name for name, _ in found.items() ^ wanted.items()})
            raise SchemaMismatch(f"{self.name}: check the columns {odd}")
        return frame.select(*self.columns)

    def frame(self, rows: list[tuple[object, ...]]) -> pl.DataFrame:
        """`rows`, tuples in column order, as a sorted frame of this table."""
        data = zip(*rows, strict=True) if rows else ([] for _ in self.columns)
        columns = [
            pl.Series(name, list(values), dtype=_PHYSICAL.get(dtype, dtype)).cast(dtype)
            for (name, dtype), values in zip(self.columns.items(), data, strict=True)
        ]
        return pl.DataFrame(columns).sort(*self.order, maintain_order=True)

    def empty(self) -> pl.LazyFrame:
        """No rows, with the columns of a scan."""
        return pl.LazyFrame(schema=self.schema)


_TIMES: Final = ("event_time", "start_time", "bar_start", "minute", "received_time", "as_of")

# Rows carry times as integers; Polars casts a column of them far faster than it reads datetimes.
_PHYSICAL: Final[Mapping[pl.DataType, pl.DataType]] = {TIME: pl.Int64()}


QUOTES = Table(
    name="quotes",
    columns={
        "market_key": _INT,
        "event_time": TIME,  # the venue's clock; received_time for snapshots and REST
        "received_time": TIME,  # ours, at the socket
        "bid": _FLOAT,  # null = empty side
        "ask": _FLOAT,
        "bid_size": _FLOAT,  # contracts; null = unknown
        "ask_size": _FLOAT,
        "seq": _INT,
        "source": _TEXT,  # vocab.Source
    },
    key=("market_key", "seq"),
    order=("market_key", "event_time", "seq"),
    partitions=VENUE_DAY,
    about="the top of each book, whenever its price or size changed",
)

TRADES = Table(
    name="trades",
    columns={
        "market_key": _INT,
        "trade_id": _TEXT,  # the venue's own, or a stable hash
        "event_time": TIME,
        "received_time": TIME,
        "price": _FLOAT,  # of the first outcome
        "size": _FLOAT,  # contracts
        "taker_side": _TEXT,  # vocab.TakerSide, of the first outcome; null = not said
        "is_block_trade": _FLAG,
        "seq": _INT,
    },
    key=("market_key", "trade_id"),
    order=("market_key", "event_time", "seq"),
    partitions=VENUE_DAY,
    about="executions, one row a fill, in the direction of the first outcome",
)

DEPTH = Table(
    name="depth",
    columns={
        "market_key": _INT,
        "event_time": TIME,  # of the last change before the sample
        "bid_2c_usd": _FLOAT,  # of bids within 2 cents of the mid, size x price; null = empty side
        "ask_2c_usd": _FLOAT,  # of asks, size x (1 - price): what those who quote have put up
        "seq": _INT,
    },
    key=("market_key", "seq"),
    order=("market_key", "event_time", "seq"),
    partitions=VENUE_DAY,
    about="dollars resting within 2 cents of the mid, sampled at most every 10 s while the book changes",
)

HISTORY = Table(
    name="history",
    columns={
        "market_key": _INT,
        "interval": _TEXT,
        "bar_start": TIME,
        "open": _FLOAT,
        "high": _FLOAT,
        "low": _FLOAT,
        "close": _FLOAT,
        **{f"{side}_{part}": _FLOAT for side in ("bid", "ask") for part in ("open", "high", "low", "close")},
        "volume_contracts": _FLOAT,
        "price_rule": _TEXT,
        "seq": _INT,
    },
    key=("market_key", "interval", "bar_start", "seq"),
    order=("market_key", "interval", "bar_start", "seq"),
    partitions=VENUE_DAY,
    about="back-filled bars as a venue serves them",
)

VENUE_STATS = Table(
    name="venue_stats",
    columns={
        "market_key": _INT,
        "received_time": TIME,
        "volume_24h_usd": _FLOAT,  # as the venue reports them; null = not reported in that unit
        "volume_total_usd": _FLOAT,
        "volume_24h_contracts": _FLOAT,
        "volume_total_contracts": _FLOAT,
        "open_interest": _FLOAT,  # contracts
        "liquidity_usd": _FLOAT,
        "seq": _INT,
    },
    key=("market_key", "seq"),
    order=("market_key", "received_time", "seq"),
    partitions=VENUE_DAY,
    about="figures that a venue reports of its markets",
)

MARKETS = Table(
    name="markets",
    columns={
        "market_key": _INT,
        "market_id": _TEXT,
        "event_id": _TEXT,
        "series_id": _TEXT,
        "title": _TEXT,
        "category": _TEXT,
        "tags": _TEXTS,
        "outcomes": _TEXTS,  # the first is the one that prices speak of
        "outcome_token_ids": _TEXTS,
        "status": _TEXT,  # vocab.MarketStatus
        "close_time": TIME,
        "listed_time": TIME,
        "tick_size": _FLOAT,
        "slug": _TEXT,  # the venue's page, never a whole address
        "rules_hash": _TEXT,
        "result": _TEXT,  # the winning outcome's name, "scalar", or null
        "as_of": TIME,
        "seq": _INT,
    },
    key=("market_key", "seq"),
    order=("market_key", "as_of", "seq"),
    partitions=VENUE_DAY,
    about="every version of every market; a row only when something changed",
)

EVENTS = Table(
    name="events",
    columns={
        "event_id": _TEXT,
        "series_id": _TEXT,
        "title": _TEXT,
        "mutually_exclusive": _FLAG,
        "category": _TEXT,
        "tags": _TEXTS,
        "close_time": TIME,
        "slug": _TEXT,
        "as_of": TIME,
        "seq": _INT,
    },
    key=("event_id", "seq"),
    order=("event_id", "as_of", "seq"),
    partitions=VENUE_DAY,
    about="every version of every event",
)

GAPS = Table(
    name="gaps",
    columns={
        "connection": _TEXT,
        "market_key": _INT,  # null = every market of the venue
        "start_time": TIME,  # the last good frame
        "end_time": TIME,  # the first good state; null = until the market's next quote
        "detected_time": TIME,
        "reason": _TEXT,  # vocab.Gap
        "backfilled": _FLAG,
        "seq": _INT,
    },
    key=("connection", "market_key", "start_time", "reason"),
    order=("start_time", "connection", "market_key"),
    partitions=VENUE_DAY,
    about="what was not seen",
)

DEAD_LETTERS = Table(
    name="dead_letters",
    columns={
        "connection": _TEXT,
        "received_time": TIME,
        "reason": _TEXT,
        "frame": pl.Binary(),
        "seq": _INT,
        "element": _INT,  # place in an array frame, else 0; -1 = a whole frame, on which our own code failed
    },
    key=("seq", "element"),
    order=("seq", "element"),
    partitions=VENUE_DAY,
    about="messages that could not be read, with their bytes",
)

FEED_HEALTH = Table(
    name="feed_health",
    columns={
        "connection": _TEXT,
        "minute": TIME,
        "frames": _INT,
        "messages": _INT,  # = applied + ignored + duplicate + dead
        "applied": _INT,
        "ignored": _INT,
        "duplicate": _INT,
        "dead": _INT,
        "ignored_kinds": _TEXT,  # JSON object, kind to count
        "rows_quotes": _INT,
        "rows_trades": _INT,
        "rows_other": _INT,
        "bytes": _INT,
        "reconnects": _INT,
        "subscribed": _INT,  # markets asked for; null = the recording does not say
        "seen": _INT,  # markets heard of since the connection opened
        "lag_p50_ms": _FLOAT,  # received_time - event_time; negative = clocks disagree
        "lag_p99_ms": _FLOAT,
        "seq": _INT,
    },
    key=("connection", "minute", "seq"),
    order=("minute", "connection", "seq"),
    partitions=VENUE_DAY,
    about="one row a connection and minute: what came in and what became of it",
)

SEGMENTS = Table(
    name="segments",
    columns={
        "collector": _TEXT,
        "epoch": _INT,
        "first_seq": _INT,
        "last_seq": _INT,
        "frames": _INT,
        "table": _TEXT,  # null = the segment left no rows
        "venue": _TEXT,
        "partition_date": pl.Date(),
        "rows": _INT,
        "bytes": _INT,
        "first_time": TIME,  # of the table's `time` column; null = unknown
        "last_time": TIME,
        "first_received_time": TIME,  # null = the table has none
        "last_received_time": TIME,
        "input_digest": _TEXT,  # of the recording; null = live
        "opened_time": TIME,  # of the segment's first frame, by our clock; null = an older program's
        "closed_time": TIME,  # of its last
        "rows_hash": _INT,  # of these rows, in any order, adding up over files (`lake.rowhash`); null = not computed
    },
    key=("collector", "epoch", "first_seq", "table", "venue"),
    order=("collector", "epoch", "first_seq", "table", "venue"),
    partitions=DAY,
    about="what must exist: the files of every sealed segment",
)

RAW = Table(
    name="raw",
    columns={
        "collector": _TEXT,
        "kind": _TEXT,  # what the collector was told: frame, opened, closed, tick ... (`flows.collector.journal`)
        "connection": _TEXT,
        "wire": _TEXT,  # which parser the bytes are for; null = not a frame
        "received_time": TIME,
        "monotonic_us": _INT,  # of a clock that nobody sets, since the machine `boot_id` was started
        "boot_id": _TEXT,
        "frame": pl.Binary(),
        "seq": _INT,
    },
    key=("collector", "seq"),
    order=("collector", "seq"),
    partitions=VENUE_DAY,
    about="what the collector was told, in order: every frame as it came off the socket, opens, closes, ticks",
)

BARS = Table(
    name="bars",
    columns={
        "market_key": _INT,
        "bar_start": TIME,  # closed left edge, by event_time
        "open": _FLOAT,  # of the reference price at the rows in the bar
        "high": _FLOAT,
        "low": _FLOAT,
        "close": _FLOAT,
        **{f"{side}_{part}": _FLOAT for side in ("bid", "ask") for part in ("open", "high", "low", "close")},
        "volume_contracts": _FLOAT,
        "notional_usd": _FLOAT,  # price x size, taker side once
        "buy_notional_usd": _FLOAT,  # of it, takers who bought the first outcome
        "trades": _INT,
        "coverage": _FLOAT,  # share of the bar with a live feed and a reference price
        "ticks": _INT,  # quotes and trades in the bar
        "is_backfilled": _FLAG,
    },
    key=("interval", "market_key", "bar_start"),
    order=("market_key", "bar_start"),
    partitions=BAR_DAY,
    about="OHLC of the reference price; a bar without a row in it does not exist",
)

MOVERS = Table(
    name="movers",
    columns={
        "market_key": _INT,
        "window": _TEXT,
        "as_of": TIME,
        "verdict": _TEXT,  # "ok", or why the row is insufficient data
        "price_then": _FLOAT,  # medians over the slices of docs/signals.md
        "price_now": _FLOAT,
        "rule_then": _TEXT,  # vocab.PriceRule
        "rule_now": _TEXT,
        "bid": _FLOAT,  # the quote in force at as_of
        "ask": _FLOAT,
        "spread_then": _FLOAT,
        "spread_now": _FLOAT,
        "move_pp": _FLOAT,
        "effective_move_pp": _FLOAT,
        "coverage_then": _FLOAT,
        "coverage_now": _FLOAT,
        "coverage_window": _FLOAT,
        "is_across_gap": _FLAG,
        "trades": _INT,  # seen in the window
        "notional_usd": _FLOAT,
        "volume_24h_usd": _FLOAT,
        "volume_basis": _TEXT,  # observed | venue_reported | venue_contracts; null = unknown
        "spike_ratio": _FLOAT,  # null = under three days of baseline: counted as 1
        "boundary": _FLOAT,
        "biggest": _FLOAT,  # |effective move|, pp
        "classic": _FLOAT,  # null = an input is unknown
        "biggest_rank": _INT,  # null = not listed
        "classic_rank": _INT,
        "first_seq": _INT,  # the input rows, so that the row can be recomputed
        "last_seq": _INT,
        "rule_version": _TEXT,
    },
    key=("as_of", "window", "market_key"),
    order=("window", "market_key"),
    partitions=VENUE_DAY,
    about="published boards: each market's move over each window; filter on as_of",
)

_OHLC: Final = tuple(f"{side}{part}" for side in ("", "bid_", "ask_") for part in ("open", "high", "low", "close"))

BLOCKS = Table(
    name="blocks",
    columns={
        "market_key": _INT,
        "bar_start": TIME,  # closed left edge, by event_time; ten minutes
        **dict.fromkeys(_OHLC, _FLOAT),  # as in bars
        "ticks": _INT,
        "contracts": _INT,  # of all trades, in millionths, which add up alike in any order
        "notional": _INT,
        "buy_notional": _INT,
        "trades": _INT,
        "tape_trades": _INT,  # block trades aside
        "tape_notional": _INT,
        "covered": _INT,  # microseconds with a reference price
        "live": _INT,  # microseconds with a live feed
        "is_priced_before": _FLAG,  # what held when the block began
        "is_priced_after": _FLAG,  # what holds from its end to the market's next block
        "is_live_after": _FLAG,
        "has_gap": _FLAG,  # begins in it or runs into it; of a venue's gap without an end only where it begins
        "last_quote_time": TIME,
        "reported_usd": _FLOAT,  # the venue's last word on its volume of 24 h, by received_time
        "reported_usd_time": TIME,
        "reported_contracts": _FLOAT,
        "reported_contracts_time": TIME,
    },
    key=("market_key", "bar_start"),
    order=("bar_start", "market_key"),
    partitions=VENUE_DAY,
    about="what ten minutes of one market add up to; a block in which nothing happened to it does not exist",
)

CARRIES = Table(
    name="carries",
    columns={
        "kind": _TEXT,  # quote | trade | gap; edge = none of them: this edge was reached
        "market_key": _INT,  # null = a gap of the whole venue
        "event_time": TIME,  # start_time of a gap
        "end_time": TIME,
        "seq": _INT,
        "bid": _FLOAT,
        "ask": _FLOAT,
        "price": _FLOAT,
        "trade_id": _TEXT,
        "connection": _TEXT,
        "reason": _TEXT,
    },
    key=("kind", "market_key", "event_time", "seq", "trade_id", "connection", "reason"),
    order=("kind", "market_key", "event_time", "seq", "trade_id", "connection", "reason"),
    partitions=VENUE_DAY,
    about="what still held at the edge of a block: the state that the next one starts from",
)

SPIKES = Table(
    name="spikes",
    columns={
        "market_key": _INT,
        "as_of": TIME,
        "window": _TEXT,
        "volume_usd": _FLOAT,
        "baseline_usd": _FLOAT,
        "ratio": _FLOAT,  # against the same clock window of former days
        "surprise": _FLOAT,  # -log10 of the tail probability
        "severity": _TEXT,
        "price": _FLOAT,
        "coverage": _FLOAT,
        "baseline_version": _TEXT,
        "rule_version": _TEXT,
    },
    key=("as_of", "window", "market_key"),
    order=("as_of", "market_key"),
    partitions=VENUE_DAY,
    about="volume that is unusual for its market and hour",
)

ANOMALIES = Table(
    name="anomalies",
    columns={
        "market_key": _INT,
        "as_of": TIME,
        "score": _FLOAT,
        "parts": _TEXT,  # JSON object, addend to value; they sum to score
        "coverage": _FLOAT,
        "baseline_version": _TEXT,
        "rule_version": _TEXT,
    },
    key=("as_of", "market_key"),
    order=("as_of", "market_key"),
    partitions=VENUE_DAY,
    about="streaming tail probabilities, added up",
)

ALERTS = Table(
    name="alerts",
    columns={
        "alert_id": _TEXT,
        "kind": _TEXT,
        "market_key": _INT,
        "window": _TEXT,
        "detected_time": TIME,
        "move_pp": _FLOAT,
        "threshold_pp": _FLOAT,
        "volume_ratio": _FLOAT,
        "severity": _TEXT,
        "reason": _TEXT,
        "evidence": _TEXT,  # JSON: what it saw, frozen
        "rule_version": _TEXT,
    },
    key=("alert_id",),
    order=("detected_time", "alert_id"),
    partitions=VENUE_DAY,
    about="episodes worth telling somebody",
)

PAIRS = Table(
    name="pairs",
    columns={
        "left_key": _INT,
        "right_key": _INT,
        "relation": _TEXT,
        "polarity": _INT,  # 1 = the same question, -1 = its complement
        "verdict": _TEXT,
        "as_of": TIME,
    },
    key=("left_key", "right_key", "as_of"),
    order=("left_key", "right_key", "as_of"),
    partitions=DAY,
    about="the same question on two venues",
)

CALIBRATION = Table(
    name="calibration",
    columns={
        "horizon": _TEXT,
        "category": _TEXT,
        "markets": _INT,
        "brier": _FLOAT,
        "log_loss": _FLOAT,
        "reliability": _TEXT,  # JSON list of bins
        "as_of": TIME,
    },
    key=("horizon", "category", "as_of"),
    order=("horizon", "category", "as_of"),
    partitions=VENUE_DAY,
    about="how often what was priced at p came true",
)

MAINTENANCE = Table(
    name="maintenance",
    columns={
        "as_of": TIME,
        "table": _TEXT,
        "venue": _TEXT,  # null = the table is not by venue
        "files": _INT,  # after the pass
        "rows": _INT,  # null = not counted, as of derived tables
        "bytes": _INT,
        "files_merged": _INT,  # by the pass: inputs, and what was made of them
        "files_made": _INT,
        "files_deleted": _INT,  # moved to the trash for their age
        "rows_deleted": _INT,
        "bytes_freed": _INT,
        "seconds": _FLOAT,  # of the whole pass
        "note": _TEXT,  # what was refused, or damaged
    },
    key=("as_of", "table", "venue"),
    order=("as_of", "table", "venue"),
    partitions=DAY,
    about="what each pass of maintenance found and did, a row a table and venue",
)

TABLES: Final[Mapping[str, Table]] = {
    table.name: table
    for table in (
        QUOTES, TRADES, DEPTH, HISTORY, VENUE_STATS, MARKETS, EVENTS, GAPS, DEAD_LETTERS, FEED_HEALTH,
        SEGMENTS, RAW, BARS, BLOCKS, CARRIES, MOVERS, SPIKES, ANOMALIES, ALERTS, PAIRS, CALIBRATION,
        MAINTENANCE,
    )
}  # fmt: skip

SEALED: Final = (
    QUOTES, TRADES, DEPTH, HISTORY, VENUE_STATS, MARKETS, EVENTS, GAPS, DEAD_LETTERS, FEED_HEALTH, SEGMENTS, RAW,
)  # fmt: skip
"""The raw tables, whose files are sealed segments and what they were merged into."""

BAR_INTERVALS: Final[Mapping[str, int]] = {"1m": 60, "5m": 300, "1h": 3_600, "1d": 86_400}
"""Name to seconds."""
