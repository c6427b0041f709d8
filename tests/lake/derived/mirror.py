"""A session as the market's second outcome sees it."""

from tests.strategies import Session

_SIDES = {"buy": "sell", "sell": "buy", None: None}


def mirrored(session: Session) -> Session:
    """Every price p as 1 - p, bids as asks, buyers as sellers."""
    return Session(
        [row | {"bid": _other(row["ask"]), "ask": _other(row["bid"])} for row in session.quotes],
        [row | {"price": _other(row["price"]), "taker_side": _SIDES[row["taker_side"]]} for row in session.trades],
        session.gaps,
    )


def _other(price: float | None) -> float | None:
    return None if price is None else round(1 - price, 6)
