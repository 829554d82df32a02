"""How full this machine's own disks are: root, the leader's data, Docker's,
containerd's, where newer versions of Docker have the images. Nothing here deletes anything."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.failures import Failure
from agent.machine import docker, systemd
from agent.machine.data_root import data_root
from agent.specification import AwsPlace, Specification

WARNING_PERCENT = 85
FULL_PERCENT = 95
"""ext4 itself keeps 5 % for root, which percentages here leave out, as those of df do."""
MEBIBYTE = 2**20
NOT_DISKS = ("overlay", "tmpfs")
"""What lies at / where the machine is itself a container or a live system: its room is not this machine's to judge."""


@dataclass(frozen=True)
class Disk:
    """One file system on a disk of this machine."""

    name: str
    path: str
    size_mib: int
    used_mib: int
    free_mib: int
    """For whoever is not root, as PostgreSQL is not."""

    @property
    def percent(self) -> float:
        """How much is used of what can be used."""
        return 100 * self.used_mib / max(self.used_mib + self.free_mib, 1)

    def described(self) -> dict[str, Any]:
        """As the node report has it."""
        return {
            "name": self.name,
            "path": self.path,
            "sizeMib": self.size_mib,
            "usedMib": self.used_mib,
            "freeMib": self.free_mib,
        }

    def __str__(self) -> str:
        free, size = self.free_mib / 1024, self.size_mib / 1024
        return f"{self.name} ({self.path}) is {int(self.percent)} % full, {free:.1f} of {size:.0f} GiB free"


def paths(specification: Specification) -> dict[str, str]:
    """The folders whose disks matter, by name; the data folder on the leader only."""
    found = {"root": "/"}
    if specification.runs_data_services:
        found["data"] = data_root(specification)
    return {**found, "docker": _docker_root(), "containerd": str(docker.containerd_root())}


def read(specification: Specification) -> list[Disk]:
    """The disks below those folders that are there, each once: where Docker's is the root disk, only that is here."""
    found: list[Disk] = []
    devices = set()
    for name, path in paths(specification).items():
        if not Path(path).is_dir() or systemd.mount_of(path)[1] in NOT_DISKS:
            continue
        device = Path(path).stat().st_dev
        if device not in devices:
            devices.add(device)
            found.append(_disk(name, path))
    return found


def warnings(disks: list[Disk]) -> list[str]:
    """A sentence for each disk that will soon be full."""
    return [str(each) for each in disks if each.percent >= WARNING_PERCENT]


def require_room(disks: list[Disk], specification: Specification) -> None:
    """Raises Failure DiskAlmostFull where services are about to be refused their next write."""
    full = [each for each in disks if each.percent >= FULL_PERCENT]
    if full:
        hint = "; ".join(_remedy(each.name, specification) for each in full)
        raise Failure("DiskAlmostFull", "; ".join(map(str, full)), hint=hint)


def _remedy(name: str, specification: Specification) -> str:
    """What makes room on a disk; a follower's takes its new size with its next machine."""
    if not isinstance(specification.place, AwsPlace):
        return f"free space on the host's {name} disk, or enlarge it and its file system"
    if name == "data":
        return "raise leader.dataVolume.sizeGib, `./cluster up`: the file system grows while it is used"
    return "free space (`docker system df` shows what Docker has), or raise rootVolumeGib of the profile"


def _disk(name: str, path: str) -> Disk:
    seen = os.statvfs(path)
    unit = seen.f_frsize
    return Disk(
        name,
        path,
        seen.f_blocks * unit // MEBIBYTE,
        (seen.f_blocks - seen.f_bfree) * unit // MEBIBYTE,
        seen.f_bavail * unit // MEBIBYTE,
    )


def _docker_root() -> str:
    """Where Docker's settings put its data; asking Docker itself would cost a process at every look."""
    try:
        settings = json.loads(Path(docker.SETTINGS).read_text())
        return str(settings.get("data-root") or docker.DOCKER)
    except (OSError, ValueError, AttributeError):
        return docker.DOCKER
