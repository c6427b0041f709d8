"""Work on files in other processes: a damaged one may end the process that reads it, and this tells which did.

Engines abort on some damaged files, in ways that no `except` sees (pola-rs/polars#18085, #11036, #23666).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Generic, NamedTuple, Self, TypeVar

import polars as pl
import pyarrow as pa

from lake.parts import files_at
from lake.place import Place

_Answer = TypeVar("_Answer")

WORKERS: Final = 2
"""Processes that read at the same time: they wait for the disk more than they compute."""

ENDED: Final = "ends the process that reads it"

DOWNLOADS: Final = 8
"""Requests at the same time for files of a bucket."""

Work = Callable[[Path, list[str]], _Answer]
"""What is done with some files below a folder: a function of a module, as it runs in another process."""


class Fault(NamedTuple):
    """A file that cannot be worked on, and why."""

    file: str
    reason: str


class Answers(NamedTuple, Generic[_Answer]):
    """What the work gave for each job, or for parts of it where a file was at fault; and these files."""

    given: list[_Answer]
    faults: list[Fault]


class Apart:
    """Some processes that work on files; they end with this context."""

    def __init__(self, workers: int = WORKERS) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(
        self,
        root: Place,
        work: Work[_Answer],
        jobs: Sequence[Sequence[str]],
        done: Callable[[int], None] = lambda _: None,
    ) -> Answers[_Answer]:
        """Do `work` on each job, which is some files below `root`. `done` is told how many jobs are over.

        Raises `ConnectionError`, `PermissionError` where files cannot be had, which says nothing against them.
        """
        submit = partial(self._submit, root, work)
        given, left, faults = list[_Answer](), list[list[str]](), list[Fault]()
        futures = [(list(job), submit(job)) for job in jobs]
        for number, (job, future) in enumerate(futures, 1):
            answer = self._answer(future)
            if answer is None:  # ended by this job or by another one at work at the same time
                left.append(job)
            else:
                _sort(answer, job, given, left, faults)
            done(number)
        while left:
            job = left.pop()
            answer = self._answer(submit(job))
            _sort(Fault(job[0], ENDED) if answer is None else answer, job, given, left, faults)
        return Answers(given, faults)

    def _submit(self, root: Place, work: Work[_Answer], job: Sequence[str]) -> "Future[_Answer | Fault]":
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._workers, mp_context=get_context("spawn"), initializer=_hush)
        try:
            return self._pool.submit(_guarded, root, work, list(job))
        except BrokenProcessPool as exc:
            broken: Future[_Answer | Fault] = Future()
            broken.set_exception(exc)
            return broken

    def _answer(self, future: "Future[_Answer | Fault]") -> _Answer | Fault | None:
        """What came back; None if the processes ended meanwhile. There are others for the next job."""
        try:
            return future.result()
        except BrokenProcessPool:
            self._end()
            return None

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _sort(
    answer: _Answer | Fault, job: list[str], given: list[_Answer], left: list[list[str]], faults: list[Fault]
) -> None:
    """An answer is given; of a fault the job is split, until it is one file."""
    if not isinstance(answer, Fault):
        given.append(answer)
    elif len(job) == 1:
        faults.append(Fault(job[0], answer.reason))
    else:
        left += [job[: len(job) // 2], job[len(job) // 2 :]]


def _hush() -> None:
    """What an engine prints when it aborts is no news to anybody."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@contextmanager
def _here(root: Place, files: list[str]) -> Iterator[Path]:
    """A folder of this machine with these files: the lake's root, or one with copies of what lies in a bucket.

    So an engine's error is about the bytes of a file, and never about the way to the bucket.
    """
    if isinstance(root, Path):
        yield root
        return
    from lake.bucket import TEMP  # who has a folder does without it

    source = files_at(root)
    root.local.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=TEMP, dir=root.local) as folder, ThreadPoolExecutor(DOWNLOADS) as threads:

        def copy(path: str) -> None:
            place = Path(folder, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source.read(path))

        list(threads.map(copy, files))
        yield Path(folder)


def _guarded(root: Place, work: Work[_Answer], files: list[str]) -> _Answer | Fault:
    """The answer, or what an engine says against one of the files."""
    try:
        with _here(root, files) as folder:
            return work(folder, files)
    except (ConnectionError, PermissionError):
        raise
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError, ValueError) as exc:
        return Fault(files[0], " ".join(str(exc).split())[:200] or type(exc).__name__)
