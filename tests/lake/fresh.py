"""A lake of a market that just moved, with rows up to now: what jobs and pages of a live system read."""

from datetime import UTC, datetime, timedelta

from lake.schema import MARKETS, QUOTES
from lake.store import Store
from lake.vocab import MarketId, market_key
from tests.builders import quote
from tests.lake.lakes import market, publish

MARKET = "kalshi:FRESH"


def fresh_lake(store: Store, title: str, minutes: int = 12) -> None:
    """One market, quoted every ten seconds, that rises by thirty points in its last minute."""
    end = datetime.now(UTC)
    rows = []
    for second in range(0, 60 * minutes, 10):
        bid = 0.7 if second < 60 else 0.4
        rows.append(quote(bid, bid + 0.02, end - timedelta(seconds=second), market_key(MarketId(MARKET))))
    listed = market(MARKET, end - timedelta(minutes=minutes), title=title)
    publish(store, {(QUOTES, "kalshi"): rows, (MARKETS, "kalshi"): [listed]}, end.date())
