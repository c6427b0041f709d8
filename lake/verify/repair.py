"""Do what `lake.verify.plan` decided, and look again, until there is nothing left to do."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import date, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Final

from lake import layout
from lake.clock import day_of, to_us
from lake.layout import Part, SeqRange
from lake.lock import only_one
from lake.schema import GAPS, SEGMENTS, SEQ_BITS
from lake.store import Store
from lake.verify import contents
from lake.verify.apart import Apart
from lake.verify.inventory import SEALED, address, move, remove, write_note
from lake.verify.plan import Step, Verb, plan
from lake.verify.survey import Survey
from lake.vocab import Gap

COLLECTOR: Final = "repair"
"""Under this name a repair seals what it writes."""

_ROLES: Final = ("repair", "maintenance")
"""One repair at a time, and nobody merges files meanwhile."""

_ROUNDS: Final = 5
"""What comes back in one round may show what is missing in the next."""


def repair(
    store: Store, look: Callable[[], Survey], now: datetime, processes: Apart, say: Callable[[Step], None]
) -> Survey:
    """Do what can be done, and return how the lake is then. Raises `LakeError`, `OSError`.

    `look` surveys the lake, `say` is told each step that was done.
    """
    with ExitStack() as locks:
        for role in _ROLES:
            locks.enter_context(only_one(store.local, role))
        found = look()
        for _ in range(_ROUNDS):
            steps = plan(store, found, now, processes)
            if not steps:
                break
            carry_out(store, steps, now, processes, say)
            found = look()
        return found


def carry_out(
    store: Store, steps: Iterable[Step], now: datetime, processes: Apart, say: Callable[[Step], None]
) -> None:
    """The steps of `plan`, in the order of their verbs. Raises `LakeError`, `OSError`."""
    order = {verb: place for place, verb in enumerate(Verb)}
    gaps = list[Step]()
    for step in sorted(steps, key=lambda step: order[step.verb]):
        match step.verb:
            case Verb.QUARANTINE | Verb.RESTORE | Verb.TRASH:
                move(store, step.path, step.to)
            case Verb.NOTE:
                write_note(store, step.to, f"{now.isoformat()} {step.why}")
            case Verb.REMOVE:
                remove(store, step.path)
            case Verb.LIST:
                gaps += _list(store, step, processes)
            case Verb.RECORD:
                gaps.append(step)
        say(step)
    _record(store, gaps, to_us(now))


def _list(store: Store, step: Step, processes: Apart) -> list[Step]:
    """Write the line of a segment from its files, and return the gaps of its time if it may have had more of them.

    How many frames it had is taken from its range; when it was opened and closed, from its rows.
    """
    span, ledger = step.span, layout.parse(PurePosixPath(step.path))
    assert span is not None
    found = [(part, told) for part in _parts(store, span) for told in _told(store, part, processes)]
    ends = [end for _, told in found for end in (*told.received, *told.times) if end is not None]
    head = (span.collector, span.epoch, span.first, span.last, span.last - span.first + 1)
    tail = (None, min(ends, default=None), max(ends, default=None))
    day = date.fromisoformat(ledger.partition["date"])
    lines: list[tuple[object, ...]] = [
        (
            *head,
            part.table.name,
            part.values[0],
            day,
            told.rows,
            told.size,
            *told.times,
            *told.received,
            *tail,
            told.rows_hash,
        )
        for part, told in found
    ]
    store.publish(ledger, SEGMENTS.frame(lines))
    venues = {part.values[0] for part, _ in found} if ends and not step.is_whole else ()
    return [Step(Verb.RECORD, venue, start_us=min(ends), end_us=max(ends)) for venue in sorted(venues)]


def _parts(store: Store, span: SeqRange) -> list[Part]:
    """The files of a segment."""
    tables = (table for table in SEALED if table is not SEGMENTS)
    return [part for table in tables for part in store.parts(table) if part.name == span.name]


def _told(store: Store, part: Part, processes: Apart) -> list[contents.Told]:
    """What a line says of a file; nothing if it cannot be read."""
    path = address(store, part.path.as_posix())
    answers = processes.run(partial(contents.told, table=part.table.name), [[path]])
    return [each for given in answers.given for each in given]


def _record(store: Store, gaps: Iterable[Step], now_us: int) -> None:
    """Seal the gaps, a segment for each day that they begin on."""
    by_day: dict[date, dict[str, list[Step]]] = defaultdict(lambda: defaultdict(list))
    for gap in gaps:
        by_day[day_of(gap.start_us)][gap.path].append(gap)
    for day, venues in sorted(by_day.items()):
        number = max((span.last for span in _sealed(store)), default=-1) + 1
        span = SeqRange(COLLECTOR, number >> SEQ_BITS, number, number)
        rows = {
            (GAPS, venue): GAPS.frame([
                (COLLECTOR, None, gap.start_us, gap.end_us, now_us, Gap.SEGMENT_DAMAGED.value, False, number)
                for gap in steps
            ])
            for venue, steps in venues.items()
        }  # fmt: skip
        ends = [(gap.start_us, gap.end_us) for steps in venues.values() for gap in steps]
        span_ends = min(first for first, _ in ends), max(last for _, last in ends)
        store.publish_segment(span, day, 1, rows, None, ends=span_ends)


def _sealed(store: Store) -> list[SeqRange]:
    """What earlier repairs sealed."""
    prefix = f"{COLLECTOR}-"
    return [SeqRange.parse(part.name) for part in store.parts(SEGMENTS) if part.name.startswith(prefix)]
