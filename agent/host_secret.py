"""The cluster's secret on a host's disk: made once on the leader, brought to followers by the operator's computer."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from agent import cluster_secret, delivered, store, wiring
from agent.failures import Failure
from agent.node import write_private
from agent.store import STORE


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
    """Keep what the leader has; raises Failure for what is no secret, and on a leader with another one."""
    values = cluster_secret.read(text)
    present = read()
    if present is not None and delivered.is_leader() and cluster_secret.read(present) != values:
        raise Failure(
            "SecretInvalid",
            f"this host is the leader and its {_file()} has other values; it was not touched",
        )
    store.ensure()
    write_private(_file(), text)


def forget_copy(sha256: str) -> None:
    """Forget the secret of a host that is no leader, where it is the leader's, whose file has this hash."""
    if _file().exists() and hashlib.sha256(_file().read_bytes()).hexdigest() == sha256:
        _file().unlink()


def prepare_data_services() -> None:
    """On a leader whose data services are containers of their own: the files by which they know the passwords."""
    text = read()
    if text is None:
        return
    values = cluster_secret.read(text)
    # The containers' own users read them, so the files are open and only root enters the folder above.
    folder = STORE / "data-services"
    folder.mkdir(mode=0o700, exist_ok=True)
    write_private(folder / "postgres-password", values["postgresPassword"], 0o644)
    write_private(folder / "redis.conf", wiring.redis_configuration(values["redisPassword"]), 0o644)


def _file() -> Path:
    return STORE / "secret.json"
