"""The views that SQL finds beside the lake's tables: newest versions, and the names of the original.

Text only: `lake.sql` makes those that a query names. A view reads tables and other views by name.

The original keyed everything by `token_id`. Here a binary market is one series, that of its first outcome, so
`token_id` is the `market_key`; the other outcome has none, its price is 1 - that of the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lake.derived.prices import EPSILON, MAX_SPREAD
from lake.schema import EVENTS, MARKETS, Table


@dataclass(frozen=True, slots=True)
class View:
    """A name, what its rows are, and the SELECT that gives them."""

    name: str
    about: str
    select: str


HISTORIES: Final[Mapping[str, str]] = {"markets": "markets_history", "events": "events_history"}
"""Versioned table to the name under which SQL finds all of its versions."""


_STUB: Final = """coalesce(status = 'initialized' AND title = substr(market_id, strpos(market_id, ':') + 1), false)"""
"""A version of a market that was made up from its id, as in `lake.reading`."""


def _newest(table: Table, key: str) -> View:
    """What `lake.reading.newest` says, in SQL."""
    is_stub = _STUB if table is MARKETS else "false"
    special = {key: key, "venue": "venue", "tags": f"coalesce({_last('tags', 'len(tags) > 0')}, {_last('tags')})"}
    for name in ("title", "status"):
        special[name] = f"coalesce({_last(name, 'NOT is_stub')}, {_last(name)})"
    columns = ", ".join(f"{special.get(name, _last(name))} AS {name}" for name in table.schema)
    history = HISTORIES[table.name]
    return View(
        table.name,
        f"what is known of each now, the newest value of each column; all versions: {history}",
        f"SELECT {columns} FROM (SELECT *, {is_stub} AS is_stub FROM {history}) GROUP BY venue, {key}",
    )


def _last(column: str, where: str = "true") -> str:
    """The newest value that is not null, of the versions `where`."""
    return f"arg_max({column}, (as_of, seq)) FILTER (WHERE {where})"


_SNAPSHOTS = View(
    "snapshots",
    "quotes as the original stored them; price is the mid of a book at most 10 cents wide, else null, never one side",
    f"""SELECT event_time AS ts, q.market_key AS token_id,
               CASE WHEN bid <= ask AND ask - bid <= {MAX_SPREAD + EPSILON} THEN round((bid + ask) / 2, 9) END AS price,
               volume_24h_usd AS volume_24h,
               CASE WHEN bid <= ask THEN ask - bid END AS spread,
               q.venue, q.date
        FROM quotes q
        ASOF LEFT JOIN (SELECT market_key, received_time, volume_24h_usd FROM venue_stats
                        WHERE volume_24h_usd IS NOT NULL) s
            ON q.market_key = s.market_key AND q.event_time >= s.received_time""",
)

_MARKET_TOKENS = View(
    "market_tokens",
    "outcomes of the newest version of each market; token_id only for the first, whose prices are stored",
    """SELECT CASE WHEN place = 1 THEN market_key END AS token_id, market_id, outcomes[place] AS outcome,
              slug AS symbol, outcome_token_ids[place] AS source_token_id, listed_time AS created_at, venue
       FROM (SELECT *, unnest(range(1, len(outcomes) + 1)) AS place FROM markets)""",
)


def _ohlc(interval: str) -> View:
    return View(
        f"ohlc_{interval}",
        f"bars of {interval}; volume is what was traded in the bar, USD (the original's was a 24 h figure)",
        f"""SELECT market_key AS token_id, bar_start AS bucket_ts, open, high, low, close, notional_usd AS volume,
                   NULL::TIMESTAMPTZ AS created_at, venue, date
            FROM bars WHERE interval = '{interval}'""",
    )


_SECONDS = """CAST(rtrim("window", 'smhd') AS INTEGER)
              * CASE right("window", 1) WHEN 's' THEN 1 WHEN 'm' THEN 60 WHEN 'h' THEN 3600 ELSE 86400 END"""

_MOVERS_CACHE = View(
    "movers_cache",
    "boards of movers as the original stored them: markets that `classic` lists, and their rank",
    f"""SELECT as_of AS as_of_ts, {_SECONDS} AS window_seconds, market_key AS token_id, price_now, price_then, move_pp,
               abs(move_pp) AS abs_move_pp, classic_rank AS rank, classic AS quality_score,
               volume_24h_usd AS volume_24h, spike_ratio, venue, date
        FROM movers WHERE classic_rank IS NOT NULL""",
)

_MOVERS_LATEST = View(
    "movers_latest",
    "the newest published board of each window",
    """SELECT * FROM movers QUALIFY as_of = max(as_of) OVER (PARTITION BY "window")""",
)

_VOLUME_SPIKES = View(
    "volume_spikes",
    "spikes as the original stored them; volumes are those of the spike's window, USD",
    """SELECT concat_ws('/', market_key, "window", epoch_us(as_of)) AS spike_id, as_of AS created_at,
              market_key AS token_id, volume_usd AS current_volume, baseline_usd AS avg_volume, ratio AS spike_ratio,
              price AS current_price, NULL::DOUBLE AS price_change_1h, severity,
              NULL::TIMESTAMPTZ AS acknowledged_at, venue, date
       FROM spikes""",
)


def _without_rows(name: str, columns: str) -> View:
    """A view of the original whose rows are users' own: they live in the state database, not in the lake."""
    typed = ", ".join(f"NULL::{dtype} AS {column}" for column, dtype in (pair.split(":") for pair in columns.split()))
    return View(name, "always empty: users' own rows are not in the lake", f"SELECT {typed} WHERE false")


_USER_ALERTS = _without_rows(
    "user_alerts",
    "alert_id:VARCHAR session_id:VARCHAR market_id:VARCHAR token_id:BIGINT condition_type:VARCHAR threshold:DOUBLE"
    " window_seconds:INTEGER is_active:BOOLEAN created_at:TIMESTAMPTZ last_triggered:TIMESTAMPTZ"
    " trigger_count:INTEGER notify_once:BOOLEAN",
)

_WATCHLIST = _without_rows("watchlist", "user_session_id:VARCHAR market_id:VARCHAR added_at:TIMESTAMPTZ")

VIEWS: Final[Mapping[str, View]] = {
    view.name: view
    for view in (
        _newest(MARKETS, "market_key"), _newest(EVENTS, "event_id"), _SNAPSHOTS, _MARKET_TOKENS,
        _ohlc("1m"), _ohlc("5m"), _ohlc("1h"), _MOVERS_LATEST, _MOVERS_CACHE, _VOLUME_SPIKES, _USER_ALERTS,
        _WATCHLIST,
    )
}  # fmt: skip
