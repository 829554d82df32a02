"""What is deployed, as it is now."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from model.problems import UserError
from model.settings.hosts import FollowersOnHosts
from operate.commands.provable import nodes_to_prove, nodes_to_prove_on_hosts
from operate.commands.prove import Nodes
from operate.hosts.connected import Hosts, hosts_of
from operate.nodes.on_aws import Node, Seen, entries, nodes
from operate.nodes.on_hosts import nodes_on_hosts
from operate.nodes.settled import settled
from operate.stack.deployment import (
    SANDBOX_DIRECTORY,
    Deployment,
)
from sandbox.machines.hosts import container_at


def deployed_outputs(opened: Deployment) -> dict[str, Any]:
    """The stack's outputs. Raises :class:`UserError` when it is not deployed."""
    outputs = opened.outputs() if opened.exists() else {}
    if not is_deployed(opened, outputs):
        raise UserError(
            f"the stack {opened.stack} is not deployed; `make up{opened.choice}` deploys it"
        )
    return outputs


def is_deployed(opened: Deployment, outputs: Mapping[str, Any]) -> bool:
    """Whether outputs are those of a cluster that is there. A state outlives the sandbox that it tells of."""
    if "followers" not in outputs:
        return False
    if opened.sandbox is None or "bucket" not in outputs:
        return True
    try:
        opened.client("s3").head_bucket(Bucket=outputs["bucket"])
    except ClientError:
        return False
    return True


@contextmanager
def hosts_in(opened: Deployment) -> Iterator[Hosts | None]:
    """The hosts of a stack that exists, one SSH connection each while the block runs; None on AWS."""
    settings = opened.hosts_settings()
    if settings is None:
        yield None
        return
    with hosts_of(settings, opened.unlike) as hosts:
        yield hosts


def present_nodes(
    opened: Deployment, outputs: Mapping[str, Any], hosts: Hosts | None
) -> list[Node]:
    """The nodes of a deployed stack as they are now."""
    return [each.node for each in _look(opened, outputs, hosts)]


def settled_nodes(
    opened: Deployment, outputs: Mapping[str, Any], hosts: Hosts | None
) -> list[Node]:
    """The same, once what passes by itself has passed."""
    return settled(lambda: _look(opened, outputs, hosts))


def _look(opened: Deployment, outputs: Mapping[str, Any], hosts: Hosts | None) -> list[Seen]:
    return nodes(opened, outputs) if hosts is None else nodes_on_hosts(hosts, outputs)


def shell_command(opened: Deployment, node: str, outputs: Mapping[str, Any]) -> list[str]:
    """What opens a shell on a node's machine."""
    if opened.sandbox is not None and not opened.sandbox.docker_host:
        raise UserError("this sandbox records machines and boots none, so there is no shell")
    on_hosts = isinstance(opened.settings, FollowersOnHosts)
    if on_hosts and opened.sandbox is None:
        return [*shlex.split(entries(outputs)[node]["shell"]), "-t", "sudo -i"]
    if on_hosts:
        address = entries(outputs)[node]["address"]
        machine = container_at(SANDBOX_DIRECTORY, opened.stack, address) or ""
        if not machine:
            raise UserError(
                f"{node} has no machine at {address}; `make up{opened.choice}` boots it"
            )
    else:
        found = {each.node.name: each.node.machine for each in nodes(opened, outputs)}[node]
        if found is None:
            raise UserError(f"{node} has no machine; `make show{opened.choice}` says more")
        machine = found.instance_id
    if opened.sandbox is None:
        document = outputs.get("sessionDocument")
        logged = ["--document-name", document] if document else []
        start = ["aws", "ssm", "start-session", "--region", opened.region]
        return [*start, "--target", machine, *logged]
    way = "-it" if sys.stdin.isatty() else "-i"  # or a script could not write to it
    return ["docker", "-H", str(opened.sandbox.docker_host), "exec", way, machine, "bash", "-l"]


def provable(opened: Deployment, outputs: Mapping[str, Any], hosts: Hosts | None) -> Nodes:
    """The nodes to prove. Raises :class:`UserError` unless every one of them is ready."""
    found = present_nodes(opened, outputs, hosts)
    unready = [f"{node.name} is {node.state}" for node in found if node.state != "ready"]
    if unready:
        raise UserError(
            f"only a cluster of ready nodes can be proven: {'; '.join(unready)}. `make up{opened.choice}` waits "
            "for them and says why not"
        )
    machines = {node.name: node.machine for node in found if node.machine}
    addresses = {name: machine.address for name, machine in machines.items()}
    if hosts is not None:
        return nodes_to_prove_on_hosts(opened, outputs, hosts, addresses)
    instances = {name: machine.instance_id for name, machine in machines.items()}
    return nodes_to_prove(opened, outputs, instances, addresses)
