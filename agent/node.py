"""What every phase works with: the node that this machine is."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from agent.failures import Failure
from agent.report import Report
from agent.sites.site import Site
from agent.specification import Specification

HOME = Path(os.environ.get("GRAPHISTRY_CLUSTER_HOME", "/opt/graphistry-cluster"))
UNITS = Path("/etc/systemd/system")
MARK = "graphistry-cluster"
"""In everything that the agent writes into other people's files, to find it again."""


@dataclass
class Node:
    """One node, from its specification to what the phases have found so far."""

    specification: Specification
    instance: dict[str, str]
    site: Site
    report: Report
    secret: dict[str, str] = field(default_factory=dict)
    """The cluster's secret values; empty before the phase secrets."""
    secret_env: dict[str, str] = field(default_factory=dict, repr=False)
    """The stack file's secret variables; empty before the phase secrets."""
    failure: Failure | None = None
    """Why the last phase failed."""
    release: Path | None = None
    """The release's folder; None before the phase release."""
    mount_refusal: Failure | None = None
    """Why the shared folder could not be mounted when that was tried last."""
    kept: tuple[str, ...] = ()
    """The folders of the release's `data` that are in the node's own folder of the shared one."""
    hidden: tuple[str, ...] = ()
    """The folders of the shared one that services with the whole of it do not see."""
    left_here: list[str] = field(default_factory=list)
    """What users make and loses its machine, with the reason, a sentence each."""
    machine_shown: float = -math.inf
    """When this machine has said there that it is at work."""
    max_connections: int | None = None
    """Of the cluster's PostgreSQL, when it answered last."""

    @property
    def folder(self) -> Path:
        """The release's folder, in the phases after it was found."""
        if self.release is None:
            raise RuntimeError("no release before the phase release")
        return self.release

    @property
    def gpus_of_type(self) -> int:
        """How many GPUs a machine of this one's type has; 0 if nobody knows."""
        return self.specification.gpus_by_type.get(self.instance.get("type", ""), 0)

    @property
    def address(self) -> str:
        """Where other nodes reach this one's data services: its private address, or the one inside the tunnel."""
        has_tunnel = self.specification.tunnel is not None
        return self.specification.cluster_address if has_tunnel else self.instance["address"]
