"""Both venues' catalogues on one port of this machine, with their filters; faults are attributes to set."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from aiohttp import web

from flows.collector.http import Http
from flows.collector.timing import Timing

NOW = 1_790_000_000_000_000
SECOND = 1_000_000
PAGE = 3

QUICK = Timing(
    first_delay=0.005, longest_delay=0.02, refused_delay=0.1, catalog_every=0.02, sweep_every=0.05, choose_every=0.05,
    follow_after=0.1,
)  # fmt: skip


def iso(at: int) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat().replace("+00:00", "Z")


@dataclass
class One:
    """A market of either venue."""

    number: int
    volume: float = 0.0
    tags: tuple[str, ...] = ("Politics",)
    listed: int = NOW - 86_400 * SECOND
    close: int = NOW + 86_400 * SECOND
    updated: int = NOW - 86_400 * SECOND
    closed: int | None = None  # when
    uma: str | None = None
    prices: tuple[str, str] = ("0.5", "0.5")
    status: str = "active"  # on Kalshi
    result: str = ""
    is_known: bool = True  # to Polymarket's catalogue

    @property
    def condition(self) -> str:
        return f"0x{self.number:064x}"

    @property
    def ticker(self) -> str:
        return f"KXACME-{self.number}-T"

    def gamma(self) -> dict[str, Any]:
        found = {
            "id": str(self.number), "conditionId": self.condition, "question": f"Acme {self.number}?",
            "outcomes": '["Yes","No"]', "clobTokenIds": json.dumps([f"{self.number}1", f"{self.number}2"]),
            "active": True, "closed": self.closed is not None, "acceptingOrders": self.closed is None,
            "startDate": iso(self.listed), "endDate": iso(self.close), "volume24hr": self.volume,
            "outcomePrices": json.dumps(self.prices), "events": [{"id": f"9{self.number}", "title": "Acme"}],
        }  # fmt: skip
        if self.closed is not None:
            found["closedTime"] = iso(self.closed)[:19].replace("T", " ") + "+00"
        return found | ({} if self.uma is None else {"umaResolutionStatus": self.uma})

    def gamma_event(self) -> dict[str, Any]:
        market = {name: value for name, value in self.gamma().items() if name != "events"}
        tags = [{"label": tag} for tag in self.tags]
        return {"id": f"9{self.number}", "title": "Acme", "volume24hr": self.volume, "tags": tags, "markets": [market]}

    def kalshi(self) -> dict[str, Any]:
        return {
            "ticker": self.ticker, "event_ticker": f"KXACME-{self.number}", "title": f"Acme {self.number}?",
            "status": self.status, "result": self.result, "yes_bid_dollars": "0.4000", "yes_ask_dollars": "0.4200",
            "open_time": iso(self.listed), "close_time": iso(self.close), "updated_time": iso(self.updated),
            "volume_24h_fp": f"{self.volume:.2f}",
        }  # fmt: skip

    def kalshi_event(self) -> dict[str, Any]:
        series = f"KX{self.tags[0].upper()}"
        return {"event_ticker": f"KXACME-{self.number}", "series_ticker": series, "title": "Acme"}


@dataclass
class Catalogues:
    """The servers; every request is kept."""

    markets: dict[int, One] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, Callable[[web.Request], web.Response | None]] = field(default_factory=dict)
    ignores: set[str] = field(default_factory=set)  # parameters that have no effect
    port: int = 0
    https: list[Http] = field(default_factory=list)

    def add(self, *markets: One) -> None:
        self.markets |= {one.number: one for one in markets}

    @property
    def paths(self) -> Counter[str]:
        return Counter(path for path, _ in self.asked)

    def http(self, timing: Timing = QUICK) -> Http:
        """A client of both venues."""
        self.https.append(Http(f"http://127.0.0.1:{self.port}", rate=10_000, rng=Random(1), timing=timing))
        return self.https[-1]

    async def handle(self, request: web.Request) -> web.Response:
        query = {name: request.query.getall(name) for name in request.query}
        self.asked.append((request.path, {name: found[0] for name, found in query.items()}))
        override = self.answers.get(request.path)
        if override is not None and (answer := override(request)) is not None:
            return answer
        query = {name: found for name, found in query.items() if name not in self.ignores}
        answer = self._answer(request.path, query)
        return web.json_response({"error": "not found"}, status=404) if answer is None else web.json_response(answer)

    def _answer(self, path: str, query: dict[str, list[str]]) -> Any:
        match path.split("/")[1:]:
            case ["events", "keyset"]:
                wanted = [one for one in self._gamma(query) if f"9{one.number}" in query.get("id", [f"9{one.number}"])]
                return self._page(wanted, query, "events", One.gamma_event)
            case ["markets", "keyset"]:
                return self._page(self._gamma(query), query, "markets", One.gamma)
            case ["markets"] if "condition_ids" in query:
                return [one.gamma() for one in self._gamma(query) if one.condition in query["condition_ids"]]
            case ["markets", condition]:
                return next((self._clob(one) for one in self.markets.values() if one.condition == condition), None)
            case ["series"]:
                names = {one.tags[0] for one in self.markets.values()}
                return {"series": [{"ticker": f"KX{name.upper()}", "category": name} for name in sorted(names)]}
            case ["series", ticker]:
                return {"series": {"ticker": ticker, "category": ticker[2:].title()}}
            case ["events"]:
                return self._kalshi_events(query)
            case ["markets"]:
                return self._kalshi_markets(query)
        return None

    def _gamma(self, query: dict[str, list[str]]) -> list[One]:
        is_closed = query.get("closed", ["false"])[0] == "true"
        status = query.get("uma_resolution_status", [None])[0]
        found = [
            one
            for one in self.markets.values()
            if one.is_known and (one.closed is not None) is is_closed and (status is None or one.uma == status)
        ]
        keys: dict[str, Callable[[One], float]] = {
            "id": lambda one: one.number,
            "volume24hr": lambda one: one.volume,
            "closedTime": lambda one: one.closed or 0,
        }
        is_falling = query.get("ascending", ["true"])[0] == "false"
        return sorted(found, key=keys[query.get("order", ["id"])[0]], reverse=is_falling)

    @staticmethod
    def _page(found: list[One], query: dict[str, list[str]], name: str, form: Callable[[One], Any]) -> dict[str, Any]:
        at = int(query.get("after_cursor", ["0"])[0])
        shown = [form(one) for one in found[at : at + PAGE]]
        return {name: shown} | ({"next_cursor": str(at + PAGE)} if at + PAGE < len(found) else {})

    @staticmethod
    def _clob(one: One) -> dict[str, Any]:
        tokens = [
            {"outcome": name, "winner": price == "1"} for name, price in zip(("Yes", "No"), one.prices, strict=True)
        ]
        return {"condition_id": one.condition, "closed": one.closed is not None, "tokens": tokens}

    def _kalshi_events(self, query: dict[str, list[str]]) -> dict[str, Any]:
        if "tickers" in query:
            wanted = query["tickers"][0].split(",")
            return {"events": [o.kalshi_event() for o in self.markets.values() if f"KXACME-{o.number}" in wanted]}
        at, found = int(query.get("cursor", ["0"])[0]), [o for o in self.markets.values() if o.status == "active"]
        shown = [one.kalshi_event() | {"markets": [one.kalshi()]} for one in found[at : at + PAGE]]
        return {"events": shown, "cursor": str(at + PAGE) if at + PAGE < len(found) else ""}

    def _kalshi_markets(self, query: dict[str, list[str]]) -> dict[str, Any]:
        found = list(self.markets.values())
        if "tickers" in query:
            found = [one for one in found if one.ticker in query["tickers"][0].split(",")]
        if "min_updated_ts" in query:
            found = [one for one in found if one.updated >= int(query["min_updated_ts"][0]) * SECOND]
        return {"markets": [one.kalshi() for one in found], "cursor": ""}


@asynccontextmanager
async def serving(*markets: One) -> AsyncIterator[Catalogues]:
    """The servers on a free port, with these markets."""
    found = Catalogues()
    found.add(*markets)
    app = web.Application()
    app.router.add_get("/{path:.*}", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = site._server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        for http in found.https:
            await http.close()
        await runner.cleanup()
