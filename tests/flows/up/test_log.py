"""Log lines: one each, and no secret in any of them."""

import io
import logging

import pytest

from flows.up import log
from lake.settings import Settings

PEM = "-----BEGIN PRIVATE KEY-----\nMIIBVQIBADANBgkqhkiG9w0\nBAQEFAASCAT8wggE7AgEAAk\n-----END PRIVATE KEY-----"


@pytest.fixture
def lines(monkeypatch):
    """What the logger `movers` writes, with every secret set."""
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "movers:canary-prefect")
    config = Settings(
        kalshi_api_key="canary-key-id",
        kalshi_api_secret=PEM,
        polymarket_api_key="canary-poly",
        database_url="postgresql://movers:canary%40word@db/movers",
    )
    own, root = logging.getLogger(log.NAME), logging.getLogger()
    before = (own.handlers, own.propagate, own.level, root.handlers, root.level)
    factory = logging.getLogRecordFactory()
    stream = io.StringIO()
    log.set_up(config, stream)
    yield lambda: stream.getvalue().splitlines()
    logging.setLogRecordFactory(factory)
    own.handlers, own.propagate, root.handlers = before[0], before[1], before[3]
    own.setLevel(before[2])
    root.setLevel(before[4])


def test_time_level_message(lines):
    """A line each, also where a venue's text has several or acts on the terminal."""
    logging.getLogger("movers.collector").info("market %s", "a\nb\x1b[2J")
    (line,) = lines()
    assert line[10] == " "
    assert line.endswith(" INFO market a b[2J")


@pytest.mark.parametrize(
    "secret",
    [
        "canary-key-id",
        "canary-poly",
        "canary%40word",
        "canary@word",
        PEM,
        PEM.replace("\n", "\\n"),
        PEM.splitlines()[2],
    ],
)
def test_secrets_are_masked(lines, secret):
    """In messages, in tracebacks, and in lines of other libraries: whole, by line, and percent-decoded."""
    logging.getLogger("movers").error("refused: %s", secret)
    logging.getLogger("aiohttp").error("refused: %s", secret)
    try:
        raise ValueError(f"bad {secret}")
    except ValueError:
        logging.getLogger("movers").exception("failed")
    text = "\n".join(lines())
    assert log.MASK in text
    assert secret not in text
    assert "MIIBVQIBADANBgkqhkiG9w0" not in text


def test_level_is_the_setting(lines):
    """INFO is told and DEBUG is not; others' libraries from WARNING up."""
    logging.getLogger("movers").debug("fine")
    logging.getLogger("aiohttp").info("chat")
    assert lines() == []


def test_handlers_of_others_see_no_secret(lines):
    """A handler that formats by itself, as Prefect's does, is given masked records."""
    seen: list[str] = []

    class Other(logging.Handler):
        def emit(self, record):
            seen.append(record.getMessage())

    other = Other()
    logging.getLogger("movers").addHandler(other)
    logging.getLogger("movers.collector").info("key %s", "canary-key-id")
    logging.getLogger("movers").removeHandler(other)
    assert seen == [f"key {log.MASK}"]
