"""The pieces of a market's page as HTML: head, quote, tape, facts, hits of a search. All text of venues is escaped."""

import re
from typing import Any, Final

from app.components import (
    DASH,
    NOTHING,
    Html,
    age,
    cents,
    count,
    day,
    dollars,
    empty,
    fill,
    heading,
    joined,
    percent,
    quoted,
    venue,
)
from app.detail import Detail
from app.feed import Snapshot
from app.look import BAND, DOWN, HISTORY, UP
from lake.vocab import Venue

SLUG: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")

KEY: Final = joined(
    [
        fill("<h2>Price</h2>"),
        fill('<span class="key"><i style="background:{}"></i>up</span>', UP),
        fill('<span class="key"><i style="background:{}"></i>down</span>', DOWN),
        fill('<span class="key"><i style="background:{};opacity:.35"></i>bid to ask</span>', BAND),
        fill(
            '<span class="key"><i style="border:1px solid {}"></i>back-filled, the venue\'s own history</span>', HISTORY
        ),
        fill('<span class="key"><i style="background:{};opacity:.4"></i>not seen</span>', HISTORY),
    ]
)


def venue_address(market: dict[str, Any]) -> str | None:
    """The market's page at its venue, built of its checked slug or ids; None if they are not what a venue makes."""
    if market["venue"] == Venue.POLYMARKET:
        slug = market["slug"] or ""
        return f"https://polymarket.com/event/{slug}" if SLUG.fullmatch(slug) else None
    found = [str(market[name] or "").partition(":")[2].lower() for name in ("series_id", "event_id")]
    series = found[0] or found[1].partition("-")[0]
    if market["venue"] == Venue.KALSHI and SLUG.fullmatch(series):
        event = f"/{found[1]}" if SLUG.fullmatch(found[1]) else ""
        return f"https://kalshi.com/markets/{series}{event}"
    return None


def head(detail: Detail) -> Html:
    """Title, venue, status, and the way to the venue."""
    market = detail.market
    address = venue_address(market)
    link = NOTHING
    if address:
        link = fill('<a href="{}" target="_blank" rel="noopener noreferrer">Open at the venue ↗</a>', address)
    tags = joined(fill(' <span class="tag">{}</span>', word) for word in (market["category"], market["status"]) if word)
    return fill(
        '<div class="heading"><div><h1>{}</h1>{}{}</div><span class="aside">{}</span></div>',
        market["title"] or market["market_id"], venue(market["venue"]), tags, link,
    )  # fmt: skip


def quote(detail: Detail, snapshot: Snapshot) -> Html:
    """The reference price, its rule and age, and the quote behind it."""
    state = detail.state
    if state is None:
        return joined([heading("Now"), empty("No quote yet", "This market has had no quote in this lake so far.")])
    names = first_outcome(detail.market)
    rule = RULES.get(str(state["rule"]), "no price: the book is one-sided or too wide")
    live = "" if state["is_live"] is not False else "not live: a gap came after this quote"
    told = age(state["received_time"], snapshot.now, is_live=snapshot.is_live)
    price = state["price"]
    cells = joined(
        [
            _cell(names[0], percent(price), rule),
            _cell(names[1], percent(None if price is None else 1 - price), "the other side: 1 − p"),
            _cell("Bid", cents(state["bid"]), _size(state["bid_size"])),
            _cell("Ask", cents(state["ask"]), _size(state["ask_size"])),
            _cell("Spread", cents(state["spread"]), live or "ask − bid"),
            _cell("Last trade", cents(state["last_trade_price"]), "within 15 minutes"),
        ]
    )
    return joined([heading("Now", fill("quote of {}", told)), fill('<dl class="card figures">{}</dl>', cells)])


RULES: Final = {"mid": "middle of bid and ask", "last_trade": "last trade, as the spread is wide"}


def _cell(name: str, value: str, note: str) -> Html:
    return fill("<div><dt>{}</dt><dd>{}<small>{}</small></dd></div>", name, value, note)


def _size(value: float | None) -> str:
    return "size not known" if value is None else f"{count(value)} contracts"


def first_outcome(market: dict[str, Any]) -> tuple[str, str]:
    """The names of both outcomes; prices speak of the first."""
    names = [str(name) for name in market["outcomes"] or []]
    return (names[0], names[1]) if len(names) == 2 else ("Yes", "No")


def tape(detail: Detail, snapshot: Snapshot) -> Html:
    """The newest trades."""
    if detail.trades.is_empty():
        return joined([heading("Trades"), empty("No trades yet", "None was seen in this lake so far.")])
    rows = joined(_trade_html(row, snapshot) for row in detail.trades.iter_rows(named=True))
    names = fill(
        '<tr><th>Time</th><th>Side</th><th class="r">Price</th><th class="r">Contracts</th><th class="r">Paid</th></tr>'
    )
    table = fill('<div class="card tape"><table><thead>{}</thead><tbody>{}</tbody></table></div>', names, rows)
    return joined([heading("Trades", fill("the last {}", detail.trades.height)), table])


SIDES: Final = {"buy": fill('<span class="up">▲ buy</span>'), "sell": fill('<span class="down">▼ sell</span>')}


def _trade_html(row: dict[str, Any], snapshot: Snapshot) -> Html:
    time = age(row["event_time"], snapshot.now, is_live=snapshot.is_live)
    return fill(
        '<tr><td>{}</td><td>{}{}</td><td class="r">{}</td><td class="r">{}</td><td class="r">{}</td></tr>',
        time,
        SIDES.get(row["taker_side"], DASH),
        fill(' <span class="tag">block</span>') if row["is_block_trade"] else "",
        cents(row["price"]),
        count(row["size"]),
        dollars(row["price"] * row["size"]),
    )


def facts(detail: Detail) -> Html:
    """What the catalogue says of the market."""
    market = detail.market
    listed = (
        ("Venue", venue(str(market["venue"]))),
        ("Category", market["category"] or DASH),
        ("Status", market["status"] or DASH),
        ("Closes", day(market["close_time"])),
        ("Tick", cents(market["tick_size"])),
        ("Outcomes", ", ".join(str(name) for name in market["outcomes"] or []) or DASH),
        ("Result", market["result"] or DASH),
        ("Id", market["market_id"] or market["market_key"]),
    )
    rows = joined(fill("<dt>{}</dt><dd>{}</dd>", name, value) for name, value in listed)
    return joined([heading("About"), fill('<dl class="card facts">{}</dl>', rows)])


def hit(market: dict[str, Any]) -> Html:
    """A market that a search found, as a link."""
    words = " · ".join(str(word) for word in (market["category"], market["status"]) if word)
    return fill(
        '<a href="market?id={}">{} <span class="sub">{} · {}</span></a>',
        quoted(market["market_id"]), market["title"] or market["market_id"], venue(market["venue"]), words,
    )  # fmt: skip


def welcome(snapshot: Snapshot) -> Html:
    """What to do where no market was asked for."""
    number = f"{snapshot.catalogue.height:,} markets are known. "
    return empty("Search for a market", number + "Type a part of its title or id, or come from a row of Top movers.")
