"""What the model did on purpose, as labels of the markets that show it."""

from collections.abc import Callable, Iterator

import numpy as np

from flows.simulator.base import Label, LabelKind, Market
from flows.simulator.chance import Floats, Ints
from flows.simulator.shocks import NEVER, WINDOW
from flows.simulator.states import States


def labels(states: States, market: Callable[[int, int], Market], start: int, end: int) -> list[Label]:
    """Labels with start < their start <= end, in order of time; `market` gives that of a slot and turn."""
    found: list[Label] = []
    for window in range(start // WINDOW, end // WINDOW + 1):
        for kind, starts, ends, sizes in _happened(states, window):
            for slot in np.flatnonzero((starts > start) & (starts <= end)).tolist():
                begun = int(starts[slot])
                turn = int((begun - states.universe.phase[slot]) // states.universe.period[slot])
                one = market(slot, turn)
                found.append(Label(kind, one.venue, one.native_id, begun, int(ends[slot]), float(sizes[slot])))
    return sorted(found, key=lambda label: (label.start, label.venue, label.native_id, label.kind))


def _happened(states: States, window: int) -> Iterator[tuple[LabelKind, Ints, Ints, Floats]]:
    """Start, end and size by slot of each kind."""
    source, shocks = states.paths.source, states.paths.shocks
    for kind, steps in ((LabelKind.JUMP, shocks.jumps(window)), (LabelKind.DRIFT, shocks.drifts(window))):
        start = steps.start[source]
        yield kind, start, start + steps.length[source], steps.size[source]
    bursts = shocks.bursts(window)
    yield LabelKind.BURST, np.where(bursts.factor > 1.0, bursts.start, NEVER), bursts.end, bursts.factor
