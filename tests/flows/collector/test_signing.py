"""Keys of either kind, as text or file, sign as the venue checks; no error shows a secret."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from flows.collector.signing import key_of, private_key
from flows.simulator import keys
from lake.errors import SettingError
from lake.settings import load
from lake.vocab import Mode

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED25519 = Ed25519PrivateKey.generate()
NOW = 1_790_000_000_123_456


def pem(key, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


@pytest.mark.parametrize("text", [pem(RSA), pem(RSA, PrivateFormat.TraditionalOpenSSL), pem(ED25519)])
def test_signature_holds(text):
    """What is signed for the handshake is what the venue verifies, for RSA in both forms and Ed25519."""
    settings = load(collector_mode=Mode.LIVE, kalshi_api_key="id-1", kalshi_api_secret=text)
    key = key_of(settings)
    verifier = keys.Verifier(keys.Key("id-1", text), wall=lambda: NOW / 1e6)
    headers = key.headers("GET", "/trade-api/ws/v2", NOW)
    assert headers["KALSHI-ACCESS-TIMESTAMP"] == "1790000000123"
    assert verifier.fault(headers, "GET", "/trade-api/ws/v2") is None
    assert verifier.fault(headers, "GET", "/trade-api/v2/markets") == "signature does not match"


def test_forms_of_the_secret(tmp_path: Path):
    """PEM with literal \\n and quotes, a file's path, base64 of PEM or DER: the same key."""
    text = pem(ED25519)
    (tmp_path / "key.txt").write_text(text)
    der = ED25519.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    forms = [
        text, text.replace("\n", "\\n"), f'"{text}"', str(tmp_path / "key.txt"),
        base64.b64encode(text.encode()).decode(), base64.b64encode(der).decode(),
    ]  # fmt: skip
    assert {private_key(form).sign(b"x") for form in forms} == {ED25519.sign(b"x")}


LOCKED = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")).decode()
OTHER = pem(ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.parametrize("secret", ["/no/such/file", "hello world", "aGVsbG8=", LOCKED, OTHER, "x" * 5000, "\x00"])
def test_secret_that_is_no_key(secret):
    """One line that names the setting and the next step, and holds nothing of the secret."""
    with pytest.raises(SettingError) as caught:
        private_key(secret)
    text = str(caught.value)
    assert text.startswith("KALSHI_API_SECRET: ") and "\n" not in text and secret[:8] not in text


@pytest.mark.parametrize(("given", "missing"), [("key", "SECRET"), ("secret", "KEY")])
def test_half_a_key(given, missing):
    """An id without a key, or the other way round, is named."""
    settings = load(collector_mode=Mode.LIVE, **{f"kalshi_api_{given}": "abcdef"})
    with pytest.raises(SettingError, match=f"without KALSHI_API_{missing}") as caught:
        key_of(settings)
    assert "abcdef" not in str(caught.value)


def test_no_key(tmp_path: Path):
    """Live there is none without the settings; simulated it is the simulated venue's, once it is made."""
    assert key_of(load(collector_mode=Mode.LIVE, simulator_dir=tmp_path)) is None
    simulated = load(simulator_dir=tmp_path)
    assert key_of(simulated) is None
    made = keys.make(tmp_path)
    assert key_of(simulated).key_id == made.key_id


def test_key_shows_nothing(tmp_path: Path):
    """Neither the id nor the key is in a repr."""
    made = keys.make(tmp_path)
    shown = repr(key_of(load(simulator_dir=tmp_path)))
    assert made.key_id not in shown and "PRIVATE" not in shown
