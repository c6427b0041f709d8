"""The live collector's pipeline, made alike wherever its items are told: live, after a crash, and of a recorded day."""

from collections.abc import Callable, Collection, Iterable
from typing import Final

from flows.collector.pipeline import Listener, Pipeline
from flows.collector.segments import Segment
from flows.venues.kalshi import Kalshi
from flows.venues.polymarket import Polymarket
from lake.clock import SECOND_US
from lake.vocab import Venue

AUDIT_US: Final = 60 * SECOND_US
"""A market that only the audit tells of is asked for at least so often."""

Make = Callable[[Callable[[Segment], None]], Pipeline]
"""A fresh pipeline that hands its closed segments to the argument."""

VENUES: Final = tuple(Venue)


def catalog_name(venue: Venue) -> str:
    """The connection that catalogue pages carry."""
    return f"{venue.value}-catalog"


def figures_name(venue: Venue) -> str:
    """The connection that a venue's figures carry, asked for while markets are followed."""
    return f"{venue.value}-figures"


def sweep_name(venue: Venue) -> str:
    """The connection that answers about markets carry which are asked for by name, or because they changed."""
    return f"{venue.value}-sweep"


def poll_name(venue: Venue) -> str:
    """The connection that polls carry."""
    return f"{venue.value}-poll"


def audit_name(venue: Venue) -> str:
    """The connection that carries what is held against the streams."""
    return f"{venue.value}-audit"


def describing(venues: Iterable[Venue]) -> list[str]:
    """The connections that tell what markets there are, and make no quotes."""
    return [name(venue) for venue in venues for name in (catalog_name, figures_name, sweep_name)]


def withholding(venues: Iterable[Venue]) -> list[str]:
    """The connections of which `raw` only has that something came: it is large, and is asked for again."""
    return [name(venue) for venue in venues for name in (catalog_name, figures_name)]


def live_pipeline(
    seal: Callable[[Segment], None],
    poll_every: float,
    *,
    venues: Collection[Venue] = VENUES,
    listener: Listener | None = None,
) -> Pipeline:
    """A pipeline whose segments end where it is told so; `poll_every` is the pause between polls, seconds."""
    return Pipeline(
        {Venue.POLYMARKET: Polymarket(), Venue.KALSHI: Kalshi(use_yes_price=True)},
        seal,
        {poll_name(venue): round(poll_every * SECOND_US) for venue in venues}
        | {audit_name(venue): AUDIT_US for venue in venues},
        describing=describing(venues),
        withholding=withholding(venues),
        auditing=[audit_name(venue) for venue in venues],
        rule=None,
        listener=listener,
    )
