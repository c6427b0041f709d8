"""Do what `lake.verify.plan` decided, and look again, until there is nothing left to do."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, datetime
from functools import partial
from itertools import chain, count
from pathlib import PurePosixPath
from typing import Final

from lake import layout
from lake.clock import day_of, to_us
from lake.layout import Part, SeqRange
from lake.lease import UPKEEP, sole
from lake.schema import GAPS, SEALED, SEGMENTS, SEQ_BITS
from lake.store import Store
from lake.verify import contents
from lake.verify.apart import Apart
from lake.verify.plan import Step, Verb, plan
from lake.verify.survey import Survey
from lake.vocab import Gap

COLLECTOR: Final = "repair"
"""Under this name a repair seals what it writes."""

_ROUNDS: Final = 5
"""What comes back in one round may show what is missing in the next."""


def repair(
    store: Store, look: Callable[[], Survey], now: datetime, processes: Apart, say: Callable[[Step], None]
) -> Survey:
    """Do what can be done, and return how the lake is then; nobody else mends or merges meanwhile.

    Raises `LakeError`, `OSError`. `look` surveys the lake, `say` is told each step that was done.
    """
    with sole(store, UPKEEP) as store:
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
        store.require_owner()
        match step.verb:
            case Verb.QUARANTINE | Verb.RESTORE | Verb.TRASH:
                _move(store, step.path, step.to)
            case Verb.NOTE:
                _write(store, step.to, f"{now.isoformat()} {step.why}\n")
            case Verb.REMOVE:
                store.files.remove(step.path)
            case Verb.LIST:
                gaps += _list(store, step, processes)
            case Verb.RECORD:
                gaps.append(step)
        say(step)
    _record(store, gaps, to_us(now))


def _move(store: Store, path: str, to: str) -> None:
    """Give a file another path; one that is there already is not overwritten but gets company."""
    places = chain([to], (f"{to}.{number}" for number in count(1)))
    store.files.move(path, next(place for place in places if store.files.stat(place) is None))


def _write(store: Store, path: str, text: str) -> None:
    store.files.replace(path, lambda place: place.write_text(text))


def _list(store: Store, step: Step, processes: Apart) -> list[Step]:
    """Write the line of a segment from its files, and return the gaps of its time if it may have had more of them.

    How many frames it had is taken from its range; when it was opened and closed, from its rows.
    """
    span, ledger = step.span, layout.parse(PurePosixPath(step.path))
    assert span is not None
    day = ledger.day
    found = [(part, told) for part in _parts(store, span, day) for told in _told(store, part, processes)]
    ends = [end for _, told in found for end in (*told.received, *told.times) if end is not None]
    head = (span.collector, span.epoch, span.first, span.last, span.last - span.first + 1)
    tail = (None, min(ends, default=None), max(ends, default=None))
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


def _parts(store: Store, span: SeqRange, day: date) -> list[Part]:
    """The files of a segment of that day."""
    tables = (table for table in SEALED if table is not SEGMENTS)
    return [part for table in tables for part in store.parts(table, dates=[day]) if part.name == span.name]


def _told(store: Store, part: Part, processes: Apart) -> list[contents.Told]:
    """What a line says of a file; nothing if it cannot be read."""
    answers = processes.run(store.root, partial(contents.told, table=part.table.name), [[str(part.path)]])
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
    """What earlier repairs sealed, merged since or not, with or without its line."""
    spans = (span for table in (GAPS, SEGMENTS) for part in store.parts(table) for span in store.spans(part))
    return [span for span in spans if span.collector == COLLECTOR]
