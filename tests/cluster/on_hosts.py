"""A cluster on hosts, in the words of :class:`tests.cluster.nodes.Cluster`: the same tests hold on both sites."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.machines import hosts
from tests.cluster.nodes import Cluster, Report, shell

STACK = "onprem-sandbox"
NODES = ("leader", "small", "large")
STORE = "/var/lib/graphistry-cluster"
LEADER = "10.77.0.10"


@dataclass(frozen=True)
class OnHosts(Cluster):
    """One checkout whose sandbox boots hosts."""

    release = "/home/ubuntu/graphistry"
    """Where it is unpacked on hosts before they are nodes."""

    def instance(self, node: str) -> str:
        return hosts.container(self.checkout.stack, node)

    def sandbox_file(self, node: str, name: str) -> Path:
        return self.checkout.root / ".sandbox/machines" / self.instance(node) / name

    def report(self, node: str) -> Report:
        done = shell(self.machine(node), "cat /opt/graphistry-cluster/report.json")
        with suppress(ValueError):
            found: Report = json.loads(done.stdout)
            return found
        return {}

    def started(self) -> dict[str, dict[str, str]]:
        """When each service of each node was started last."""
        return {node: self.services_started(node) for node in NODES}

    def broken_proofs(self) -> list[dict[str, Any]]:
        """Those of the proofs of `./cluster prove` that fail; all must have been tried."""
        proofs = self.proofs()
        assert len(proofs) == 48
        return [proof for proof in proofs if not proof["kept"]]

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Plain Pulumi on the stack's file of the sandbox."""
        file = self.checkout.root / ".sandbox/stacks" / f"Pulumi.{self.checkout.stack}.yaml"
        return self.checkout.pulumi(
            *arguments, "--stack", self.checkout.stack, "--config-file", str(file)
        )

    def connections(self, node: str) -> int:
        """How many SSH connections the host has let in so far."""
        log = self.run(node, "journalctl --no-pager -o cat | grep -c 'Accepted publickey' || true")
        return int(log)


def reaches_leader(machine: Any, port: int) -> bool:
    """Whether a machine's connection to a port of the leader is taken."""
    probe = f"timeout 3 bash -c '</dev/tcp/{LEADER}/{port}'"
    return shell(machine, probe).returncode == 0


@contextmanager
def workers(cluster: OnHosts, profile: str, forge: int) -> Iterator[None]:
    """Meanwhile, the stack file asks for other workers on the nodes of a profile."""
    before = cluster.checkout.setting("gpuProfiles")
    changed = {**before[profile], "workersPerGpu": {"forge": forge}}
    cluster.checkout.change(gpuProfiles={**before, profile: changed})
    try:
        yield
    finally:
        cluster.checkout.change(gpuProfiles=before)
