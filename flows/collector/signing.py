"""Kalshi's signed handshake: a key from the settings, the headers that it signs. No message shows a secret."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from flows.simulator import keys
from lake.errors import SettingError
from lake.settings import Settings
from lake.vocab import Mode

_ADVICE: Final = "give the PEM text of an unencrypted RSA or Ed25519 key, or its path"


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A key and its id; it shows neither."""

    key_id: str
    private: RSAPrivateKey | Ed25519PrivateKey

    def headers(self, method: str, path: str, now_us: int) -> dict[str, str]:
        """The three headers of a request for `path`, without host and query, at that time."""
        stamp = str(now_us // 1000)
        return {
            "KALSHI-ACCESS-KEY": self.key_id,
            "KALSHI-ACCESS-TIMESTAMP": stamp,
            "KALSHI-ACCESS-SIGNATURE": base64.b64encode(self._sign(f"{stamp}{method}{path}".encode())).decode(),
        }

    def _sign(self, text: bytes) -> bytes:
        if isinstance(self.private, Ed25519PrivateKey):
            return self.private.sign(text)
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
        return self.private.sign(text, pss, hashes.SHA256())


def key_of(settings: Settings) -> Key | None:
    """The key to use: in mode simulated that of the simulated venue, never a real one; None if there is none.

    Raises `SettingError`.
    """
    if settings.collector_mode is Mode.SIMULATED:
        return _simulated(settings.simulator_dir)
    key_id, secret = settings.kalshi_api_key, settings.kalshi_api_secret
    if key_id is not None and secret is not None:
        return Key(key_id.get_secret_value().strip(), private_key(secret.get_secret_value()))
    if key_id is not None or secret is not None:
        there, missing = ("KEY", "SECRET") if secret is None else ("SECRET", "KEY")
        raise SettingError(f"KALSHI_API_{there} is set without KALSHI_API_{missing}; set both or neither")
    return None


def private_key(text: str) -> RSAPrivateKey | Ed25519PrivateKey:
    """The key that `text` holds as PEM, names as a file, or holds as base64. Raises `SettingError` without it."""
    pem = _pem(text.strip().strip("\"'"))
    try:
        key = load_pem_private_key(pem, None) if b"-----BEGIN" in pem else load_der_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingError(f"KALSHI_API_SECRET: holds no key that can be read; {_ADVICE}") from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise SettingError(f"KALSHI_API_SECRET: is a key of another kind; {_ADVICE}")
    return key


def _pem(text: str) -> bytes:
    if "-----BEGIN" in text:
        return text.replace("\\n", "\n").encode()
    try:
        path = Path(text).expanduser()
        if len(text) < 1024 and path.is_file():
            return path.read_bytes()
    except (OSError, ValueError, RuntimeError):
        raise SettingError(f"KALSHI_API_SECRET: names a file that cannot be read; {_ADVICE}") from None
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise SettingError(f"KALSHI_API_SECRET: is neither a key nor the path of a file; {_ADVICE}") from None


def _simulated(folder: Path) -> Key | None:
    """The key that the simulated venue made; None as long as it has not."""
    made = keys.load(folder)
    return None if made is None else Key(made.key_id, private_key(made.pem))
