"""A host as a container: Linux, SSH and sudo, GPUs as its owner says, and nothing of AWS."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping

from ..release.build import Release
from . import container, file_server, hosts, operator_key
from .container import Shape, Surroundings
from .files import write
from .hosts import USER, HostMachine

UNITS = "sandbox-ssh.service"


def describe(around: Surroundings, stack: str, machine: HostMachine) -> None:
    """Write the folder that the machine's stand-ins read, when it is new or the GPUs changed.

    Between two such changes a test may write there what it likes.
    """
    name = hosts.container(stack, machine.name)
    own = container.folder(around, name)
    description = own / "machine.json"
    asked = [machine.gpus, machine.gpu_name, machine.gpu_memory_mib]
    if description.exists() and json.loads(description.read_text())["asked"] == asked:
        return
    own.mkdir(parents=True, exist_ok=True)
    container.set_traps(around, f"{stack}-{machine.name}", own)
    key = file_server.make_key(around.directory)
    shutil.copyfile(key, own / "nfs_key")
    (own / "nfs_key").chmod(0o600)
    shutil.copyfile(key.with_suffix(".pub"), own / "nfs_key.pub")
    described = {
        "name": machine.name,
        "container": name,
        "address": machine.address,
        "asked": asked,
        "driver": container.DRIVER,
        "gpus": container.same_gpus(name, machine.gpus, machine.gpu_name, machine.gpu_memory_mib),
        "nvml": "ok",
    }
    write(description, described)


def boot(
    around: Surroundings,
    stack: str,
    machine: HostMachine,
    network: str,
    labels: Mapping[str, str],
) -> None:
    """Make and start the container of a machine that has a folder. Docker's errors pass through."""
    container.run(
        around,
        Shape(
            name=hosts.container(stack, machine.name),
            host_name=machine.name,
            network=network,
            address=machine.address,
            labels=labels,
            resolver="# no name server: hosts know each other by address\n",
            files=_files(around, machine),
            release=Release.named(machine.release),
        ),
    )


def _files(around: Surroundings, machine: HostMachine) -> dict[str, tuple[str, int]]:
    """What tells a host from the image: who may come in, and what it serves."""
    environment = container.of_the_agent()
    key = operator_key.public_key(around.sandbox)
    folders = [
        f"d /home/{USER}/.ssh 0700 {USER} {USER}",
        f"f /home/{USER}/.ssh/authorized_keys 0600 {USER} {USER} - {key} operator",
        *(f"d {folder} 0755 root root" for folder in machine.exports),
    ]
    units = [UNITS, *(["nfs-server.service"] if machine.exports else [])]
    exports = "".join(
        f"{folder} {hosts.block(machine.address)}(rw,no_root_squash,no_subtree_check)\n"
        for folder in machine.exports
    )
    return {
        "etc/cloud/cloud-init.disabled": ("", 0o644),
        "etc/exports": (exports, 0o644),
        "etc/sudoers.d/90-owner": (
            f'{USER} ALL=(ALL) NOPASSWD:ALL\nDefaults env_keep += "{container.AGENT_PREFIX}*"\n',
            0o440,
        ),
        # what sessions see of the agent's settings; its service sees the other file's
        "etc/environment": ("".join(f"{n}={v}\n" for n, v in environment.items()), 0o644),
        "etc/tmpfiles.d/sandbox.conf": ("\n".join(folders) + "\n", 0o644),
        "etc/systemd/system/multi-user.target.d/sandbox.conf": (
            f"[Unit]\nWants={' '.join(units)}\n",
            0o644,
        ),
        **container.environment_of_services(environment),
    }
