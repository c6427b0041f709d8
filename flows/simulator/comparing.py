"""What a lake holds, compared with the truth: matched, missing, missing but told as a gap, and never happened.

Frames in, frames out. A stored row says `event_time` by the venue's clock, or, if it is a snapshot, our own clock at
its receipt (`event_time` = `received_time`); gaps are told by our clock. The simulated venues' clock is taken to agree
with ours within `slack`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import polars as pl

SLACK: Final = timedelta(seconds=1)

_TOPS: Final = ("bid", "ask", "bid_size", "ask_size")
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Rows of the truth that are stored, that are told as a gap, that are lost; and stored rows that are not true."""

    matched: int
    covered: pl.DataFrame
    missing: pl.DataFrame
    extra: pl.DataFrame

    @property
    def is_right(self) -> bool:
        """Nothing is lost in silence, and nothing is made up."""
        return self.missing.is_empty() and self.extra.is_empty()

    def __str__(self) -> str:
        return f"{self.matched} matched, {self.covered.height} covered, {self.missing.height} missing, " + (
            f"{self.extra.height} extra"
        )


def compare_quotes(
    stored: pl.DataFrame, truth: pl.DataFrame, gaps: pl.DataFrame, *, slack: timedelta = SLACK
) -> Verdict:
    """`stored` rows of `quotes` against `truth_frames.quotes` of the same window and venues; `gaps` rows of `gaps`.

    Of several rows of a market within one millisecond the last one counts. A row is extra if its market's book never
    stood so at that time, by `slack` before it for a snapshot.
    """
    is_snapshot = pl.col("event_time") == pl.col("received_time")
    stored = _exact(stored, _TOPS).with_columns(is_snapshot=is_snapshot).sort("market_key", "event_time", "seq")
    truth = _exact(truth, _TOPS).sort("market_key", "event_time")
    final = stored.group_by("market_key", pl.col("event_time").dt.truncate("1ms"), maintain_order=True).last()
    must = truth.filter("is_change")
    keys = ["market_key", "event_time", *_TOPS]
    found = must.join(final.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
    lost = must.join(final.select(keys).unique(), on=keys, how="anti", nulls_equal=True)
    covered, missing = _split(lost, gaps, slack)
    return Verdict(found.height, covered, missing, _untrue(final, truth, slack))


def compare_trades(
    stored: pl.DataFrame, truth: pl.DataFrame, gaps: pl.DataFrame, *, slack: timedelta = SLACK
) -> Verdict:
    """`stored` rows of `trades` against `truth_frames.trades` of the same window and venues.

    A trade is the same if its id, price, size and side are, and its time to the millisecond, or to the second as tapes
    over REST tell it. One that is stored twice is extra once. Ids that nobody had asked for are extra too.
    """
    columns = ["market_key", "trade_id", "price", "size", "taker_side"]
    stored, truth = _exact(stored, ("price", "size")), _exact(truth, ("price", "size"))
    both = stored.with_row_index("row").join(
        truth.select(*columns, true_time="event_time"), on=columns, how="inner", nulls_equal=True
    )
    time = pl.col("event_time").dt.truncate("1ms")
    is_same = (time == pl.col("true_time")) | (pl.col("event_time") == pl.col("true_time").dt.truncate("1s"))
    right = both.filter(is_same).unique(["market_key", "trade_id"], keep="first", maintain_order=True)
    lost = truth.join(right, on=["market_key", "trade_id"], how="anti")
    covered, missing = _split(lost, gaps, slack)
    extra = stored.with_row_index("row").join(right, on="row", how="anti").drop("row")
    return Verdict(right.height, covered, missing, extra)


def compare_results(markets: pl.DataFrame, lives: pl.DataFrame) -> Verdict:
    """The newest rows of `markets` against the results among `truth_frames.lives`: status and result.

    A market that a catalogue never named is missing; nothing is covered here, for a sweep must find each result.
    """
    newest = markets.sort("market_key", "as_of", "seq").group_by("market_key", maintain_order=True).last()
    must = lives.filter(pl.col("kind") == "determined").unique("market_key", keep="last", maintain_order=True)
    keys = ["market_key", "status", "result"]
    missing = must.join(newest.select(keys), on=keys, how="anti", nulls_equal=True)
    told = newest.filter(pl.col("status") == "resolved")
    extra = told.join(must, on="market_key", how="semi").join(must, on=keys, how="anti", nulls_equal=True)
    return Verdict(must.height - missing.height, missing.clear(), missing, extra)


def _exact(frame: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """Numbers as integers of 1e-6, so that equal means equal."""
    return frame.with_columns((pl.col(name) * _MILLION).round().cast(pl.Int64) for name in names)


def _split(lost: pl.DataFrame, gaps: pl.DataFrame, slack: timedelta) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Those within a gap of their market or of all markets, and the rest. An open gap lasts for ever."""
    spans = gaps.select(gap_key="market_key", since="start_time", until=pl.col("end_time"))
    time = pl.col("event_time")
    is_in = (time >= pl.col("since") - slack) & (pl.col("until").is_null() | (time <= pl.col("until") + slack))
    rows = lost.with_row_index("row")
    own = rows.join(spans, left_on="market_key", right_on="gap_key", how="inner").filter(is_in)
    every = rows.join(spans.filter(pl.col("gap_key").is_null()), how="cross").filter(is_in)
    told = pl.concat([own["row"], every["row"]]).unique()
    is_told = pl.col("row").is_in(told.implode())
    return rows.filter(is_told).drop("row"), rows.filter(~is_told).drop("row")


def _untrue(final: pl.DataFrame, truth: pl.DataFrame, slack: timedelta) -> pl.DataFrame:
    """Rows of books that never stood so when they say."""
    states = truth.with_columns(
        until=pl.col("event_time").shift(-1).over("market_key").fill_null(pl.datetime(9999, 1, 1, time_zone="UTC"))
    )
    keys = ["market_key", *_TOPS]
    rows = final.with_row_index("row")
    late = pl.when("is_snapshot").then(slack).otherwise(timedelta(0))
    met = rows.join(states.select(*keys, since="event_time", until="until"), on=keys, how="inner", nulls_equal=True)
    true = met.filter((pl.col("since") <= pl.col("event_time")) & (pl.col("until") > pl.col("event_time") - late))
    return rows.join(true, on="row", how="anti").drop("row", "is_snapshot")
