"""Tells a running simulated venue to misbehave, by its control route."""

from typing import Any, Final

import httpx

from flows.simulator.fault_routes import PATH
from flows.simulator.wire import encode
from lake.errors import SettingError
from lake.settings import Settings
from lake.vocab import Venue

WITHIN: Final = 10.0  # seconds


def begin(settings: Settings, venue: Venue, said: dict[str, Any]) -> dict[str, Any]:
    """Begin a fault: fields of `faults.FaultSpec`; what the venue says of it. Raises `SettingError`."""
    return _asked(settings, venue, "POST", PATH, said)


def lasting(settings: Settings, venue: Venue) -> dict[str, Any]:
    """The faults that last, and what each kind does. Raises `SettingError`."""
    return _asked(settings, venue, "GET", PATH)


def end(settings: Settings, venue: Venue, number: int | None = None) -> dict[str, Any]:
    """End that one, or all. Raises `SettingError`."""
    return _asked(settings, venue, "DELETE", PATH if number is None else f"{PATH}/{number}")


def _asked(settings: Settings, venue: Venue, method: str, path: str, said: Any = None) -> dict[str, Any]:
    ports = {
        Venue.POLYMARKET: settings.simulator_polymarket_port,
        Venue.KALSHI: settings.simulator_kalshi_port,
    }
    address = f"http://127.0.0.1:{ports[venue]}{path}"
    try:
        with httpx.Client(trust_env=False, timeout=WITHIN) as client:
            answer = client.request(method, address, content=None if said is None else encode(said))
            found = answer.json()
    except httpx.HTTPError as exc:
        raise SettingError(
            f"simulated {venue.value} at {address}: does not answer ({type(exc).__name__}); start `movers simulate` or "
            f"`movers up`, or set SIMULATOR_{venue.value.upper()}_PORT"
        ) from None
    except ValueError:
        raise SettingError(f"{address}: is no simulated venue; set SIMULATOR_{venue.value.upper()}_PORT") from None
    if answer.status_code >= 400:
        raise SettingError(f"simulated {venue.value}: {found.get('error', 'refused')}")
    return dict(found)
