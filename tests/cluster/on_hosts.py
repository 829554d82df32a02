"""A cluster on hosts, in the words of :class:`tests.cluster.nodes.Cluster`: the same tests hold on both sites."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.machines import hosts
from tests.cluster.nodes import ON, Cluster, Report

STACK = "onprem-sandbox"


@dataclass(frozen=True)
class OnHosts(Cluster):
    """One checkout whose sandbox boots hosts."""

    def operate(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One of the operator's commands on the stack."""
        return self.checkout.operate(
            command, "--stack", self.checkout.stack, *arguments, environment=ON
        )

    def up(self) -> subprocess.CompletedProcess[str]:
        return self.operate("up")

    def nodes(self) -> dict[str, dict[str, Any]]:
        shown = self.operate("show", "--json")
        assert shown.returncode == 0, shown.stdout
        return {node["name"]: node for node in json.loads(shown.stdout[shown.stdout.index("[") :])}

    def instance(self, node: str) -> str:
        return hosts.container(self.checkout.stack, node)

    def sandbox_file(self, node: str, name: str) -> Path:
        return self.checkout.root / ".sandbox/machines" / self.instance(node) / name

    def report(self, node: str) -> Report:
        done = self.machine(node).exec_run(["cat", "/opt/graphistry-cluster/report.json"])
        with suppress(ValueError):
            found: Report = json.loads(done.output)
            return found
        return {}

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
