"""The headers of a signed request, made by the public library and not by the project's own code."""

import time
from base64 import b64encode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from flows.simulator.keys import Key


def signed(key: Key, method: str, path: str, *, at: float | None = None, salt: int | None = None) -> dict[str, str]:
    """Headers signed at `at`, seconds; now by default."""
    sent = str(round((time.time() if at is None else at) * 1_000))
    private, body = load_pem_private_key(key.pem.encode(), None), f"{sent}{method}{path}".encode()
    if isinstance(private, RSAPrivateKey):
        length = padding.PSS.DIGEST_LENGTH if salt is None else salt
        signature = private.sign(body, padding.PSS(padding.MGF1(hashes.SHA256()), length), hashes.SHA256())
    else:
        signature = private.sign(body)
    return {
        "KALSHI-ACCESS-KEY": key.key_id,
        "KALSHI-ACCESS-TIMESTAMP": sent,
        "KALSHI-ACCESS-SIGNATURE": b64encode(signature).decode(),
    }
