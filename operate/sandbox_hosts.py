"""A stack file of the `hosts` site, rehearsed: the sandbox boots a machine for each host, and SSH goes there instead.

Nothing else differs: private addresses, GPU profiles, shared folder and release are those of the file.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from model.hosts import FollowersOnHosts, HostsSettings
from operate.messages import UserError, say
from operate.sandbox_secret import encrypted
from operate.stack_file import PROJECT
from sandbox.lifecycle import find
from sandbox.machines import hosts
from sandbox.machines.commands import MachineError
from sandbox.machines.hosts import HostMachine

FILE_SERVER = "file-server"
"""Name of the machine that stands in for an NFS server of the user's; no node may have it."""


def rehearsed(
    config: dict[str, Any],
    settings: FollowersOnHosts,
    sandbox: Path,
    stack: str,
    encryption_salt: str,
) -> dict[str, Any]:
    """The keys of the stack file with the sandbox's machines in the place of the hosts, which are booted.

    Raises :class:`UserError` where that cannot be.
    """
    machines = wanted_machines(settings)
    try:
        before = hosts.wanted(sandbox).get(stack, ())
        # A host that is a node no more is still there, and is made a plain one by the deployment.
        names, addresses = {each.name for each in machines}, {each.address for each in machines}
        machines += [
            each for each in before if each.name not in names and each.address not in addresses
        ]
        if set(before) != set(machines):
            say("booting a machine for each host of the stack")
        hosts.want(sandbox, stack, machines)
        reached = hosts.reach(sandbox, stack)
        key = hosts.private_key(sandbox)
    except MachineError as error:
        raise UserError(f"the hosts of the stack {stack} cannot be rehearsed: {error}") from None
    known = pinned(sandbox, stack)
    for node in settings.nodes:
        known.setdefault(node, reached[node].host_key)
    pin(sandbox, stack, known)
    changed = copy.deepcopy(config)
    changed[f"{PROJECT}:ssh"] = {"user": hosts.USER}
    changed[f"{PROJECT}:sshPrivateKey"] = encrypted(key, encryption_salt)
    entries = {
        "leader": changed.get(f"{PROJECT}:leader", {}),
        **changed.get(f"{PROJECT}:followers", {}),
    }
    for node in settings.nodes:
        entries[node]["host"] = {
            "address": "127.0.0.1",
            "port": reached[node].port,
            "privateAddress": settings.private_address(node),
            "hostKey": known[node],
        }
    return changed


def wanted_machines(settings: FollowersOnHosts) -> list[HostMachine]:
    """A machine for each host, of the size that its GPU profile says; and the NFS server, if there is one."""
    machines = []
    for node, entry in settings.nodes.items():
        profile = settings.profile_of(node)
        machines.append(
            HostMachine(
                name=node,
                address=settings.private_address(node),
                gpus=profile.gpus,
                gpu_name=f"NVIDIA {entry.profile}",
                gpu_memory_mib=profile.gpu_memory_mib,
            )
        )
    folder = settings.shared_folder if isinstance(settings, HostsSettings) else None
    if folder and folder.kind == "nfs" and folder.server and folder.export:
        machines.append(
            HostMachine(
                name=FILE_SERVER,
                address=folder.server,
                gpus=0,
                gpu_name="",
                gpu_memory_mib=0,
                exports=(folder.export,),
            )
        )
    return machines


def pinned(sandbox: Path, stack: str) -> dict[str, str]:
    """Node to the host key by which its machine is known: the first one, until a person takes another."""
    try:
        found: dict[str, str] = json.loads(_pinned(sandbox, stack).read_text())
    except (OSError, ValueError):
        return {}
    return found


def pin(sandbox: Path, stack: str, known: dict[str, str]) -> None:
    """Remember the host keys of a stack's machines, for as long as this sandbox runs."""
    file = _pinned(sandbox, stack)
    file.parent.mkdir(parents=True, exist_ok=True)
    hosts.write(file, known)


def _pinned(sandbox: Path, stack: str) -> Path:
    running = find(sandbox)
    identity = running.identity if running else "none"
    return sandbox / "host-keys" / identity / f"{stack}.json"
