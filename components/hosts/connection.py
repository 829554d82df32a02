"""How the deployment reaches a host over SSH, told once for pulumi-command and once for our own commands."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
from pulumi_command import remote

from model.hosts import FollowersOnHosts, Host, access_document

DIALS = 2
"""Failed tries of a connection after which there is a last one, a fraction of a second apart: a host that is gone
should be told while somebody is looking, and each of its resources finds out by itself."""

DIAL_SECONDS = 5
"""Longest wait for one; within it the network has tried three times."""

BASTION_DIALS = 4
"""The same for a bastion: its SSH server turns some away while many sign in at once, and is not gone for that."""


@dataclass(frozen=True, kw_only=True)
class HostConnection:
    """One host, as the stack file names it."""

    settings: FollowersOnHosts
    """For what all hosts have in common."""

    host: Host
    """Address, user, port and host key; made by `connection_to`."""

    def as_remote(self) -> remote.ConnectionArgs:
        """For a resource of pulumi-command. Without a key in the stack the SSH agent is asked."""
        bastion = self.settings.ssh.bastion
        return remote.ConnectionArgs(
            host=self.host.address,
            port=self.host.port,
            user=self.host.user,
            host_key=self.host.host_key,
            private_key=self._private_key(),
            dial_error_limit=DIALS,
            per_dial_timeout=DIAL_SECONDS,
            proxy=None
            if bastion is None
            else remote.ProxyConnectionArgs(
                host=bastion.address,
                port=bastion.port,
                user=bastion.user,
                host_key=bastion.host_key,
                private_key=self._private_key(),
                dial_error_limit=BASTION_DIALS,
                per_dial_timeout=DIAL_SECONDS,
            ),
        )

    def as_variable(self) -> pulumi.Output[str]:
        """For ``operate.ssh``, which reads it from its environment; encrypted in the state like every secret."""
        document = access_document(self.settings, self.host)
        return pulumi.Output.secret(json.dumps(document, sort_keys=True))

    def by_hand(self, options: str = "") -> str:
        """The command that reaches the host from a terminal."""
        bastion = self.settings.ssh.bastion
        jump = f"-J {bastion.user}@{bastion.address}:{bastion.port} " if bastion else ""
        port = "" if self.host.port == 22 else f"-p {self.host.port} "
        return f"ssh {jump}{port}{options}{self.host.user}@{self.host.address}"

    def _private_key(self) -> pulumi.Output[str] | None:
        key = self.settings.ssh_private_key
        return None if key is None else pulumi.Output.secret(key)


def connection_to(settings: FollowersOnHosts, host: Host) -> HostConnection:
    """The connection to a host of the stack file, or of the stack that has the leader."""
    return HostConnection(settings=settings, host=settings.resolved(host))
