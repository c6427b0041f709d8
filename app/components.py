"""The few pieces that pages share: escaping, numbers as a person reads them, ages, badges, panes of HTML.

Everything that becomes HTML is an `Html`, and there are two ways to make one: `fill`, whose template is a constant of
this program and whose values are escaped, and `Html.join`. So a venue's text reaches a page as text and nothing else.
"""

# mypy: allow-untyped-calls

from collections.abc import Iterable
from datetime import datetime, timedelta
from html import escape
from typing import Final, LiteralString

import panel as pn

from app.look import CSS
from lake.text import safe_text

DASH: Final = "–"  # unknown
MINUS: Final = "−"


class Html(str):
    """Text that may stand in a page as it is; made by `fill` and `joined` alone."""

    __slots__ = ()


def shown(value: object) -> Html:
    """The one way of a text into a page: what acts on a screen is dropped, what HTML would obey is escaped."""
    return value if isinstance(value, Html) else Html(escape(safe_text(str(value))))


def fill(template: LiteralString, *parts: object, **named: object) -> Html:
    """`template` with every {} replaced by its value, as `shown` shows it."""
    values = (shown(part) for part in parts)
    return Html(template.format(*values, **{name: shown(part) for name, part in named.items()}))


def joined(parts: Iterable[Html]) -> Html:
    """The parts, one after the other."""
    return Html("".join(shown(part) for part in parts))


NOTHING: Final = fill("")


def pane(content: Html = NOTHING, **params: object) -> pn.pane.HTML:
    """A pane that shows `content`: the only one through which HTML comes to a page."""
    if not isinstance(content, Html):
        raise TypeError(f"{type(content).__name__} is no Html; make it with components.fill")
    return pn.pane.HTML(content, stylesheets=[CSS], margin=0, sizing_mode="stretch_width", **params)


def show(target: pn.pane.HTML, content: Html) -> None:
    """Replace what a pane shows, if it is something else."""
    if not isinstance(content, Html):
        raise TypeError(f"{type(content).__name__} is no Html; make it with components.fill")
    if target.object != content:
        target.object = content


# Numbers


def percent(price: float | None) -> str:
    """A probability: 62.4%."""
    return DASH if price is None else f"{price * 100:.1f}%"


def signed(value: float, digits: int = 1) -> str:
    """With its sign, so that colour is not needed to read it: +7.0, −2.5, 0.0."""
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else MINUS}{text}"


def points(move: float | None) -> str:
    """A move in percentage points: +7.0 pp."""
    return DASH if move is None else f"{signed(move)} pp"


def move(value: float | None) -> Html:
    """A move with arrow, sign and colour."""
    if value is None:
        return fill('<span class="dim">{}</span>', DASH)
    if signed(value) == "0.0":
        return fill('<span class="num">0.0 pp</span>')
    if value > 0:
        return fill('<span class="num up"><i aria-hidden="true">▲</i>{}</span>', points(value))
    return fill('<span class="num down"><i aria-hidden="true">▼</i>{}</span>', points(value))


def cents(spread: float | None) -> str:
    """A spread: 2.0¢."""
    return DASH if spread is None else f"{spread * 100:.1f}¢"


def count(value: float | None) -> str:
    """A whole number with thousands apart: 12,345."""
    return DASH if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """A number in a few characters: 950, 12.3k, 4.6M."""
    if value is None:
        return DASH
    for scale, unit in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= scale:
            return f"{value / (1e3 if unit == 'k' else scale):,.1f}{unit}"
    return f"{value:,.0f}"


def dollars(value: float | None) -> str:
    """An amount: $0.08, $950, $12.3k, $4.6M."""
    if value is None:
        return DASH
    return f"${value:.2f}" if 0 < value < 10 else f"${short(value)}"


def share(value: float | None) -> str:
    """A part of the whole, never rounded up to all of it: 100%, 99.9%."""
    return DASH if value is None else "100%" if value == 1 else f"{min(value, 0.999) * 100:.1f}%"


def milliseconds(value: float | None) -> str:
    """A lag: 12 ms, 3.4 s."""
    if value is None:
        return DASH
    return f"{value:.0f} ms" if abs(value) < 1000 else f"{value / 1000:.1f} s"


# Time


def clock(moment: datetime | None) -> str:
    """A time of day: 14:05:09 UTC."""
    return DASH if moment is None else f"{moment:%H:%M:%S} UTC"


def day(moment: datetime | None) -> str:
    """A day and time: 2026-05-15 14:05 UTC."""
    return DASH if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def span(width: timedelta) -> str:
    """A stretch of time in its largest unit: 8 s, 3 min, 5 h, 2 d."""
    seconds = max(0, int(width.total_seconds()))
    for scale, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * scale or (scale == 60 and seconds >= 60):
            return f"{seconds // scale} {unit}"
    return f"{seconds} s"


def age(moment: datetime | None, now: datetime, *, is_live: bool = True) -> Html:
    """How long ago; in a live lake it goes on by itself in the browser (`app.browser`)."""
    if moment is None:
        return fill('<span class="dim">{}</span>', DASH)
    title, text = day(moment), f"{span(now - moment)} ago"
    if not is_live:
        return fill('<time title="{}">{}</time>', title, clock(moment))
    return fill('<m-age at="{}" title="{}">{}</m-age>', int(moment.timestamp() * 1000), title, text)


# Pieces


def empty(headline: str, advice: str) -> Html:
    """A readable state where there is nothing to show yet, and what to do about it."""
    return fill('<div class="empty"><p>{}</p><p class="dim">{}</p></div>', headline, advice)


def loading(lines: int = 6) -> Html:
    """Where something will stand in a moment, in its size."""
    return fill('<div class="bones" aria-label="loading">{}</div>', joined([fill("<i></i>")] * lines))


def heading(title: str, aside: Html = NOTHING) -> Html:
    """A section's title and what is said beside it."""
    return fill('<div class="heading"><h2>{}</h2><span class="aside">{}</span></div>', title, aside)


def venue(name: str | None) -> Html:
    """A venue as a small mark."""
    names = {"polymarket": "Polymarket", "kalshi": "Kalshi"}
    return fill('<span class="venue">{}</span>', names.get(name or "", name or DASH))


def market_link(market_id: str | None, title: str | None) -> Html:
    """A market's title as a link to its page, for every id that this lake may hold."""
    if market_id is None:
        return fill('<span class="title">{}</span>', title or DASH)
    return fill('<a class="title" href="market?id={}">{}</a>', quoted(market_id), title or market_id)


def quoted(text: str) -> str:
    """`text` as a value in an address."""
    from urllib.parse import quote

    return quote(text, safe=":-._~")
