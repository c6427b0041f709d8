"""A process that dies at any operation on files: the one before it is done, and nothing after it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

OPERATIONS = ("replace", "rename", "unlink", "rmdir", "mkdir", "fsync", "open")


class Killed(BaseException):
    """The process is no more."""


@contextmanager
def killed_at(place: int, *, is_done: bool) -> Iterator[list[str]]:
    """Dies before or after the `place`-th operation on files; a dead process does nothing more. Yields those done."""
    done: list[str] = []
    real = {name: getattr(os, name) for name in OPERATIONS}
    dead = False

    def hooked(name: str) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            nonlocal dead
            if dead:
                raise Killed
            if len(done) == place and not is_done:
                dead = True
                raise Killed
            found = real[name](*args, **kwargs)
            done.append(name)
            if len(done) == place + 1 and is_done:
                dead = True
                raise Killed
            return found

        return operation

    with pytest.MonkeyPatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, hooked(name))
        yield done
