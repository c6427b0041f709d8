"""What a venue may say at any time and the model never does by itself: pauses, new close dates, fees, tick sizes.

They are no faults, but are switched like them. What is said is true over REST as well, for as long as it lasts.
"""

from typing import ClassVar

from flows.simulator.faults import Fault
from lake.vocab import Venue


class News(Fault):
    """Said as it begins, and taken back when it is over."""

    needs_market: ClassVar[bool] = True
    venues = (Venue.KALSHI,)

    def begin(self) -> None:
        """Told to whom it concerns."""
        self.hit()
        self.desk.tell(self.spec.kind, self.spec.market, self.given, is_over=False)

    def finish(self) -> None:
        """As it was before."""
        self.desk.tell(self.spec.kind, self.spec.market, self.given, is_over=True)


class Pause(News):
    """Kalshi's market is `deactivated`, its status over REST `inactive`; `activated` again when it is over."""


class CloseDate(News):
    """Kalshi's market closes `value` seconds later (`close_date_updated`); back to its date when it is over."""

    value = 3_600.0


class FeeUpdate(News):
    """Kalshi's event of the market has a fee multiplier of `value` (`event_fee_update`); null when it is over."""

    value = 0.5


class Metadata(News):
    """Kalshi's market has another `yes_sub_title` (`metadata_updated`); its own again when it is over."""


class TickSize(News):
    """Polymarket's market has a tick size of `value` (`tick_size_change`), and new books; its own when it is over."""

    value = 0.001
    venues = (Venue.POLYMARKET,)
