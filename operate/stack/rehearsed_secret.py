"""A value of a stack file for the sandbox, encrypted as Pulumi's passphrase provider does with an empty passphrase.

It guards nothing; but Pulumi writes a value that is not encrypted into its history, and what is proven of a rehearsal
is that no key is to be found there.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from model.settings.configuration import SECRET_ENV
from model.settings.stack_keys import PROJECT

REHEARSED = "rehearsed"
"""The value of every secret variable of an account's stack in a rehearsal."""
ITERATIONS = 1_000_000
"""Of PBKDF2 with SHA-256 (pulumi/sdk, config/crypt.go)."""


def encrypted(value: str, encryption_salt: str) -> dict[str, str]:
    """*value* as it stands in a stack file with this ``encryptionsalt`` and an empty passphrase."""
    salt = base64.b64decode(encryption_salt.split(":")[1])
    key = hashlib.pbkdf2_hmac("sha256", b"", salt, ITERATIONS, 32)
    nonce = os.urandom(12)
    sealed = AESGCM(key).encrypt(nonce, value.encode(), None)
    return {"secure": f"v1:{_text(nonce)}:{_text(sealed)}"}


def rehearsed_env(
    config: dict[str, Any], encryption_salt: object, sandbox_salt: str
) -> dict[str, Any]:
    """The keys of a stack file with this ``encryptionsalt``, with secret variables that the sandbox can decrypt.

    Those of any other file are an account's, which no sandbox gets: a stand-in takes the place of each value.
    """
    key = f"{PROJECT}:{SECRET_ENV}"
    variables = config.get(key)
    if not variables or encryption_salt == sandbox_salt:
        return config
    stand_in = encrypted(REHEARSED, sandbox_salt)
    return {**config, key: dict.fromkeys(variables, stand_in)}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
