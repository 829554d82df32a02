"""A host that becomes a node: the agent and the specification are pushed over SSH, and readiness is waited for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import pulumi
from pulumi_command import local, remote

from components.agent_archive import build_archive
from components.hosts.connection import HostConnection
from model.specification import INSTALLED_AGENT, RUN_AGENT, SENT_AGENT

RELEASE = ".graphistry-cluster-release"
"""Where a release of the operator's computer is put first; the agent moves it away."""

PYTHON = ".venv/bin/python"
"""Of this project, relative to it: see ``components.aws.readiness``."""

DELIVER = """\
for archive in "$HOME"/{agent} {installed}; do
  if echo "{sha256}  $archive" | sudo -n sha256sum --check --status 2>/dev/null; then
    exec sudo -n /usr/bin/python3 "$archive" deliver{release}
  fi
done
sudo -n true || exit 1
echo 'AgentChecksumMismatch: the agent is not on the host as it was sent; `make up` sends it anew' >&2
exit 1
"""
"""Root runs no archive but the one that this program has built; a copy that was cut is not run at all."""


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

    release: Path | None
    """An archive of the operator's computer, which hosts without internet get over SSH."""

    release_sha256: str | None
    """Its checksum as the stack file says. Another one sends it anew: the host has thrown away what it was not."""


class HostNode:
    """The resources of one host. No component itself: they are the node's children."""

    def __init__(self, name: str, args: HostNodeArgs, opts: pulumi.ResourceOptions) -> None:
        self._name, self._args, self._opts = name, args, opts
        self._connection = args.connection.as_remote()
        archive = build_archive()
        self.agent_sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
        place = args.connection.host.address
        # Deleted last, so that a host is left as it was found; another address is another host.
        self.removal = local.Command(
            f"{name}-removal",
            create=":",
            delete=f"{PYTHON} -m operate.host_removal",
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
        self._copies = [self._copy("agent", SENT_AGENT, archive)]
        if args.release is not None:
            self._copies.append(
                self._copy("release", RELEASE, args.release, str(args.release_sha256))
            )

    def _copy(self, what: str, path: str, source: Path, *more_triggers: str) -> remote.CopyToRemote:
        """A file on the host. A host that was installed anew has another key, and gets it again."""
        host = self._args.connection.host
        return remote.CopyToRemote(
            f"{self._name}-{what}",
            connection=self._connection,
            source=pulumi.FileAsset(str(source)),
            remote_path=path,
            triggers=[host.address, host.host_key, *more_triggers],
            opts=pulumi.ResourceOptions.merge(
                self._opts, pulumi.ResourceOptions(depends_on=[self.removal])
            ),
        )

    def deliver(self, specification: pulumi.Output[str]) -> remote.Command:
        """Hand the agent the specification. Any change of it runs this again, on this host only."""
        release = f" --release {quote(RELEASE)}" if self._args.release is not None else ""
        return remote.Command(
            f"{self._name}-specification",
            connection=self._connection,
            create=DELIVER.format(
                agent=SENT_AGENT,
                installed=INSTALLED_AGENT,
                sha256=self.agent_sha256,
                release=release,
            ),
            stdin=specification,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions.merge(
                self._opts, pulumi.ResourceOptions(depends_on=self._copies)
            ),
        )

    def receive_secret(self, after: Sequence[pulumi.Resource]) -> None:
        """Carry the cluster's secret from the leader to this follower; it passes through memory only."""
        if self._args.leader is None:
            return
        local.Command(
            f"{self._name}-secret",
            create=f"{PYTHON} -m operate.host_secret",
            environment={
                "LEADER": self._args.leader.as_variable(),
                "HOST": self._args.connection.as_variable(),
            },
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions.merge(
                self._opts, pulumi.ResourceOptions(depends_on=list(after))
            ),
        )

    def wait(self, specification: pulumi.Output[str], delivered: pulumi.Resource) -> None:
        """Wait on the host itself until it is what *specification* says, and show how far it is."""
        sha256 = specification.apply(lambda text: hashlib.sha256(text.encode()).hexdigest())
        remote.Command(
            f"{self._name}-ready",
            connection=self._connection,
            create=pulumi.Output.format("sudo -n {0} wait {1}", RUN_AGENT, sha256),
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions.merge(
                self._opts, pulumi.ResourceOptions(depends_on=[delivered])
            ),
        )
