"""``shell``: a shell on a node."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from model.problems import UserError
from model.settings.hosts import FollowersOnHosts
from operate.commands.options import Node, Stack, Where, require_node
from operate.nodes.on_aws import entries, nodes
from operate.nodes.present import deployed_outputs
from operate.stack.deployment import SANDBOX_DIRECTORY, Deployment
from operate.stack.session import deployment
from sandbox.machines.hosts import container_at


def shell(
    stack: Stack = "sandbox",
    node: Node = "leader",
    target: Where = None,
) -> None:
    """Open a shell on a node: on AWS by Session Manager, on hosts over SSH as root, in the sandbox in its container."""
    with deployment(stack, target, start=False, changes=False) as opened:
        outputs = deployed_outputs(opened)
        require_node(node, entries(outputs))
        command = shell_command(opened, node, outputs)
        if shutil.which(command[0]) is None:
            raise UserError(
                f"{command[0]} is not installed; with it, `{shlex.join(command)}` opens the shell"
            )
    os.execvp(command[0], command)  # noqa: S606 a list of words, and no shell is wanted


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
                f"{node} has no machine at {address}; `./cluster up{opened.choice}` boots it"
            )
    else:
        found = {each.node.name: each.node.machine for each in nodes(opened, outputs)}[node]
        if found is None:
            raise UserError(f"{node} has no machine; `./cluster status{opened.choice}` says more")
        machine = found.instance_id
    if opened.sandbox is None:
        document = outputs.get("sessionDocument")
        logged = ["--document-name", document] if document else []
        start = ["aws", "ssm", "start-session", "--region", opened.region]
        return [*start, "--target", machine, *logged]
    way = "-it" if sys.stdin.isatty() else "-i"  # or a script could not write to it
    return ["docker", "-H", str(opened.sandbox.docker_host), "exec", way, machine, "bash", "-l"]
