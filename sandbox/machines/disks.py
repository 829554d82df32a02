"""Disks of machines: sparse files as loop devices, under the names that Linux gives them on EC2.

The file of a volume lives as long as the volume exists in the API, so a machine that replaces
another finds its data. Device nodes are made inside the container, whose /dev is its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import inside
from .commands import MachineError, run
from .container import has_local_disk
from .inventory import Machine

LOCAL_DISK_BYTES = 4 * 1024**3
"""Size of the instance store, whatever the type's real one is."""
Disks = dict[str, tuple[Path, int]]
"""Device name -> file and size in bytes."""
_FOLDER = "/dev/disk/by-id"


def volume_file(directory: Path, volume: str) -> Path:
    """Where the bytes of a volume are."""
    return directory / "volumes" / f"{volume}.img"


def local_file(directory: Path, machine: str) -> Path:
    """Where the bytes of a machine's instance store are."""
    return directory / "volumes" / f"{machine}-local.img"


def wanted(directory: Path, machine: Machine) -> Disks:
    """The disks that a machine shall have."""
    disks = {
        f"nvme-Amazon_Elastic_Block_Store_{volume.identifier.replace('-', '')}": (
            volume_file(directory, volume.identifier),
            volume.size_gib * 1024**3,
        )
        for volume in machine.volumes
    }
    if has_local_disk(machine.instance_type):
        serial = hashlib.sha256(machine.identifier.encode()).hexdigest()[:17].upper()
        name = f"nvme-Amazon_EC2_NVMe_Instance_Storage_AWS{serial}"
        disks[name] = (local_file(directory, machine.identifier), LOCAL_DISK_BYTES)
    return disks


def attach(file: Path, size: int) -> str:
    """The loop device of a file, made and grown as needed; a disk never shrinks."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    grown = file.stat().st_size < size
    if grown:
        os.truncate(file, size)
    device = devices().get(file)
    if device is None:
        return run(["losetup", "--find", "--show", str(file)]).strip()
    if grown:
        run(["losetup", "--set-capacity", device])
    return device


def detach(file: Path) -> None:
    """Take a file's loop device away, where there is one."""
    if device := devices().get(file):
        run(["losetup", "--detach", device])


def devices() -> dict[Path, str]:
    """The loop device of each file that has one."""
    listed = run(["losetup", "--json", "--list", "--output", "NAME,BACK-FILE"])
    found = json.loads(listed or '{"loopdevices": []}')["loopdevices"]
    return {Path(each["back-file"]): str(each["name"]) for each in found if each["back-file"]}


def show(client: Any, container: str, nodes: Mapping[str, str]) -> None:
    """Make exactly these nodes in a running container: device name -> loop device."""
    lines = [f"mkdir -p {_FOLDER}", f"rm -f {_FOLDER}/nvme-*"]
    for name, device in sorted(nodes.items()):
        number = os.minor(Path(device).stat().st_rdev)
        lines.append(f"mknod -m 660 {_FOLDER}/{shlex.quote(name)} b 7 {number}")
    done = inside.execute(client, container, ["sh", "-ec", "\n".join(lines)])
    if done.returncode:
        raise MachineError(f"disks of {container}: {done.stderr.decode(errors='replace').strip()}")


def discard(file: Path) -> None:
    """Remove a disk and its bytes, where there is one."""
    if file.exists():
        detach(file)
        file.unlink()
