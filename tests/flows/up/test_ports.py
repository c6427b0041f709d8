"""Busy ports are named before anything starts, with whose they are."""

import os
import socket

import pytest

from flows.up.ports import Port, answers, owner, require_free
from lake.errors import SettingError


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        yield server.getsockname()[1]


@pytest.fixture
def free() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def test_free_ports_pass(free):
    """Nothing is said, and nothing is kept."""
    require_free([Port(free, "APP_PORT")])
    require_free([Port(free, "APP_PORT")])
    assert not answers(free)


def test_busy_port_is_named(taken, free):
    """Port, setting, process and the next step, in one line."""
    with pytest.raises(SettingError) as caught:
        require_free([Port(free, "PREFECT_PORT"), Port(taken, "APP_PORT")])
    text = str(caught.value)
    assert f"port {taken} (APP_PORT) is in use by pid {os.getpid()} (" in text
    assert "another port" in text
    assert "PREFECT_PORT" not in text
    assert "\n" not in text


def test_all_busy_ports_in_one_line(taken):
    """Who starts everything a second time reads every port at once."""
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen(1)
        other = server.getsockname()[1]
        with pytest.raises(SettingError, match=rf"{taken} \(APP_PORT\).*{other} \(PREFECT_PORT\).*those settings"):
            require_free([Port(taken, "APP_PORT"), Port(other, "PREFECT_PORT")])


def test_two_settings_with_one_port(free):
    """Both are named; whether the port is free does not matter."""
    with pytest.raises(SettingError, match=rf"APP_PORT and PREFECT_PORT are both {free}"):
        require_free([Port(free, "APP_PORT"), Port(free, "PREFECT_PORT")])


def test_owner_of_a_free_port(free):
    """Nobody."""
    assert owner(free) is None
