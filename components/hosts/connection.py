"""How the deployment reaches a host over SSH: its programs by a variable, a person by a command."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

from model.settings.hosts import FollowersOnHosts, Host, access_document


@dataclass(frozen=True, kw_only=True)
class HostConnection:
    """One host, as the stack file names it."""

    settings: FollowersOnHosts
    """For what all hosts have in common."""

    host: Host
    """Address, user, port and host key; made by `connection_to`."""

    def as_variable(self) -> pulumi.Output[str]:
        """For ``operate.hosts.ssh``, which reads it from its environment; encrypted in the state like every secret."""
        document = access_document(self.settings, self.host)
        return pulumi.Output.secret(json.dumps(document, sort_keys=True))

    def by_hand(self, options: str = "") -> str:
        """The command that reaches the host from a terminal."""
        bastion = self.settings.ssh.bastion
        jump = f"-J {bastion.user}@{bastion.address}:{bastion.port} " if bastion else ""
        port = "" if self.host.port == 22 else f"-p {self.host.port} "
        return f"ssh {jump}{port}{options}{self.host.user}@{self.host.address}"


def connection_to(settings: FollowersOnHosts, host: Host) -> HostConnection:
    """The connection to a host of the stack file, or of the stack that has the leader."""
    return HostConnection(settings=settings, host=settings.resolved(host))
