"""What `verify` may find, and what a report of it says."""

from dataclasses import dataclass, field
from enum import StrEnum

from lake.layout import Part, SeqRange
from lake.schema import Table


class Severity(StrEnum):
    """How bad it is, the worst first."""

    ERROR = "error"  # data is lost, doubled or wrong, or may be
    WARNING = "warning"  # answers are right, but something is not as it should be
    INFORMATION = "information"  # nothing is wrong: on record, or of use to know


class What(StrEnum):
    """The kinds of findings."""

    DAMAGED = "damaged file"
    MISSING = "missing file"
    UNLISTED = "unlisted file"
    WRONG_ROWS = "file and ledger differ"
    WRONG_HASH = "changed rows"
    WRONG_RANGE = "name and rows differ"
    WRONG_COVERS = "wrong list of what is merged"
    HOLE = "hole in the sequence"
    OVERLAP = "overlapping files"
    MESSAGES = "messages do not add up"
    REPEATED = "repeated key"
    STRANGER = "foreign file"
    LEFTOVER = "leftover"
    AHEAD = "derived ahead of the ledger"
    LOST = "lost, on record"
    WAITING = "waiting to be sealed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    severity: Severity
    what: What
    where: str  # a path below the lake's root, or a sequence range
    found: str
    step: str  # what to do next
    part: Part | None = None  # of a file of a table
    span: SeqRange | None = None  # of a hole, or of a line of the ledger


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the ledger: a segment's rows in one table and venue."""

    span: SeqRange
    table: Table
    part: Part  # the file that it names
    path: str  # below the root
    rows: int
    size: int | None  # bytes
    rows_hash: int | None
    first_us: int | None  # when the segment's first frame came, else its rows; None = unknown
    last_us: int | None


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    lines: int = 0  # of the ledger
    hashed: int = 0  # files whose rows were hashed again
    unhashed: int = 0  # of the files looked at for that, those without a hash to compare with
    keyed: int = 0  # partitions in which every key was looked at
    is_full: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)

    def add(self, findings: list[Finding]) -> None:
        """More findings, each once."""
        self.findings += [finding for finding in findings if finding not in self.findings]
