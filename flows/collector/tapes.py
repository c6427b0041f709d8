"""The venues' tapes of past trades over REST: every page of a stretch of time, newest first.

Both venues page from the newest trade back. Kalshi goes on by a cursor. Polymarket lets one page over so many rows
only; from there the tape is asked for anew, up to the last second that was told. All pages have to join: each begins
with what was told last. So a venue that does not heed the times that it is asked for, or whose rows move while they are
paged over, is found out, and no trade is left out in silence.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from flows.collector.http import Http, Refused
from flows.venues.base import Wire
from flows.venues.fields import instant
from lake.clock import SECOND_US, to_us
from lake.errors import BadFrame
from lake.vocab import Venue

TOGETHER: Final = 20
"""Markets in one request for Polymarket's tape."""

PAGE: Final = 500
DEEPEST: Final = 1_000
"""Rows of Polymarket's tape in one answer, and how many may be paged over."""

KALSHI_PAGE: Final = 1_000

Page = tuple[Wire, bytes]
"""An answer and what it is."""


class _Row(msgspec.Struct, gc=False):
    timestamp: int


class _Trade(msgspec.Struct, gc=False):
    created_time: str


class _Cutoff(msgspec.Struct, gc=False):
    trades_created_ts: datetime


class _Answer(msgspec.Struct, gc=False):
    trades: list[_Trade]
    cursor: str | None = None


_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ROW: Final = msgspec.json.Decoder(_Row)
_ANSWER: Final = msgspec.json.Decoder(_Answer)


def trades(http: Http, venue: Venue, markets: Sequence[str], start: int, end: int) -> AsyncIterator[Page]:
    """Pages with all trades of [start, end), microseconds, of these native ids, some around it perhaps.

    `http` is at `polymarket_data_url`, for up to `TOGETHER` markets, or at `kalshi_api_url`, for one or, given none,
    for all. Raises `VenueError`, also where pages do not join: what was yielded stands, but is not whole.
    """
    if venue is Venue.POLYMARKET:
        return _polymarket(http, markets, start, end)
    if len(markets) > 1:
        raise ValueError("Kalshi's tape is of one market or of all")
    return _kalshi(http, markets[0] if markets else None, start, end)


async def _polymarket(http: Http, markets: Sequence[str], start: int, end: int) -> AsyncIterator[Page]:
    asked: dict[str, str | int] = {"market": ",".join(markets), "takerOnly": "true", "limit": PAGE}
    asked["start"] = _before(start)
    until = second = _after(end)
    recent, due, offset = list[msgspec.Raw](), list[msgspec.Raw](), 0  # told of this second and the next; to come again
    while True:
        page = _rows(await http.get("/trades", {**asked, "end": until, "offset": offset}))
        skipped, again = _joint(due, page, is_anywhere=offset == 0)
        rows = page[again:]
        for row in rows:
            time = _time(row)
            if time > second:
                raise Refused("/trades: tells trades of other times than those that were asked for, or in no order")
            if time < second:
                recent = [each for each in recent if _time(each) <= time + 1]
            second = time
            recent.append(row)
        if rows:
            yield Wire.POLYMARKET_TRADES, msgspec.json.encode(rows)
        if len(page) < PAGE:
            return
        due = page[-1:] if rows else due[skipped + again - 1 :]
        offset += len(page) - 1
        if offset > DEEPEST:
            if until == second + 1:
                raise Refused(f"/trades: more than {DEEPEST:,} trades of one second cannot be paged over")
            until, due, offset = second + 1, recent, 0


def _joint(due: list[msgspec.Raw], page: list[msgspec.Raw], *, is_anywhere: bool) -> tuple[int, int]:
    """Where in `due` the page begins, and how many of its rows are of it. Raises `Refused` if it does not join.

    It begins with the first of `due`, or anywhere in it, and goes on with what follows there.
    """
    for first in range(len(due) if is_anywhere else min(1, len(due))):
        count = min(len(due) - first, len(page))
        if count and page[:count] == due[first : first + count]:
            return first, count
    if due:
        raise Refused("/trades: its pages do not join; the trades of that time are not whole")
    return 0, 0


async def _kalshi(http: Http, ticker: str | None, start: int, end: int) -> AsyncIterator[Page]:
    asked: dict[str, str | int] = {"limit": KALSHI_PAGE, "min_ts": _before(start), "max_ts": _after(end)}
    if ticker is not None:
        asked["ticker"] = ticker
    cursors = {""}
    while True:
        page = await http.get("/markets/trades", asked)
        try:
            answer = _ANSWER.decode(page)
            oldest = None if not answer.trades else instant(answer.trades[-1].created_time)
        except (msgspec.DecodeError, BadFrame, UnicodeError, RecursionError):
            raise Refused("/markets/trades: an answer that is no page of trades") from None
        if answer.trades:
            yield Wire.KALSHI_REST, page
        cursor = answer.cursor or ""
        if not cursor or (oldest is not None and oldest < start - SECOND_US):
            return
        if cursor in cursors:
            raise Refused("/markets/trades: told the same cursor twice; its pages have no end")
        cursors.add(cursor)
        asked["cursor"] = cursor


async def kept_since(http: Http, venue: Venue) -> int:
    """From when on the venue serves trades where we ask for them, microseconds. Raises `VenueError`."""
    if venue is Venue.POLYMARKET:
        return 0
    answer = await http.get("/historical/cutoff")
    try:
        return to_us(msgspec.json.decode(answer, type=_Cutoff).trades_created_ts)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        raise Refused("/historical/cutoff: an answer without trades_created_ts") from None


def _rows(page: bytes) -> list[msgspec.Raw]:
    try:
        return _ROWS.decode(page)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Refused("/trades: an answer that is no list of trades") from None


def _time(row: msgspec.Raw) -> int:
    try:
        return _ROW.decode(row).timestamp
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Refused("/trades: a trade without a timestamp") from None


def _before(start: int) -> int:
    """A second before, for some count from the one that they are asked for, some from the next one."""
    return max(0, start // SECOND_US - 1)


def _after(end: int) -> int:
    return -(-end // SECOND_US)
