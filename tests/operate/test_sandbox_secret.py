"""What the sandbox encrypts, Pulumi can read: its own test of a passphrase is read here the same way."""

from operate.deployment import SANDBOX_SALT
from operate.sandbox_secret import decrypted, encrypted


def test_the_sandboxs_salt_is_that_of_an_empty_passphrase() -> None:
    assert decrypted(SANDBOX_SALT.split(":", 2)[2], SANDBOX_SALT) == "pulumi"


def test_a_value_is_hidden_and_comes_back() -> None:
    hidden = encrypted("canary", SANDBOX_SALT)
    assert "canary" not in hidden["secure"]
    assert decrypted(hidden["secure"], SANDBOX_SALT) == "canary"
    assert hidden != encrypted("canary", SANDBOX_SALT)
