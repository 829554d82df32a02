"""Stand-in for the Graphistry release, made by graphistry-cluster's sandbox.

Each service is a container of an image that has this package; Python 3.13 with its psycopg2.
"""

import json
import os
from pathlib import Path
from typing import Any

BANNER = "stand-in for the Graphistry release, made by graphistry-cluster's sandbox"
SANDBOX = Path(os.environ.get("GRAPHISTRY_SANDBOX_DIRECTORY", "/etc/graphistry-sandbox"))


def traps() -> dict[str, Any]:
    """The faults that the sandbox's tests have set for this machine; none where there is no file."""
    try:
        found = json.loads((SANDBOX / "traps.json").read_text())
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{SANDBOX}/traps.json: an object is expected, {found!r} was found")
    return found
