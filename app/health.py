"""How each connection does, as a table."""

from datetime import datetime, timedelta
from typing import Any, Final

from app.components import (
    Html,
    age,
    count,
    empty,
    fill,
    heading,
    joined,
    milliseconds,
    venue,
)
from app.feed import Snapshot, once

LIVE: Final = timedelta(seconds=150)
"""A connection tells of itself once a minute, and a segment takes up to one to be published."""

OFFLINE: Final = timedelta(minutes=6)

LOOKED_UP: Final = ("-catalog", "-figures", "-history", "-audit")
"""How connections are called that ask for what is listed and what was, and follow nothing."""


def state(told: datetime, now: datetime, open_gaps: int, subscribed: int = 0, *, is_live: bool = True) -> str:
    """LIVE, QUIET or OFFLINE by the age of what a connection told; GAP if a tenth of its markets is not seen.

    RECORDED where time stands still.
    """
    if not is_live:
        return "RECORDED"
    if now - told > OFFLINE:
        return "OFFLINE"
    if 10 * open_gaps > subscribed:
        return "GAP"
    return "LIVE" if now - told <= LIVE else "QUIET"


_HEAD: Final = fill(
    '<tr><th>State</th><th>Feed</th><th class="r">Messages/min</th><th class="r wide">Lag p50 / p99</th>'
    '<th class="r wide">Reconnects 24 h</th><th class="r wide">Subscribed / seen</th><th class="r">Open gaps</th>'
    '<th class="r wide">Told</th></tr>'
)


@once
def table_html(snapshot: Snapshot) -> Html:
    """A row a connection: `Lake.status`."""
    title = heading("Feeds", fill("{}", "each connection tells of itself once a minute"))
    if snapshot.status.is_empty():
        return joined(
            [title, empty("No feed has told of itself yet", "The first minute of the collector is on its way.")]
        )
    rows = joined(_row_html(row, snapshot) for row in snapshot.status.iter_rows(named=True))
    table = fill('<div class="card"><table class="feeds"><thead>{}</thead><tbody>{}</tbody></table></div>', _HEAD, rows)
    return joined([title, table])


def _word(row: dict[str, Any], snapshot: Snapshot) -> str:
    """The state of a connection; one that only looks things up now and then is neither live nor offline."""
    if row["connection"].endswith(LOOKED_UP):
        return "AT TIMES"
    return state(row["minute"], snapshot.now, row["open_gaps"], row["subscribed"] or 0, is_live=snapshot.is_live)


def _row_html(row: dict[str, Any], snapshot: Snapshot) -> Html:
    word = _word(row, snapshot)
    return fill(
        '<tr><td><span class="dot s-{}">{}</span></td><td>{}<small>{}</small></td><td class="r">{}{}</td>'
        '<td class="r wide">{} / {}</td><td class="r wide">{}</td><td class="r wide">{} / {}</td>'
        '<td class="r">{}</td><td class="r wide">{}</td></tr>',
        word.lower().replace(" ", "-"),
        word,
        venue(row["venue"]),
        row["connection"],
        count(row["messages"]),
        fill('<small class="warn">{} unreadable</small>', count(row["dead"])) if row["dead"] else "",
        milliseconds(row["lag_p50_ms"]),
        milliseconds(row["lag_p99_ms"]),
        count(row["reconnects"]),
        count(row["subscribed"]),
        count(row["seen"]),
        count(row["open_gaps"]),
        age(row["minute"], snapshot.now, is_live=snapshot.is_live),
    )
