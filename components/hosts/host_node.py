"""A host that becomes a node: the agent and the specification are pushed over SSH, and readiness is waited for.

Each of the resources runs a program of ``operate`` on this computer, which signs in by itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join

import pulumi
from pulumi_command import local
from pydantic import SecretStr

from components.agent_archive import build_archive
from components.hosts.connection import HostConnection
from model.settings.configuration import SECRET_ENV_NAME
from model.specification import SENT_RELEASE

PYTHON = ".venv/bin/python"
"""Of this project, relative to it: see ``components.aws.readiness``."""


def step(module: str, *words: str) -> str:
    """The command that runs a program of ``operate`` as a resource.

    Pulumi kills the shell it starts at Ctrl-C, and nothing that the shell has started: `exec` makes them one process.
    """
    return join(["exec", PYTHON, "-m", f"operate.steps.{module}", *words])


@dataclass(frozen=True, kw_only=True)
class HostNodeArgs:
    """Inputs of :class:`HostNode`."""

    connection: HostConnection
    """The host."""

    leader: HostConnection | None
    """A follower's leader, which has the cluster's secret; None for the leader itself."""

    admission: pulumi.Resource | None
    """What lets the host in to the leader of another stack. A host leaves before it: services whose shared folder has
    gone behind a firewall do not end."""

    has_containers: bool
    """Whether this program makes containers on the host, for which those of a cluster of before must be gone."""

    release: Path | None
    """An archive of the operator's computer, which hosts without internet get over SSH."""

    release_sha256: str | None
    """Its checksum as the stack file says. Another one sends it again."""


class HostNode:
    """The resources of one host. No component itself: they are the node's children."""

    def __init__(self, name: str, args: HostNodeArgs, opts: pulumi.ResourceOptions) -> None:
        self._name, self._args, self._opts = name, args, opts
        self.agent_sha256 = hashlib.sha256(build_archive().read_bytes()).hexdigest()
        place = args.connection.host.address
        # Deleted last, so that a host is left as it was found; another address is another host.
        self.removal = local.Command(
            f"{name}-removal",
            create=step("host_strays") if args.has_containers else ":",
            update=":",
            delete=step("host_removal"),
            environment={
                "HOST": args.connection.as_variable(),
                **({"LEADER": args.leader.as_variable()} if args.leader else {}),
            },
            triggers=[f"{place}:{args.connection.host.port}"],
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions.merge(
                opts,
                pulumi.ResourceOptions(depends_on=[args.admission] if args.admission else []),
            ),
        )

    def deliver(self, specification: pulumi.Output[str]) -> local.Command:
        """Hand the host the agent and its specification. Any change of them runs this again, on this host only."""
        sent = self._sent_release()
        words = [self.agent_sha256, *([SENT_RELEASE] if sent else [])]
        after = [self.removal, *sent]
        return self._step(
            "specification", step("host_delivery", *words), after, stdin=specification
        )

    def receive_secret_env(self, variables: Mapping[str, SecretStr]) -> pulumi.Output[str | None]:
        """Bring the host the stack file's secret variables over SSH; the id by which its specification knows that they
        are others now, None where there are none."""
        if not variables:
            return pulumi.Output.from_input(None)
        text = json.dumps({each: variables[each].get_secret_value() for each in sorted(variables)})
        brought = self._step(
            SECRET_ENV_NAME,
            step("host_secret_env"),
            [self.removal],
            stdin=pulumi.Output.secret(text),  # so is encrypted in the state, and shown nowhere
        )
        # A random id, whatever the rest of the command is.
        return pulumi.Output.unsecret(brought.stdout).apply(str)

    def _sent_release(self) -> list[pulumi.Resource]:
        """The release on the host, if it is sent from the operator's computer."""
        if self._args.release is None:
            return []
        words = [str(self._args.release), str(self._args.release_sha256)]
        return [self._step("release", step("host_release", *words), [self.removal])]

    def _step(
        self,
        what: str,
        command: pulumi.Input[str],
        after: Sequence[pulumi.Resource],
        *,
        leader: HostConnection | None = None,
        stdin: pulumi.Input[str] | None = None,
    ) -> local.Command:
        """A program of ``operate`` that does one thing to the host, and again if anything about the host changes: one
        that was installed anew has another key."""
        return local.Command(
            f"{self._name}-{what}",
            create=command,
            environment={
                "HOST": self._args.connection.as_variable(),
                **({"LEADER": leader.as_variable()} if leader else {}),
            },
            stdin=stdin,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions.merge(
                self._opts, pulumi.ResourceOptions(depends_on=list(after))
            ),
        )

    def receive_secret(self, after: Sequence[pulumi.Resource]) -> None:
        """Carry the cluster's secret from the leader to this follower; it passes through memory only."""
        if self._args.leader is not None:
            self._step("secret", step("host_secret"), after, leader=self._args.leader)

    def meet_leader(self, leader: str, own: str, after: Sequence[pulumi.Resource]) -> None:
        """Carry the public keys of WireGuard between the leader and this follower, by their private addresses."""
        self._step("tunnel", step("host_tunnel", leader, own), after, leader=self._args.leader)

    def wait(self, specification: pulumi.Output[str], after: Sequence[pulumi.Resource]) -> None:
        """Wait until the host is what *specification* says, and show how far it is."""
        sha256 = specification.apply(lambda text: hashlib.sha256(text.encode()).hexdigest())
        command = sha256.apply(lambda digest: step("host_ready", digest))
        self._step("ready", command, after)
