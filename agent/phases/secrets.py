"""Phase secrets: one set of passwords and keys for all nodes, born on the leader.

The leader's secret has all of them; followers get a part without what only the leader needs. The cluster's data are
encrypted with them, and the database keeps its password: a secret with other values than those that the cluster began
with is refused, by what the leader has left of it in the shared folder.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import uuid
from typing import Callable, Sequence

from agent import limits
from agent.failures import Failure
from agent.folders import shared_files
from agent.graphistry import secret_variables
from agent.machine.files import write_private
from agent.node import HOME, Node

FOLLOWERS_KEYS = (
    "postgresPassword",
    "redisPassword",
    "djangoSecretKey",
    "nexusEncryptionKey",
    "nexusSigningKey",
    "nexusSigningSalt",
    "streamglSecretKey",
    "servicePassword",
)
"""What every node's services need, and the user of the proofs."""
LEADERS_KEYS = ("adminPassword",)
KEYS = (*FOLLOWERS_KEYS, *LEADERS_KEYS)
FINGERPRINT = ".graphistry-cluster-followers-secret.sha256"
"""In the shared folder: by which every node knows the values that the cluster began with."""
FINGERPRINT_OF_ALL = ".graphistry-cluster-secret.sha256"
"""The same of all keys, of a cluster from before the secret was split."""


def cluster_secret(node: Node) -> None:
    """Read the secret; the leader fills an empty one, once and for all, and gives followers their part of it. Read what
    the stack file adds."""
    keys = KEYS if node.specification.is_leader else FOLLOWERS_KEYS
    values = read(_wait(lambda: _read_or_fill(node)), keys)
    _require_first(node, values)
    if node.specification.is_leader:
        _share(node, values)
    node.secret = values
    node.secret_env = secret_variables.read(node)
    write_private(HOME / "secrets.json", json.dumps(node.secret, sort_keys=True))


def generate() -> dict[str, object]:
    """New values; letters and digits only, so that no URL, env file or shell reads them differently."""
    return {
        "schemaVersion": 1,
        "postgresPassword": secrets.token_hex(24),
        "redisPassword": secrets.token_hex(24),
        "djangoSecretKey": secrets.token_hex(24),
        "nexusEncryptionKey": _encryption_key(),
        "nexusSigningKey": str(uuid.uuid4()),
        "nexusSigningSalt": uuid.uuid4().hex[:8],
        "streamglSecretKey": secrets.token_hex(24),
        "adminPassword": secrets.token_hex(12),
        "servicePassword": secrets.token_hex(24),
    }


def read(text: str, keys: Sequence[str] = KEYS) -> dict[str, str]:
    """The values of *keys* in the secret's text; raises Failure that names keys and never values."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Failure("SecretInvalid", "the secret is not a JSON object")
    wrong: list[str] = [
        key for key in keys if not isinstance(document.get(key), str) or not document[key]
    ]
    if wrong:
        raise Failure("SecretInvalid", f"the secret lacks {', '.join(wrong)}")
    if document.get("schemaVersion") != 1:
        raise Failure("SecretInvalid", "the secret's schemaVersion is not 1")
    return {key: document[key] for key in keys}


def followers_part(values: dict[str, str]) -> str:
    """The text of what followers get, always the same for the same values."""
    part = {key: values[key] for key in FOLLOWERS_KEYS}
    return json.dumps({"schemaVersion": 1, **part}, sort_keys=True)


def _share(node: Node, values: dict[str, str]) -> None:
    """Give followers their part, once and for all; raises Failure where they have another one."""
    wanted = followers_part(values)
    shared = _wait(lambda: node.site.share_secret(node.specification, wanted))
    if read(shared, FOLLOWERS_KEYS) != read(wanted, FOLLOWERS_KEYS):
        raise Failure("SecretInvalid", "the followers' secret has other values than the leader's")


def _require_first(node: Node, values: dict[str, str]) -> None:
    """Raises Failure where the secret once had other values, before any of these is used or kept."""
    fingerprint = _fingerprint({key: values[key] for key in FOLLOWERS_KEYS})
    known = shared_files.read_file(node, FINGERPRINT)
    if known is None and node.specification.is_leader:
        before = shared_files.read_file(node, FINGERPRINT_OF_ALL)
        if before is not None and before.strip() != _fingerprint(values):
            raise _other_values()
        shared_files.create_file(node, FINGERPRINT, fingerprint)
        known = shared_files.read_file(node, FINGERPRINT)
    if known is not None and known.strip() != fingerprint:
        raise _other_values()


def _fingerprint(values: dict[str, str]) -> str:
    # What it is made of is random and long: nobody finds it by trying.
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _other_values() -> Failure:
    return Failure(
        "SecretInvalid",
        "the secret has other values than those that this cluster's data were made with;"
        " none of them was used, the services go on with the first ones",
    )


def user_password(secret: dict[str, str], user: str) -> str:
    """The password of a user whom the agent makes, which every node derives and none has to be told."""
    key = secret["servicePassword"].encode()
    return hmac.new(key, user.encode(), hashlib.sha256).hexdigest()[:32]


def _wait(ask: Callable[[], str | None]) -> str:
    """What *ask* finds, asked until there is something."""
    end = time.monotonic() + limits.PATIENCE
    pause = 1.0
    while True:
        failure = Failure(
            "SecretNotFilled", f"the secret is still empty after {limits.PATIENCE:g} s"
        )
        try:
            text = ask()
            if text is not None:
                return text
        except OSError as error:
            failure = Failure("SecretUnavailable", f"the secret cannot be read or filled: {error}")
        if time.monotonic() + pause > end:
            raise failure
        print(f"waiting: {failure.message}", flush=True)
        time.sleep(pause)
        pause = min(pause * 2, 5.0)


def _read_or_fill(node: Node) -> str | None:
    """The secret's text. The leader fills an empty one, and takes what is in it then: another boot may be faster."""
    text = node.site.read_secret(node.specification)
    if text is None and node.specification.is_leader:
        node.site.fill_secret(node.specification, json.dumps(generate(), sort_keys=True))
        text = node.site.read_secret(node.specification)
    return text


def _encryption_key() -> str:
    """32 random bytes in base64, of those that its two alphabets write alike."""
    while True:
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        if "+" not in key and "/" not in key:
            return key
