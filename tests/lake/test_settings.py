"""`lake.settings`: read once, named when wrong, silent about secrets."""

import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from lake.errors import SettingError
from lake.settings import Settings, load
from lake.vocab import Mode

SECRETS = sorted(name for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation))


def test_without_settings_everything_has_a_default():
    """No key, no server and no network are needed to begin."""
    found = load()
    assert found.collector_mode is Mode.SIMULATED
    assert found.lake_root == Path("data/simulated")
    assert all(getattr(found, name) is None for name in SECRETS)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_blank_means_the_default(name, monkeypatch):
    """A line such as `KALSHI_API_KEY=` in .env, as in .env.example, changes nothing."""
    monkeypatch.setenv(name.upper(), "")
    assert getattr(load(), name) == Settings.model_fields[name].default


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is(name):
    """Each has a meaning to print."""
    assert Settings.model_fields[name].description


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COLLECTOR_MODE", "fake"),
        ("LOG_LEVEL", "LOUD"),
        ("COLLECTOR_INTERVAL_SECONDS", "0"),
        ("COLLECTOR_INTERVAL_SECONDS", "soon"),
        ("POLYMARKET_USE_WSS", "perhaps"),
        ("WSS_WATCHDOG_TIMEOUT", "-1"),
        ("WSS_MAX_RECONNECT_ATTEMPTS", "1.5"),
        ("COLLECTOR_UNIVERSE", "top:0"),
        ("COLLECTOR_UNIVERSE", "top"),
        ("LAKE_URI", "gs://bucket/lake"),
        ("RAW_RETENTION_HOURS", "0"),
    ],
)
def test_a_bad_value_is_named(name, value, monkeypatch):
    """The message has the setting's name and what was found, in one line, and no traceback of the library."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=name) as caught:
        load()
    assert value in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_every_bad_value_is_named_at_once(monkeypatch):
    """Two mistakes take one attempt to see."""
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    monkeypatch.setenv("COLLECTOR_MODE", "fake")
    with pytest.raises(SettingError, match=r"(?s)COLLECTOR_MODE.*LOG_LEVEL"):
        load()


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_masked(name, monkeypatch, caplog):
    """Neither str, repr, a dump nor a log line shows a secret."""
    monkeypatch.setenv(name.upper(), "hush-hush")
    found = load()
    logging.getLogger("x").warning("settings: %s %r", found, found)
    shown = f"{found} {found!r} {found.model_dump()} {found.model_dump_json()} {caplog.text}"
    assert "hush" not in shown
    secret = getattr(found, name)
    assert isinstance(secret, SecretStr)
    assert secret.get_secret_value() == "hush-hush"


def test_there_are_secrets_to_mask():
    """Keys and the database's address, which holds a password, are secrets."""
    assert SECRETS == ["database_url", "kalshi_api_key", "kalshi_api_secret", "polymarket_api_key"]


def test_a_bad_secret_is_named_and_not_shown():
    """A message about a secret does not repeat it."""
    with pytest.raises(SettingError, match="KALSHI_API_KEY") as caught:
        load(kalshi_api_key=["hush-hush"])
    assert "hush" not in str(caught.value)


def test_an_argument_wins_over_the_environment(monkeypatch):
    """What the command line says is said last."""
    monkeypatch.setenv("LAKE_URI", "/from/environment")
    assert load().lake_root == Path("/from/environment")
    assert load(lake_uri="/from/argument").lake_root == Path("/from/argument")


@pytest.mark.parametrize("mode", Mode)
def test_every_mode_has_its_own_lake(mode):
    """The default folder is that of the mode's lake."""
    assert load(collector_mode=mode).lake_root == Path("data") / mode.lake


def test_lists_are_separated_by_commas(monkeypatch):
    """Blanks around and between do not matter."""
    monkeypatch.setenv("COLLECTOR_WATCH", " kalshi:A , polymarket:0x1,, ")
    assert load().collector_watch == ("kalshi:A", "polymarket:0x1")


def test_settings_do_not_change():
    """They are read once and passed down."""
    with pytest.raises(ValueError, match="frozen"):
        load().log_level = "DEBUG"


def test_an_env_file_is_read(tmp_path, monkeypatch):
    """`.env` in the current folder counts, the environment counts more, and what is unknown is left alone."""
    (tmp_path / ".env").write_text("LOG_LEVEL=DEBUG\nCOLLECTOR_MODE=replay\nSOMETHING_ELSE=1\n")
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    monkeypatch.setenv("COLLECTOR_MODE", "live")
    assert (load().log_level, load().collector_mode) == ("DEBUG", Mode.LIVE)


def test_addresses_of_simulated_venues():
    """In mode simulated the venues are on this machine, whether an address is blank, the usual one or not given."""
    usual = load(collector_mode=Mode.LIVE).addresses
    for given in ({}, {"kalshi_api_url": ""}, {"kalshi_api_url": usual.kalshi_api_url}):
        found = load(simulator_kalshi_port=9123, **given).addresses
        assert found.kalshi_api_url == "http://127.0.0.1:9123/trade-api/v2"
        assert found.polymarket_wss_url == "ws://127.0.0.1:8710/ws/market"
    assert load(kalshi_wss_url="ws://localhost:9/x").addresses.kalshi_wss_url == "ws://localhost:9/x"
    assert load(collector_mode=Mode.LIVE, kalshi_api_url="").addresses == usual


def test_simulated_venues_are_on_this_machine():
    """An address elsewhere is refused in mode simulated, so that real rows never meet invented ones."""
    for address in ("https://api.elections.kalshi.com/trade-api/v2", "nonsense", "http://127.0.0.1.evil.example/"):
        with pytest.raises(SettingError, match=r"KALSHI_API_URL=.*: is not on this machine"):
            load(kalshi_api_url=address)
        assert load(collector_mode=Mode.LIVE, kalshi_api_url=address).addresses.kalshi_api_url == address
