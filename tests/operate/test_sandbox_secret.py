"""What the sandbox encrypts, Pulumi can read: its own test of a passphrase is read here the same way."""

import base64
import hashlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from operate.stack.deployment import SANDBOX_SALT
from operate.stack.rehearsed_secret import REHEARSED, encrypted, rehearsed_env


def decrypted(secure: str) -> str:
    """As Pulumi does it: PBKDF2 of the empty passphrase, then AES-256-GCM."""
    salt = base64.b64decode(SANDBOX_SALT.split(":")[1])
    key = hashlib.pbkdf2_hmac("sha256", b"", salt, 1_000_000, 32)
    _, nonce, sealed = secure.split(":")
    return AESGCM(key).decrypt(base64.b64decode(nonce), base64.b64decode(sealed), None).decode()


def test_the_sandboxs_salt_is_that_of_an_empty_passphrase() -> None:
    assert decrypted(SANDBOX_SALT.split(":", 2)[2]) == "pulumi"


def test_a_value_is_hidden_and_comes_back() -> None:
    hidden = encrypted("canary", SANDBOX_SALT)
    assert "canary" not in hidden["secure"]
    assert decrypted(hidden["secure"]) == "canary"
    assert hidden != encrypted("canary", SANDBOX_SALT)


def test_an_accounts_secret_variables_do_not_come_to_a_sandbox() -> None:
    key = "graphistry-cluster:secretEnv"
    config = {"aws:region": "us-east-1", key: {"A": {"secure": "v1:canary"}, "B": {"secure": "x"}}}
    for salt in ("v1:another", None):
        found = rehearsed_env(config, salt, SANDBOX_SALT)
        assert {decrypted(each["secure"]) for each in found[key].values()} == {REHEARSED}
        assert list(found[key]) == ["A", "B"]
        assert "canary" not in str(found)
    assert rehearsed_env(config, SANDBOX_SALT, SANDBOX_SALT) == config
    assert rehearsed_env({}, None, SANDBOX_SALT) == {}
