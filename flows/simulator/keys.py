"""The simulated Kalshi's key: made once, read by the collector, and checked in signatures.

Signed are the time in milliseconds, the method and the path, one after the other; by RSA-PSS with SHA-256 and a salt
as long as the digest, or by Ed25519. The private key is of no worth outside this machine, and yet readable by its
owner alone.
"""

import os
import secrets
from base64 import b64decode
from binascii import Error as NoBase64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from lake.errors import SettingError

ID_FILE: Final = "kalshi-key-id"
PEM_FILE: Final = "kalshi-key.pem"
TOLERANCE_MS: Final = 60_000

_PSS: Final = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A key's id and its private key as PEM."""

    key_id: str
    pem: str


def load(folder: Path) -> Key | None:
    """The key that the simulated venue made there; None if it has made none yet."""
    try:
        return Key((folder / ID_FILE).read_text().strip(), (folder / PEM_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeError) as exc:
        raise SettingError(f"SIMULATOR_DIR={folder}: the key cannot be read ({exc}); delete {ID_FILE} there") from None


def make(folder: Path) -> Key:
    """The key of that folder, made if there is none: RSA of 2048 bits, PKCS#8, files of mode 0600."""
    found = load(folder)
    if found is not None:
        return found
    key = generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    made = Key(str(uuid4()), pem)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / PEM_FILE, made.pem)
        _write(folder / ID_FILE, made.key_id + "\n")  # last: with it the pair is whole
    except OSError as exc:
        raise SettingError(f"SIMULATOR_DIR={folder}: cannot be written ({exc.strerror}); give another folder") from None
    return made


class Verifier:
    """Says whether the headers of a request were signed by the key, a moment ago."""

    def __init__(self, key: Key, wall: Callable[[], float]) -> None:
        self._key_id = key.key_id
        private = load_pem_private_key(key.pem.encode(), password=None)
        if not isinstance(private, RSAPrivateKey | Ed25519PrivateKey):
            raise SettingError(f"{PEM_FILE}: is neither an RSA nor an Ed25519 key; delete it and a new one is made")
        self._public = private.public_key()
        self._wall = wall

    def fault(self, headers: Mapping[str, str], method: str, path: str) -> str | None:
        """What is wrong; None if the signature holds. Neither key nor signature is named."""
        key_id, sent = headers.get("KALSHI-ACCESS-KEY", ""), headers.get("KALSHI-ACCESS-TIMESTAMP", "")
        if not key_id or not sent or not headers.get("KALSHI-ACCESS-SIGNATURE"):
            return "missing authentication headers"
        if not secrets.compare_digest(key_id.encode(), self._key_id.encode()):
            return "unknown key id"
        if not sent.isdecimal() or abs(int(sent[:16]) - self._wall() * 1_000) > TOLERANCE_MS:
            return "timestamp is not within 60 seconds of ours, in milliseconds"
        try:
            signature = b64decode(headers["KALSHI-ACCESS-SIGNATURE"], validate=True)
            self._verify(signature, f"{sent}{method}{path}".encode())
        except (InvalidSignature, NoBase64, ValueError):
            return "signature does not match"
        return None

    def _verify(self, signature: bytes, signed: bytes) -> None:
        if isinstance(self._public, RSAPublicKey):
            self._public.verify(signature, signed, _PSS, hashes.SHA256())
        else:
            self._public.verify(signature, signed)


def _write(path: Path, text: str) -> None:
    """Put a file in place, whole or not at all, readable by its owner alone."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
