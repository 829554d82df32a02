"""A machine as a container: made, started, stopped and removed."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors
import docker.types

from model.gpu_catalogue import read_catalogue

from ..release.build import Release
from . import docker_disk, image, metadata
from .availability import CAPABILITIES, capability_bound
from .commands import MachineError
from .files import write
from .firewall import METADATA
from .inventory import Machine

DRIVER = "595.58.03"
"""The NVIDIA driver that the stand-in shows; Graphistry runs with it in both CUDA flavours (its Helm charts)."""
AGENT_PREFIX = "GRAPHISTRY_CLUSTER_"
"""Of the variables that a machine inherits from the sandbox."""
BASE_IMAGE = "/usr/lib/graphistry-sandbox/base-image.tar"
"""Where a machine sees the archive of the image that its Docker always has."""
STOP_SECONDS = 5
"""What a machine has for an orderly end."""

_HAS_RELEASE = {"etc/graphistry-sandbox-release": ("", 0o644)}
"""Tells a machine to load the images of the release that it came with, once."""
_DEVICES = ("/dev/fuse", "/dev/net/tun")
"""The second is what WireGuard needs where it is no part of the kernel."""
_SYS_RESOURCE = 24
"""Its number in capabilities(7)."""

_CATALOGUE = read_catalogue()

# What nvidia-smi says where AWS has another name or counts another memory, in MiB.
_SHOWN: dict[str, tuple[str, int]] = {
    "T4": ("Tesla T4", 15360),
    "A10G": ("NVIDIA A10G", 23028),
    "L4": ("NVIDIA L4", 23034),
    "L40S": ("NVIDIA L40S", 46068),
    "H100": ("NVIDIA H100 80GB HBM3", 81559),
    "H200": ("NVIDIA H200", 143771),
}


def _capabilities() -> tuple[str, ...]:
    """What root of a machine has beyond Docker's default: what its own Docker needs to mount, to make networks and to
    look at its containers, and to grow a mounted ext4 if this computer's may.

    Docker starts no container with a capability that it lacks itself.
    """
    may_grow = capability_bound() >> _SYS_RESOURCE & 1
    return (*CAPABILITIES, "SYS_RESOURCE") if may_grow else tuple(CAPABILITIES)


_CAPABILITIES = _capabilities()


@dataclass(frozen=True)
class Surroundings:
    """What every machine of a sandbox shares."""

    client: Any
    """The Docker."""
    sandbox: Path
    """The sandbox's directory."""
    directory: Path
    """Of the machines."""
    cgroup: str
    aws_port: int
    """Of the AWS API, on every gateway."""
    docker_template: Path
    """What the disk of every machine's own Docker is copied from."""
    base_image: Path
    """The archive of the image that every machine's Docker has."""


def gateway(block: str) -> str:
    """The first address of a VPC, at which AWS itself is."""
    return str(ipaddress.ip_network(block)[1])


def folder(around: Surroundings, identifier: str) -> Path:
    """What a machine sees as /etc/graphistry-sandbox."""
    return around.directory / identifier


def said(around: Surroundings, identifier: str) -> str:
    """What a machine said while it booted, and why it could not."""
    log = folder(around, identifier) / "console.log"
    return log.read_text(errors="replace") if log.exists() else ""


def append_to_console(around: Surroundings, identifier: str, text: str) -> None:
    """Add to what a machine said, where there is such a machine."""
    own = folder(around, identifier)
    if own.is_dir():
        with (own / "console.log").open("a") as file:
            file.write(text)


def create(around: Surroundings, machine: Machine, block: str) -> None:
    """Make and start the container of a machine that has a folder. Docker's errors pass through."""
    at = gateway(block)
    run(
        around,
        Shape(
            name=machine.identifier,
            host_name=metadata.host_name(machine.address),
            network=machine.vpc,
            address=machine.address,
            labels={"vpc": machine.vpc, "name": machine.name},
            resolver=f"nameserver {at}\noptions timeout:1 attempts:2\n",
            files=_files(around, at),
            release=machine.release,
            mac=machine.mac,
        ),
    )


@dataclass(frozen=True)
class Shape:
    """What tells one machine's container from another's."""

    name: str
    host_name: str
    network: str
    address: str
    labels: Mapping[str, str]
    resolver: str
    """Text of /etc/resolv.conf."""
    files: Mapping[str, tuple[str, int]]
    """Path -> text and mode, of root's, on the image's file system."""
    release: Release | None
    """What it comes with."""
    mac: str | None = None


def run(around: Surroundings, shape: Shape) -> None:
    """Make and start a container that boots systemd. Docker's errors pass through."""
    api, own = around.client.api, folder(around, shape.name)
    (own / "resolv.conf").write_text(shape.resolver)
    binds = {
        str(docker_disk.folder(around.directory, shape.name)): {
            "bind": "/var/lib/docker",
            "mode": "rw",
        },
        str(around.base_image): {"bind": BASE_IMAGE, "mode": "ro"},
        str(own): {"bind": "/etc/graphistry-sandbox", "mode": "rw"},
        str(own / "resolv.conf"): {"bind": "/etc/resolv.conf", "mode": "ro"},
        "/sys/fs/cgroup": {"bind": "/sys/fs/cgroup", "mode": "rw"},
    }
    created = api.create_container(
        f"{image.IMAGE}:latest",
        name=shape.name,
        hostname=shape.host_name,
        mac_address=shape.mac,
        labels=dict(shape.labels),
        volumes=[each["bind"] for each in binds.values()],
        stop_signal="SIGRTMIN+3",
        host_config=api.create_host_config(
            binds=binds,
            cap_add=list(_CAPABILITIES),
            cgroup_parent=f"/{around.cgroup}",
            cgroupns="host",
            device_cgroup_rules=["b 7:* rmw"],
            devices=[f"{each}:{each}:rwm" for each in _DEVICES if Path(each).exists()],
            network_mode=shape.network,
            restart_policy={"Name": "always"},  # so that a machine can reboot itself
            # Docker's profiles forbid to mount, and what its own Docker needs to start a container
            security_opt=["apparmor=unconfined", "seccomp=unconfined"],
            sysctls=docker_disk.IP_FORWARD,
            tmpfs={"/run": "exec", "/run/lock": "", "/tmp": "exec"},  # noqa: S108, the machine's
        ),
        networking_config=api.create_networking_config(
            {shape.network: api.create_endpoint_config(ipv4_address=shape.address)}
        ),
    )
    try:
        if shape.release is not None:
            api.put_archive(created["Id"], "/", image.release_archive(shape.release))
            api.put_archive(created["Id"], "/", image.archive_of(_HAS_RELEASE))
        api.put_archive(created["Id"], "/", image.archive_of(shape.files))
        docker_disk.renew(around.directory, around.docker_template, shape.name)
        api.start(created["Id"])
    except (docker.errors.APIError, MachineError):
        remove(around, shape.name)
        raise


def remove(around: Surroundings, identifier: str) -> None:
    """End a machine and forget all it wrote."""
    with suppress(docker.errors.NotFound):
        around.client.api.remove_container(identifier, force=True, v=True)
    docker_disk.discard(around.directory, identifier)


def forget(around: Surroundings, identifier: str) -> None:
    """Remove a machine's folder."""
    shutil.rmtree(folder(around, identifier), ignore_errors=True)


def describe(around: Surroundings, machine: Machine) -> None:
    """Write the folder that the machine's stand-ins read, when it is new or its name or type changed.

    Between two such changes a test may write there what it likes.
    """
    own = folder(around, machine.identifier)
    description = own / "machine.json"
    if description.exists():
        present = json.loads(description.read_text())
        if (present["name"], present["instanceType"]) == (machine.name, machine.instance_type):
            return
    own.mkdir(parents=True, exist_ok=True)
    described = {
        "instanceId": machine.identifier,
        "instanceType": machine.instance_type,
        "zone": machine.zone,
        "address": machine.address,
        "name": machine.name,
        "driver": DRIVER,
        "gpus": gpus(machine.identifier, machine.instance_type),
        "nvml": "ok",
    }
    write(description, described)
    set_traps(around, machine.name, own)
    key = own / "efs_key"
    shutil.copyfile(around.directory / "efs_key", key)
    key.chmod(0o600)


def set_traps(around: Surroundings, name: str, own: Path) -> None:
    """Give a machine's folder the faults that a test has prepared for it, or for all."""
    traps = around.sandbox / "traps"
    for source in (traps / f"{name}.json", traps / "all.json"):
        if source.exists():
            shutil.copyfile(source, own / "traps.json")
            break


def gpus(identifier: str, instance_type: str) -> list[dict[str, Any]]:
    """The GPUs of a machine of a type, as nvidia-smi shows them; none for a type without."""
    row = _CATALOGUE.get(instance_type)
    if row is None:
        return []
    name, memory = _SHOWN.get(row.gpu_name, (f"NVIDIA {row.gpu_name}", row.gpu_memory_mib))
    return same_gpus(identifier, row.gpus, name, memory)


def same_gpus(identifier: str, count: int, name: str, memory_mib: int) -> list[dict[str, Any]]:
    """That many GPUs of one kind, as the stand-in for nvidia-smi reads them."""
    return [
        {
            "index": index,
            "uuid": f"GPU-{uuid.uuid5(uuid.NAMESPACE_OID, f'{identifier}/{index}')}",
            "name": name,
            "memoryMib": memory_mib,
        }
        for index in range(count)
    ]


def has_local_disk(instance_type: str) -> bool:
    """Whether a machine of a type comes with instance store."""
    row = _CATALOGUE.get(instance_type)
    return row is not None and row.local_disk_gb > 0


def _files(around: Surroundings, at: str) -> dict[str, tuple[str, int]]:
    """The files by which a machine finds its AWS: nothing else differs from a real one."""
    environment = {
        "AWS_ENDPOINT_URL": f"http://{at}:{around.aws_port}",
        **of_the_agent(),
    }
    cloud = {
        "datasource": {
            "Ec2": {
                "metadata_urls": [f"http://{METADATA}"],
                "strict_id": False,
                "apply_network_config": False,
                "max_wait": 60,
                "timeout": 5,
            }
        }
    }
    return {
        **environment_of_services(environment),
        # JSON is YAML
        "etc/cloud/cloud.cfg.d/91_sandbox.cfg": (f"#cloud-config\n{json.dumps(cloud)}\n", 0o644),
    }


def of_the_agent() -> dict[str, str]:
    """The settings of the agent that were given to the sandbox.

    A stand-in's images hold next to nothing, and the disk of a machine is this computer's.
    """
    found = os.environ.items()
    given = {name: value for name, value in sorted(found) if name.startswith(AGENT_PREFIX)}
    return {f"{AGENT_PREFIX}FREE_GIB": "1", **given}


def environment_of_services(environment: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """The file by which every service of a machine sees these variables."""
    # a percent sign would be one of systemd's own abbreviations
    words = " ".join(f'"{name}={value}"'.replace("%", "%%") for name, value in environment.items())
    text = f"[Manager]\nDefaultEnvironment={words}\n"
    return {"etc/systemd/system.conf.d/sandbox.conf": (text, 0o644)}
