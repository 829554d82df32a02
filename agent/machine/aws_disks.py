"""Disks of a machine of AWS: the leader's volume, and NVMe disks that come with the instance type."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from agent import limits
from agent.failures import Failure
from agent.machine import docker, systemd
from agent.machine.commands import require, run
from agent.node import Node

BY_ID = Path("/dev/disk/by-id")
DOCKER_ROOT = "/var/lib/graphistry-docker"
INSTANCE_STORE = Path("/opt/dlami/nvme")
"""Where AWS's Deep Learning AMIs mount the local disks, all as one, at each boot."""
MEBIBYTE = 1024 * 1024


def mount_data_volume(volume: str, path: str) -> None:
    """Mount the volume at *path*, formatted where it is new."""
    if systemd.mounted(path) is not None:
        return
    device = _wait_for(BY_ID / f"nvme-Amazon_Elastic_Block_Store_{volume.replace('-', '')}")
    kind = _kind(device) or _formatted(device, "graphistry-data")
    Path(path).mkdir(parents=True, exist_ok=True)
    done = systemd.mount(path, str(device), kind, "defaults,noatime", "multi-user.target")
    if systemd.mounted(path) is None:
        raise Failure(
            "DataVolumeUnusable", f"{device} cannot be mounted", systemd.mount_log(path, done)
        )


def _wait_for(device: Path) -> Path:
    """The device once it is there: a volume is attached after its instance has started."""
    end = time.monotonic() + limits.PATIENCE
    while not device.exists():
        if time.monotonic() > end:
            found = sorted(each.name for each in BY_ID.glob("nvme-Amazon_Elastic*")) or ["none"]
            raise Failure(
                "DataVolumeMissing",
                f"{device.name} was not attached within {limits.PATIENCE:g} s; attached: {', '.join(found)}",
            )
        print(f"waiting: {device} is not there yet", flush=True)
        time.sleep(2)
    return device


def _kind(device: Path) -> str | None:
    """The file system on *device*; None where nothing at all is on it. Raises Failure for anything else."""
    seen = signature(device)
    if "TYPE" in seen and seen.get("USAGE", "filesystem") == "filesystem":
        return seen["TYPE"]
    if seen or not _starts_with_zeros(device):
        raise Failure(
            "DataVolumeForeign",
            f"{device.name} has no file system, yet it is not empty"
            f" ({seen.get('TYPE') or seen.get('PTTYPE') or 'unknown content'}); it was not touched",
        )
    return None


def _formatted(device: Path, label: str) -> str:
    """The file system that is made on an empty *device*."""
    require(
        "DataVolumeUnusable",
        f"{device} cannot be formatted",
        ["mkfs.ext4", "-q", "-L", label, str(device)],
        seconds=600,
    )
    return "ext4"


def signature(device: Path) -> dict[str, str]:
    """What blkid recognizes on a device, by its names (TYPE, PTTYPE, LABEL, …); empty for nothing."""
    done = run(["blkid", "-p", "-o", "export", str(device)])
    if done.status not in (0, 2):
        raise Failure("DataVolumeUnusable", f"{device} cannot be examined", done.tail())
    if done.status == 2 and done.errors.strip():
        # Several signatures at once, or a device that cannot be read: 2 as well, and not empty.
        return {"TYPE": done.errors.strip().splitlines()[-1], "USAGE": "unknown"}
    pairs = [line.partition("=") for line in done.output.splitlines()]
    return {name: value for name, _, value in pairs if value}


def _starts_with_zeros(device: Path) -> bool:
    with device.open("rb") as stream:
        return not any(stream.read(MEBIBYTE))


def _first_disk() -> Path | None:
    """The first of the machine's own NVMe disks; None where it has none."""
    found = sorted(BY_ID.glob("nvme-Amazon_EC2_NVMe_Instance_Storage_*"))
    return next((each for each in found if "-part" not in each.name), None)


def is_usable() -> bool:
    """Whether this machine has a local disk that Docker may have."""
    if systemd.mounted(DOCKER_ROOT) or systemd.mounted(str(INSTANCE_STORE)):
        return True
    device = _first_disk()
    if device is None:
        return False
    try:
        _kind(device)
    except Failure:
        return False
    return True


def use_local_disk(node: Node, volumes: Path | None) -> None:
    """Docker's data on the machine's local disks, which are other and empty ones after each stop of the instance.

    But for its volumes, where *volumes* names a place for them that lasts.
    """
    report = node.report
    if node.specification.release_source == "preinstalled":
        report.check("localDisk", True, "not used: the image has its containers on the root disk")
        return
    has_volumes = volumes is None or systemd.mounted(_volumes()) is not None
    if systemd.mounted(DOCKER_ROOT) is not None and not has_volumes:
        _require_room(volumes)
        # Docker goes on with volumes on the local disk until it is stopped, and containers without Docker may.
        running = run(["docker", "ps", "--quiet"]).output.split()
        if running:
            words = ["docker", "stop", "--time", "60", *running]
            require("LocalDiskUnusable", "containers cannot be stopped", words, seconds=600)
        docker.stop()
        try:
            _lay_volumes(volumes)
        finally:
            docker.ensure_running()
    if systemd.mounted(DOCKER_ROOT) is None:
        try:
            source, options = _local_disk()
        except Failure as failure:
            report.check("localDisk", True, f"not used: {failure.message}")
            return
        if source is None:
            report.check("localDisk", True, "the machine has none; images are on the root disk")
            return
        # At boot Docker has begun with what is below; and no unit mounts it, which would wait for a disk that is gone.
        docker.stop()
        Path(DOCKER_ROOT).mkdir(parents=True, exist_ok=True)
        done = run(["mount", *options, str(source), DOCKER_ROOT], seconds=60)
        if systemd.mounted(DOCKER_ROOT) is not None:
            _lay_volumes(volumes)
        docker.write_settings(_with_data_root)
        docker.ensure_running()
        if systemd.mounted(DOCKER_ROOT) is None:
            raise Failure("LocalDiskUnusable", f"{source} cannot be mounted", done.tail())
    docker.configure(_with_data_root)
    report.check("localDisk", True, f"Docker's data is in {DOCKER_ROOT}")


def _volumes() -> str:
    """Where Docker has its volumes on the local disk."""
    return f"{DOCKER_ROOT}/volumes"


def _require_room(volumes: Path | None) -> None:
    """Raise Failure where what Docker's volumes have does not go onto the disk that lasts; nothing was stopped yet."""
    if volumes is None or volumes.exists():
        return
    words = ["du", "-s", "-B1", _volumes()]
    said = require("LocalDiskUnusable", f"{_volumes()} cannot be read", words, seconds=600)
    size = int(said.split()[0])
    free = shutil.disk_usage(volumes.parent).free
    if size > free:
        raise Failure(
            "LocalDiskUnusable",
            f"Docker's volumes have {size // MEBIBYTE} MiB, and {volumes.parent} has {free // MEBIBYTE} MiB free",
            hint="enlarge leader.dataVolume.sizeGib, and do not end the machine: it has the volumes' only copy",
        )


def _lay_volumes(volumes: Path | None) -> None:
    """Lay the place that lasts over that of Docker's volumes, once with what they have; Docker does not run. Raises
    Failure."""
    if volumes is None:
        return
    what = f"{volumes} cannot be laid over {_volumes()}"
    Path(_volumes()).mkdir(mode=0o701, exist_ok=True)
    if not volumes.exists():
        partial = volumes.with_name(f"{volumes.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            require("LocalDiskUnusable", what, ["cp", "-a", _volumes(), str(partial)], seconds=3600)
            require("LocalDiskUnusable", what, ["sync", "-f", str(partial)], seconds=600)
        except Failure:
            shutil.rmtree(partial, ignore_errors=True)  # PostgreSQL needs the room
            raise
        partial.rename(volumes)
    require("LocalDiskUnusable", what, ["mount", "--bind", str(volumes), _volumes()], seconds=60)


def _local_disk() -> tuple[Path | None, list[str]]:
    """What to mount for Docker, and how; None on a machine without local disks. Raises Failure for a disk in use."""
    if systemd.mounted(str(INSTANCE_STORE)):
        folder = INSTANCE_STORE / "graphistry-docker"
        folder.mkdir(mode=0o711, exist_ok=True)
        return folder, ["--bind"]
    device = _first_disk()
    if device is not None and _kind(device) is None:
        _formatted(device, "graphistry-local")
    return device, ["-o", "noatime"]


def _with_data_root(settings: dict[str, Any]) -> dict[str, Any]:
    # Newer Docker has its images elsewhere, in containerd's store, unless it is told not to.
    features = {**(settings.get("features") or {}), "containerd-snapshotter": False}
    return {**settings, "data-root": DOCKER_ROOT, "features": features}
