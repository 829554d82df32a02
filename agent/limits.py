"""How long the agent waits, in seconds; the environment can shorten each, as the tests do."""

from __future__ import annotations

import os


def _number(name: str, default: float) -> float:
    return float(os.environ.get(f"GRAPHISTRY_CLUSTER_{name}", default))


PATIENCE = _number("PATIENCE", 600)
"""For what another part has to bring: a volume, a mount target, the secret, the leader, the shared folder."""
HEALTH = _number("HEALTH_SECONDS", 900)
"""For the services to become healthy; minutes are usual with GPUs."""
POLL = _number("POLL_SECONDS", 5)
"""Between two looks at the specification."""
WATCH = _number("WATCH_SECONDS", 10)
"""Between two verifications of a ready node, and between two reports."""
RETRY_FIRST = _number("RETRY_SECONDS", 5)
RETRY_LAST = 60.0
"""Pauses between two converges that failed, growing from the first to the last."""
RETRY_RELEASE = 1800.0
"""The last pause where each try would fetch the release again, some 14 GB that may cost money."""
SETTLE = _number("SETTLE_SECONDS", 60)
"""For services to notice that the leader or the shared folder is back: Docker looks at their health twice a minute.
Longer, and no longer than HEALTH, for those whose health check allows more after a start."""
SILENT = _number("SILENT_SECONDS", 120)
"""After which a machine that says nothing has no services any more that use its node's folder. It speaks six times as
often while it looks at itself."""
REPAIR = _number("REPAIR_SECONDS", 10)
"""After the first try to repair a node that was ready; twice as long after each further one."""
GPUS = _number("GPU_SECONDS", 60)
"""Between two questions to the driver about GPUs that were well: each costs a call of nvidia-smi."""
PROBE = _number("PROBE_SECONDS", 15)
"""For one answer of nvidia-smi."""
GPU_FAULT = _number("GPU_FAULT_SECONDS", 600)
"""How old a fault of a GPU is before the machine is touched (EKS's node auto repair: 10 minutes)."""
FREE_GIB = _number("FREE_GIB", 40)
"""Free space in GiB that a release needs: its images have about 14 GB each, many layers in common."""
OWN_PART = 0.1
"""Of that, what its files need where it is unpacked; the rest is for the images."""
DELIVER = _number("DELIVER_SECONDS", 600)
"""For another delivery to the same host, which may be moving a release of some 15 GB."""
