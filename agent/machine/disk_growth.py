"""File systems that follow their disks: AWS enlarges a disk in use, and nothing on it becomes larger by itself.

cloud-init grows the root partition at boot only, and no other disk.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from agent.limits import RETRY_LAST
from agent.machine import packages, systemd
from agent.machine.commands import Completed, run
from agent.machine.systemd import Mount
from agent.node import Node
from agent.specification import AwsPlace

BLOCK_DEVICES = Path("/sys/dev/block")
SLACK_SECTORS = 2048
"""What may stay free behind a partition, as growpart's own --fudge has it: 1 MiB, in which GPT has its second table.
The sectors of /sys have 512 bytes, whatever those of the disk have."""
GROW_SECONDS = 600
"""resize2fs writes group descriptors: seconds for a terabyte, longer on a busy disk."""
KINDS = ("ext2", "ext3", "ext4", "xfs")


@dataclass(frozen=True)
class Attempt:
    """The last time that a file system was grown; *problem* is None where it was."""

    sectors: int
    """Of the disk."""
    at: float
    """By the monotonic clock."""
    problem: str | None


_attempts: dict[str, Attempt] = {}
"""By mount point, of this process: growing what has its size already does nothing."""


def follow_disks(node: Node, paths: list[str]) -> list[str]:
    """Grow the file systems that are mounted at *paths* to the size of their disks; what did not succeed, in words.

    A look costs two small reads where nothing has changed. Disks of hosts are their owners'.
    """
    if not isinstance(node.specification.place, AwsPlace):
        return []
    found = [_follow(path) for path in paths]
    return [each for each in found if each]


def _follow(path: str) -> str | None:
    mount = systemd.mount_at(path)
    if mount is None or mount.kind not in KINDS:
        return None
    device = (BLOCK_DEVICES / mount.device).resolve()
    partition = device / "partition"
    disk = device.parent if partition.exists() else device
    size = _sectors(disk)
    if size is None:
        return None
    last = _attempts.get(path)
    if last and last.sectors == size:
        is_over = last.problem is None or time.monotonic() - last.at < RETRY_LAST
        if is_over:
            return last.problem
    problem = _grow(path, mount, device, disk)
    _attempts[path] = Attempt(size, time.monotonic(), problem)
    if problem:
        print(problem, flush=True)
    return problem


def _grow(path: str, mount: Mount, device: Path, disk: Path) -> str | None:
    """Grow the partition, where there is one, then the file system; what went wrong."""
    if disk != device and _room_behind(device, disk) > SLACK_SECTORS:
        done = _grow_partition(device, disk)
        if not done.succeeded:
            return _problem(f"the partition {device.name} of {path} does not grow", done)
    before = _size_gib(path)
    if mount.kind == "xfs":
        done = run(["xfs_growfs", "-d", path], seconds=GROW_SECONDS)
    else:
        done = run(["resize2fs", str(_node(mount, device))], seconds=GROW_SECONDS)
    if not done.succeeded:
        return _problem(f"the file system at {path} does not grow to its disk", done)
    after = _size_gib(path)
    if after != before:
        print(f"the file system at {path} has grown: {before:.1f} to {after:.1f} GiB", flush=True)
    return None


def _grow_partition(device: Path, disk: Path) -> Completed:
    """growpart moves GPT's second table to the new end of the disk, too, and tells the kernel of a disk in use."""
    number = (device / "partition").read_text().strip()
    words = ["growpart", f"/dev/{disk.name}", number]
    done = run(words, seconds=60)
    if done.status == 127:
        packages.install("cloud-guest-utils", "cloud-utils-growpart")
        done = run(words, seconds=60)
    return done


def _room_behind(device: Path, disk: Path) -> int:
    """Sectors between the end of a partition and that of its disk."""
    start = int((device / "start").read_text())
    return (_sectors(disk) or 0) - start - (_sectors(device) or 0)


def _node(mount: Mount, device: Path) -> Path:
    """The device's file: the root's is mounted as /dev/root, which is none."""
    named = Path("/dev") / device.name
    return named if named.exists() else Path(mount.source)


def _sectors(device: Path) -> int | None:
    try:
        return int((device / "size").read_text())
    except (OSError, ValueError):
        return None


def _size_gib(path: str) -> float:
    try:
        seen = os.statvfs(path)
    except OSError:
        return 0.0
    return seen.f_blocks * seen.f_frsize / 2**30


def _problem(what: str, done: Completed) -> str:
    return f"{what}: {' '.join(done.tail()[-1:]) or f'status {done.status}'}"
