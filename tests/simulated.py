"""Both simulated venues in this process, told of in real time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flows.collector.timing import Clock
from flows.simulator import keys
from flows.simulator.service import Simulation
from flows.simulator.world import SimulatedWorld

STEP = 0.02  # seconds between two looks at the world


@asynccontextmanager
async def simulated(folder: Path, markets: int, rate: float) -> AsyncIterator[tuple[Simulation, dict[str, Any]]]:
    """So many markets, and messages a second; with the settings by which a collector finds them."""
    wall, start = Clock().wall, Clock().wall()
    simulation = Simulation(SimulatedWorld(5, markets, rate), start, keys.make(folder / "simulator"))

    async def drive() -> None:
        while True:
            simulation.advance(wall())
            await asyncio.sleep(STEP)

    async with simulation.serving() as (polymarket, kalshi):
        driving = asyncio.create_task(drive())
        try:
            yield (
                simulation,
                {
                    "simulator_dir": folder / "simulator",
                    "simulator_polymarket_port": polymarket,
                    "simulator_kalshi_port": kalshi,
                },
            )
        finally:
            driving.cancel()
            await asyncio.gather(driving, return_exceptions=True)
