"""Commands of Kalshi's socket: what a client may say, and the faults that answer it."""

from typing import Any, Final

import msgspec

FAULTS: Final = {
    1: "Unable to process message",
    2: "Params required",
    3: "Channels required",
    4: "Subscription IDs required",
    5: "Unknown command",
    7: "Unknown subscription ID",
    8: "Unknown channel name",
    10: "Channel error",
    11: "Invalid parameter",
    12: "Exactly one subscription ID is required",
    13: "Unsupported action",
    14: "Market ticker required",
    15: "Action required",
    25: "Subscription buffer overflow",
}


class Fault(Exception):
    """A command that is answered with an error of this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Command(msgspec.Struct):
    """A command; 0 is no id."""

    id: int = 0
    cmd: str = ""
    params: dict[str, Any] | None = None


_COMMAND: Final = msgspec.json.Decoder(Command)


def read(text: str) -> Command:
    """The command; raises `Fault`."""
    try:
        return _COMMAND.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise Fault(1) from None


def fault_of(code: int) -> dict[str, Any]:
    """A fault's code and words."""
    return {"code": code, "msg": FAULTS[code]}


def sids_of(params: dict[str, Any]) -> list[int]:
    """The subscriptions that are meant; raises `Fault`."""
    sids = params.get("sids", [params["sid"]] if "sid" in params else None)
    if not isinstance(sids, list) or not sids:
        raise Fault(4)
    if not all(isinstance(sid, int) for sid in sids):
        raise Fault(11)
    return sids


def markets_of(params: dict[str, Any]) -> list[str] | None:
    """The tickers that are meant, None if none is named; raises `Fault`."""
    one, many = params.get("market_ticker"), params.get("market_tickers")
    if one is not None and many is not None:
        raise Fault(11)
    found = [one] if one is not None else many
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise Fault(11)
    return found
