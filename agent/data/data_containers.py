"""PostgreSQL and Redis as containers of their own: the program makes them, `remove` and `strays` take them away."""

from __future__ import annotations

import json
from typing import Any

from agent.machine.commands import run
from agent.sites.store import STORE

NAMES = ("graphistry-cluster-postgres", "graphistry-cluster-redis")
"""As components/hosts/data_services.py names them."""
POSTGRES_DATA = "/var/lib/postgresql/data"
STOP_SECONDS = 60
"""PostgreSQL writes down what it has in memory."""


def remove() -> list[str]:
    """Stop and remove the containers that are there; the names of their volumes, which stay."""
    volumes: list[str] = []
    for name in NAMES:
        mounts = _mounts(name)
        if not _is_ours(mounts):
            continue
        volumes += [each["Name"] for each in mounts if each["Destination"] == POSTGRES_DATA]
        run(["docker", "stop", "--time", str(STOP_SECONDS), name], seconds=STOP_SECONDS + 60)
        # Volumes with a name stay; Redis's, which has none and is a cache's, goes.
        run(["docker", "rm", "--volumes", name])
    return volumes


def _mounts(name: str) -> list[dict[str, Any]]:
    """The mounts of a container; empty if it is not there."""
    found = run(["docker", "container", "inspect", name])
    mounts: list[dict[str, Any]] = json.loads(found.output)[0]["Mounts"] if found.succeeded else []
    return mounts


def _is_ours(mounts: list[dict[str, Any]]) -> bool:
    """Whether a container has a file of the agent's; somebody else's of the same name has none."""
    return any(f"{STORE}/data-services/" in each.get("Source", "") for each in mounts)
