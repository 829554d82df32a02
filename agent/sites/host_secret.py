"""The cluster's secret on a host's disk: made once on the leader, brought to followers by the operator's computer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from agent.data import redis_users
from agent.failures import Failure
from agent.machine.files import write_private
from agent.phases import secrets
from agent.phases.secrets import FOLLOWERS_KEYS, LEADERS_KEYS
from agent.sites import delivered, store
from agent.sites.store import STORE


def read() -> str | None:
    """The secret's text; None while it is not there."""
    try:
        return _file().read_text()
    except FileNotFoundError:
        return None


def create(text: str) -> None:
    """Keep a new secret, never over one that is there: whole, or not at all."""
    store.ensure()
    partial = STORE / f".secret.json.{os.getpid()}"
    write_private(partial, text)
    try:
        os.link(partial, _file())
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def accept(text: str) -> None:
    """Keep the followers' part of what the leader has; raises Failure for what is no secret, and on a leader with
    another one."""
    values = secrets.read(text, FOLLOWERS_KEYS)
    present = read()
    if present is not None and delivered.is_leader():
        if secrets.read(present, FOLLOWERS_KEYS) != values:
            raise Failure(
                "SecretInvalid",
                f"this host is the leader and its {_file()} has other values; it was not touched",
            )
        return
    store.ensure()
    part = secrets.followers_part(values)
    with contextlib.suppress(ValueError):
        if present is not None and digest(present) != digest(part):
            # A leader that was installed anew has another one, and this may be the last copy of the one its data need.
            write_private(_file().with_suffix(".json.before"), present)
    write_private(_file(), part)


def forget_leaders_part() -> None:
    """On a follower with a copy of everything, from before the secret was split: keep the followers' part."""
    present = read()
    if present is not None and any(key in json.loads(present) for key in LEADERS_KEYS):
        accept(present)


def complete() -> None:
    """On a leader whose secret was put back from a follower's copy: add what that has not.

    The administrator, who is there, keeps the password of before.
    """
    present = read()
    if present is None:
        return
    document = json.loads(present)
    made = secrets.generate()
    missing = {key: made[key] for key in LEADERS_KEYS if key not in document}
    if missing:
        write_private(_file(), json.dumps({**document, **missing}, sort_keys=True))


def share() -> str | None:
    """What followers get of the leader's secret; None while there is none."""
    present = read()
    if present is None:
        return None
    return secrets.followers_part(secrets.read(present, FOLLOWERS_KEYS))


def forget_copy(sha256: str) -> None:
    """Forget the secret of a host that is no leader, where it is the leader's, whose followers' part has this hash."""
    present = read()
    if present is not None and digest(present) == sha256:
        _file().unlink()


def digest(text: str) -> str:
    """The hash of a secret without what only the leader has, as operate/steps/host_removal.py asks for it."""
    document = json.loads(text)
    part = {key: value for key, value in document.items() if key not in LEADERS_KEYS}
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()


def prepare_data_services() -> None:
    """On a leader whose data services are containers of their own: the files by which they know the passwords."""
    text = read()
    if text is None:
        return
    values = secrets.read(text)
    # The containers' own users read them, so the files are open and only root enters the folder above.
    folder = STORE / "data-services"
    folder.mkdir(mode=0o700, exist_ok=True)
    write_private(folder / "postgres-password", values["postgresPassword"], 0o644)
    write_private(folder / "redis.conf", redis_users.configuration(values), 0o644)


def _file() -> Path:
    return STORE / "secret.json"
