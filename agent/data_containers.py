"""PostgreSQL and Redis as containers of their own: the program makes them, `remove` takes them away."""

from __future__ import annotations

import json

from agent.commands import run

NAMES = ("graphistry-cluster-postgres", "graphistry-cluster-redis")
"""As components/hosts/data_services.py names them."""
POSTGRES_DATA = "/var/lib/postgresql/data"
STOP_SECONDS = 60
"""PostgreSQL writes down what it has in memory."""


def remove() -> list[str]:
    """Stop and remove the containers where they are; the names of their volumes, which stay."""
    volumes: list[str] = []
    for name in NAMES:
        found = run(["docker", "container", "inspect", name])
        if not found.succeeded:
            continue
        mounts = json.loads(found.output)[0]["Mounts"]
        volumes += [each["Name"] for each in mounts if each["Destination"] == POSTGRES_DATA]
        run(["docker", "stop", "--time", str(STOP_SECONDS), name], seconds=STOP_SECONDS + 60)
        # Volumes with a name stay; Redis's, which has none and is a cache's, goes.
        run(["docker", "rm", "--volumes", name])
    return volumes
