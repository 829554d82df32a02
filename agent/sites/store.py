"""The folder on a host that outlives the cluster's programs: its secret, its data, the guests of its leader."""

from __future__ import annotations

import os
from pathlib import Path

STORE = Path(os.environ.get("GRAPHISTRY_CLUSTER_STORE", "/var/lib/graphistry-cluster"))


def ensure() -> Path:
    """The folder, closed to all but root unless it was opened for a reason."""
    if not STORE.is_dir():
        STORE.mkdir(parents=True, exist_ok=True)
        STORE.chmod(0o700)
    return STORE


def forget_empty() -> None:
    """Take the folder away where nothing is in it."""
    if STORE.is_dir() and not any(STORE.iterdir()):
        STORE.rmdir()
