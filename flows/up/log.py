"""How the project's processes log: time, level, message, a line each, and no secret in any of them.

Secrets are masked in the records themselves, so that a handler of someone else's, such as Prefect's, has none either.
"""

import logging
import os
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, TextIO
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from lake.settings import Settings
from lake.text import safe_text

NAME: Final = "movers"
MASK: Final = "********"
LONGEST: Final = 2_000  # characters of one message
PREFECT_PASSWORDS: Final = ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING")
_SHORTEST: Final = 6  # shorter pieces are no secret, and masking them would garble the rest


def set_up(settings: Settings, stream: TextIO | None = None) -> logging.Logger:
    """The logger `movers`, and the root for everyone else's, write to `stream` from `LOG_LEVEL` up."""
    hidden = secrets(settings)
    logging.setLogRecordFactory(partial(_Record, hidden))
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Lines(hidden))
    own, root = logging.getLogger(NAME), logging.getLogger()
    own.handlers, root.handlers = [handler], [handler]
    own.propagate = False  # others set the root up anew
    own.setLevel(settings.log_level)
    root.setLevel(max(logging.WARNING, own.level))
    return own


def secrets(settings: Settings) -> tuple[str, ...]:
    """Each secret that is set, the lines of those that have several, and passwords inside addresses; longest first."""
    texts = [value.get_secret_value() for value in dict(settings).values() if isinstance(value, SecretStr)]
    found = {part for name in PREFECT_PASSWORDS for part in os.environ.get(name, "").split(":", 1)[-1:]}
    for text in texts:
        found |= {text, *text.replace("\\n", "\n").splitlines(), *_passwords(text)}
    return tuple(sorted((text for text in found if _is_telling(text)), key=len, reverse=True))


def masked(text: str, hidden: Iterable[str]) -> str:
    """`text` without what is `hidden`."""
    for secret in hidden:
        text = text.replace(secret, MASK)
    return text


class _Record(logging.LogRecord):
    """Its message is masked, whoever asks for it."""

    def __init__(self, hidden: tuple[str, ...], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hidden = hidden

    def getMessage(self) -> str:
        return masked(super().getMessage(), self._hidden)


class _Lines(logging.Formatter):
    """One line a record; the traceback of a fault of ours follows it."""

    def __init__(self, hidden: tuple[str, ...]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
        self._hidden = hidden

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = safe_text(record.message, LONGEST)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record), self._hidden)


def _passwords(address: str) -> set[str]:
    try:
        password = urlsplit(address).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()


def _is_telling(text: str) -> bool:
    return len(text) >= _SHORTEST and not text.startswith("-----")
