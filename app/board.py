"""A board of movers: which rows a choice shows, which it hides and why, and the rows as a table."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import polars as pl

from app.components import (
    DASH,
    NOTHING,
    Html,
    age,
    cents,
    count,
    dollars,
    empty,
    fill,
    joined,
    market_link,
    move,
    percent,
    share,
    signed,
    venue,
)
from app.feed import Snapshot
from lake.derived.slices import WINDOWS
from lake.query import DIRECTIONS, SCORES
from lake.vocab import OVER, PriceRule, Venue

PAGE_ROWS: Final = 50

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "window": tuple(WINDOWS),
    "score": SCORES,
    "venue": ("", *(venue.value for venue in Venue)),
    "direction": ("", *DIRECTIONS),
}
_LARGEST: Final = {"min_move": 100.0, "min_volume": 1e12, "page": 10_000}


@dataclass(frozen=True, slots=True)
class Choice:
    """What a reader asks of the board; the address of the page spells what differs from this."""

    window: str = "15m"
    score: str = "biggest"
    venue: str = ""  # empty = all
    category: str = ""
    direction: str = ""
    min_move: float = 0.0  # pp
    min_volume: float = 0.0  # USD of 24 hours
    page: int = 1

    @property
    def query(self) -> str:
        """As it stands in an address, with its question mark; empty if nothing was chosen."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        said = {name: f"{value:g}" if isinstance(value, float) else value for name, value in given.items()}
        told = {name: said[name] for name, value in given.items() if value != getattr(Choice(), name)}
        return f"?{urlencode(told)}" if told else ""


def chosen(query: Mapping[str, str]) -> tuple[Choice, list[str]]:
    """What an address asks for, and a line for each part of it that cannot be used: its default holds."""
    choice, notes = Choice(), []
    for name, text in query.items():
        default = getattr(choice, name, None)
        if default is None:
            continue
        try:
            given: dict[str, Any] = {name: _value(name, text, default)}
            choice = replace(choice, **given)
        except ValueError as exc:
            notes.append(f"{name}={text[:40]}: {exc}; showing {name} {default or 'all'} instead.")
    return choice, notes


def _value(name: str, text: str, default: Any) -> Any:
    if name in _CHOICES:
        if text not in _CHOICES[name]:
            raise ValueError(f"use one of {', '.join(filter(None, _CHOICES[name]))}")
        return text
    if isinstance(default, str):
        return text[:200]
    low, high = 1 if name == "page" else 0, _LARGEST[name]
    try:
        number = type(default)(text)
    except ValueError:
        raise ValueError("is no number") from None
    if not low <= number <= high:
        raise ValueError(f"use a number from {low} to {high:g}")
    return number


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The rows that a choice shows, best first, and how many others there are, by the reason in words."""

    rows: pl.DataFrame
    hidden: Mapping[str, int]
    as_of: datetime | None
    markets: int  # on the whole board


VERDICTS: Final = {
    "insufficient_coverage": "not watched long enough",
    "gap_in_slice": "a gap where it matters",
    "rule_changed": "priced by another rule then",
}
"""Why a market has no move, in words."""


def select(board: pl.DataFrame | None, choice: Choice) -> Selection:
    """The choice's rows of a board as in `feed.Snapshot.boards`; None = it has none of that window."""
    if board is None or board.is_empty():
        return Selection(pl.DataFrame(), {}, None, 0)
    rank = f"{choice.score}_rank"
    reason = pl.lit(None, dtype=pl.String)
    for is_out, word in reversed(_reasons(choice, rank)):
        reason = pl.when(is_out.fill_null(True)).then(pl.lit(word)).otherwise(reason)
    told = board.with_columns(reason=reason)
    rows = told.filter(pl.col("reason").is_null()).sort(rank, "market_key").drop("reason")
    left = told.filter(pl.col("reason").is_not_null())["reason"].value_counts(sort=True)
    return Selection(rows, dict(left.iter_rows()), board["as_of"].item(0), board.height)


def _reasons(choice: Choice, rank: str) -> list[tuple[pl.Expr, str]]:
    """Conditions that hide a row, the first that holds names it."""
    found: list[tuple[pl.Expr, str]] = []
    if choice.venue:
        found.append((pl.col("venue") != choice.venue, "of another venue"))
    if choice.category:
        found.append((pl.col("category").fill_null("") != choice.category, "of another category"))
    found.append((pl.col("status").is_in(OVER).fill_null(False), "settling or closed"))
    found += [(pl.col("verdict") == verdict, words) for verdict, words in VERDICTS.items()]
    if choice.score == "classic":
        found.append((pl.col("classic").is_null(), "with an unknown volume"))
    found.append((pl.col(rank).is_null(), "moved too little"))
    if choice.direction:
        is_other = pl.col("move_pp") <= 0 if choice.direction == "up" else pl.col("move_pp") >= 0
        found.append((is_other, "in the other direction"))
    if choice.min_move:
        found.append((pl.col("move_pp").abs() < choice.min_move, f"under {choice.min_move:g} pp"))
    if choice.min_volume:
        is_unknown = pl.col("volume_24h_usd").is_null()
        found.append((is_unknown, "with an unknown volume"))
        found.append((pl.col("volume_24h_usd") < choice.min_volume, f"under {dollars(choice.min_volume)} a day"))
    return found


def nothing_html(selection: Selection, headline: str, advice: str) -> Html:
    """What stands in place of the rows where there are none: that most were not watched, if that is why."""
    unwatched = sum(selection.hidden.get(VERDICTS[verdict], 0) for verdict in ("insufficient_coverage", "gap_in_slice"))
    if 2 * unwatched > selection.markets:
        return empty("Not watched long enough", UNWATCHED)
    return empty(headline, advice)


UNWATCHED: Final = (
    "A move needs a short stretch without a gap at both ends of the window, and the newest one is not there yet: "
    "15 seconds of it for 5m, a minute for 1h, five minutes for 24h. It fills by itself while the feeds are live."
)


def hidden_html(selection: Selection) -> Html:
    """How many rows are not shown, and why."""
    if not selection.hidden:
        return NOTHING
    words = "; ".join(f"{count(number)} {reason}" for reason, number in selection.hidden.items())
    total = sum(selection.hidden.values())
    return fill('<p class="notes">{} of {} markets hidden: {}.</p>', count(total), count(selection.markets), words)


_HEAD: Final = fill(
    '<tr><th></th><th>Market</th><th class="r">Then → now</th><th class="r">Move</th><th class="r wide">Beyond spread'
    '</th><th class="r wide">Spread</th><th class="r wide">24 h volume</th><th class="r wide">Trades</th>'
    '<th class="r wide">Watched</th></tr>'
)


def table_html(rows: pl.DataFrame, score: str = "biggest") -> Html:
    """The rows as a table; each is a link to its market."""
    body = joined(_row_html(row, score) for row in rows.iter_rows(named=True))
    return fill('<div class="card"><table class="movers"><thead>{}</thead><tbody>{}</tbody></table></div>', _HEAD, body)


def _row_html(row: dict[str, Any], score: str) -> Html:
    value = row.get
    return fill(
        '<tr class="link"><td class="r rank">{}</td><td class="what">{}<span class="sub">{}{}</span></td>'
        '<td class="r">{} → <b>{}</b>{}</td><td class="r"><b>{}</b></td><td class="r wide">{}</td>'
        '<td class="r wide">{}</td><td class="r wide">{}</td><td class="r wide">{}</td><td class="r wide">{}</td></tr>',
        value(f"{score}_rank"),
        market_link(row["market_id"], row["title"]),
        venue(row["venue"]),
        _tags(row),
        percent(row["price_then"]),
        percent(row["price_now"]),
        _rule(row),
        move(row["move_pp"]),
        DASH if value("effective_move_pp") is None else f"{signed(row['effective_move_pp'])} pp",
        cents(row["spread_now"]),
        _volume(row),
        count(row["trades"]),
        share(row["coverage_window"]),
    )


BASES: Final = {"observed": "seen", "venue_reported": "venue's figure", "venue_contracts": "venue's contracts × price"}


def _volume(row: Mapping[str, Any]) -> Html:
    """The day's dollars, with whose figure it is."""
    basis = BASES.get(str(row["volume_basis"]), "not known")
    return fill("{}<small>{}</small>", dollars(row["volume_24h_usd"]), basis)


_RULES: Final = {
    PriceRule.VENUE_HISTORY.value: "then: back-filled",
    PriceRule.LAST_TRADE.value: "last trade",
    PriceRule.MID.value: "",
}


def _rule(row: Mapping[str, Any]) -> Html:
    """Which rule the prices follow, where it is not the middle of a live quote."""
    rule = _RULES.get(str(row["rule_then"]), "")
    return fill("<small>{}</small>", rule) if rule else NOTHING


def _tags(row: Mapping[str, Any]) -> Html:
    words = [str(row["category"])] if row.get("category") else []
    tags = joined(fill(' · <span class="venue">{}</span>', word) for word in words)
    return joined([tags, fill(' <span class="tag warn">across a gap</span>')]) if row["is_across_gap"] else tags


def as_of_html(snapshot: Snapshot, selection: Selection) -> Html:
    """Of when a board is, and how old that is."""
    if selection.as_of is None:
        return NOTHING
    if not snapshot.is_live:
        return fill("as of {}", f"{selection.as_of:%Y-%m-%d %H:%M:%S} UTC")
    return fill("as of {} · {}", f"{selection.as_of:%H:%M:%S} UTC", age(selection.as_of, snapshot.now))
