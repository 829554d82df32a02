"""What nexus signs and encrypts: with the same keys on every node, each understands the others'."""

import base64
import hashlib
import hmac
import json
import os
import time
from typing import Any


def token(username: str) -> str:
    """A JSON Web Token for a user."""
    seconds = int(os.environ.get("JWT_EXPIRATION_DELTA", "3600"))
    claims = {"username": username, "exp": int(time.time()) + seconds}
    head = _encoded(b'{"alg":"HS256","typ":"JWT"}')
    text = f"{head}.{_encoded(json.dumps(claims).encode())}"
    return f"{text}.{_encoded(_signature(text))}"


class ExpiredError(Exception):
    """A token that was good once."""


def username(signed: str) -> str | None:
    """Whose token this is; None where it is signed with other keys. Raises ExpiredError."""
    text, _, signature = signed.rpartition(".")
    if not hmac.compare_digest(signature, _encoded(_signature(text))):
        return None
    claims: dict[str, Any] = json.loads(_decoded(text.partition(".")[2]))
    if claims["exp"] <= time.time():
        raise ExpiredError(str(claims["username"]))
    return str(claims["username"])


def sealed(text: str) -> str:
    """Text that only a node with the same encryption key can read."""
    salt = os.urandom(16)
    secret = _mixed(text.encode(), salt)
    return _encoded(salt + _tag(salt + secret) + secret)


def opened(seal: str) -> str:
    """The text of a seal. Raises ValueError where another key sealed it."""
    content = _decoded(seal)
    salt, tag, secret = content[:16], content[16:48], content[48:]
    if not hmac.compare_digest(tag, _tag(salt + secret)):
        raise ValueError("sealed with another GRAPHISTRY_NEXUS_ENCRYPTION_KEYS than this node's")
    return _mixed(secret, salt).decode()


def _mixed(content: bytes, salt: bytes) -> bytes:
    stream = hashlib.shake_256(_key("ENCRYPTION_KEYS") + salt).digest(len(content))
    return bytes(left ^ right for left, right in zip(content, stream, strict=True))


def _tag(content: bytes) -> bytes:
    return hmac.new(_key("ENCRYPTION_KEYS"), content, hashlib.sha256).digest()


def _signature(text: str) -> bytes:
    key = _key("SIGNING_KEY") + _key("SIGNING_SALT")
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _key(name: str) -> bytes:
    return os.environ.get(f"GRAPHISTRY_NEXUS_{name}", "abc123xyz").encode()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
