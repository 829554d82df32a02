"""Stand-in for the Graphistry release, made by graphistry-cluster's sandbox.

The services of the release run as systemd services of the machine; `./graphistry` shows them as the
vendor's Docker Compose would. Python 3.11 of the machine image, with its PyYAML and psycopg2.
"""

import json
import os
from pathlib import Path
from typing import Any

BANNER = "stand-in for the Graphistry release, made by graphistry-cluster's sandbox"
SANDBOX = Path(os.environ.get("GRAPHISTRY_SANDBOX_DIRECTORY", "/etc/graphistry-sandbox"))
STATE = Path("/run/graphistry-standin")
"""What runs with which configuration; holds secrets, so only root reads it. Gone after a reboot."""
SERVICES = (
    "postgres",
    "redis",
    "dask-scheduler",
    "dask-cuda-worker",
    "nexus",
    "forge-etl-python",
    "streamgl-gpu",
    "streamgl-viz",
    "streamgl-sessions",
    "pivot",
    "nginx",
    "caddy",
)
ADDRESSES = {name: f"127.0.10.{10 + index}" for index, name in enumerate(SERVICES)}
"""Every service has an address of its own, as a container would have."""


def traps() -> dict[str, Any]:
    """The faults that the sandbox's tests have set for this machine; none where there is no file."""
    try:
        found = json.loads((SANDBOX / "traps.json").read_text())
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{SANDBOX}/traps.json: an object is expected, {found!r} was found")
    return found
