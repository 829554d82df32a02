"""Converging to the specification.

The one phase so far is the first: read the specification and say so in the report. What turns a machine into a
Graphistry node (disks, shared folder, secrets, release, services) follows it, phase by phase.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from typing import Any

from agent.bootstrap import Bucket


def converge(bucket: Bucket, prefix: str) -> dict[str, Any]:
    """Read this node's specification and report, for exactly that document, how far the node is."""
    text = bucket.get(f"{prefix}specification.json")
    specification = json.loads(text)
    report = {
        "schemaVersion": 1,
        "cluster": specification["cluster"],
        "node": specification["node"],
        "specification": hashlib.sha256(text).hexdigest(),
        "state": "converging",
        "phase": "specification",
        "failure": None,
        "heartbeat": datetime.datetime.now(datetime.timezone.utc).isoformat(),
    }
    bucket.put(f"{prefix}report.json", json.dumps(report, sort_keys=True).encode())
    return report
