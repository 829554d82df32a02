"""A value of a stack file for the sandbox, encrypted as Pulumi's passphrase provider does with an empty passphrase.

It guards nothing; but Pulumi takes no plain value for a key that is a secret, and writes such a one into its history.
"""

from __future__ import annotations

import base64
import hashlib
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ITERATIONS = 1_000_000
"""Of PBKDF2 with SHA-256 (pulumi/sdk, config/crypt.go)."""


def encrypted(value: str, encryption_salt: str) -> dict[str, str]:
    """*value* as it stands in a stack file with this ``encryptionsalt`` and an empty passphrase."""
    nonce = os.urandom(12)
    sealed = AESGCM(_key(encryption_salt)).encrypt(nonce, value.encode(), None)
    return {"secure": f"v1:{_text(nonce)}:{_text(sealed)}"}


def decrypted(secure: str, encryption_salt: str) -> str:
    """The value in *secure*, the text that Pulumi writes."""
    _, nonce, sealed = secure.split(":")
    opened = AESGCM(_key(encryption_salt)).decrypt(
        base64.b64decode(nonce), base64.b64decode(sealed), None
    )
    return opened.decode()


def _key(encryption_salt: str) -> bytes:
    salt = base64.b64decode(encryption_salt.split(":")[1])
    return hashlib.pbkdf2_hmac("sha256", b"", salt, ITERATIONS, 32)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
