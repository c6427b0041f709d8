"""Every kind of fault by its name."""

from typing import Final

from flows.simulator import fault_messages as messages
from flows.simulator import fault_news as news
from flows.simulator import fault_rest as rest
from flows.simulator import fault_sockets as sockets
from flows.simulator.faults import Fault

KINDS: Final[dict[str, type[Fault]]] = {
    "silence": sockets.Silence,
    "freeze": sockets.Freeze,
    "close": sockets.Close,
    "abort": sockets.Abort,
    "accept-then-close": sockets.AcceptThenClose,
    "refuse": sockets.Refuse,
    "lost-subscribe": sockets.LostSubscribe,
    "no-result": sockets.NoResult,
    "terminate": sockets.Terminate,
    "huge": sockets.Huge,
    "malformed": messages.Malformed,
    "bad-utf8": messages.BadUtf8,
    "unknown-kind": messages.UnknownKind,
    "unknown-field": messages.UnknownField,
    "missing-field": messages.MissingField,
    "wrong-type": messages.WrongType,
    "duplicate": messages.Duplicate,
    "reorder": messages.Reorder,
    "hole": messages.Hole,
    "clock": messages.Clock,
    "status": rest.Status,
    "html": rest.Html,
    "empty": rest.Empty,
    "truncated": rest.Truncated,
    "bomb": rest.Bomb,
    "cut-json": rest.CutJson,
    "slow": rest.Slow,
    "redirect": rest.Redirect,
    "pause": news.Pause,
    "close-date": news.CloseDate,
    "fee-update": news.FeeUpdate,
    "metadata": news.Metadata,
    "tick-size": news.TickSize,
}


def about(name: str) -> str:
    """What a kind does, in one line."""
    return (KINDS[name].__doc__ or "").splitlines()[0]


def table() -> str:
    """Every kind and what it does, a line each."""
    return "\n".join(f"{name:18} {about(name)}" for name in KINDS)
