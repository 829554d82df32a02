"""The disk of each machine's own Docker: ext4 in a sparse file, as its kind of storage asks for.

A template that has the base of the stand-in release's images is made once per user and copied for every
machine, so that no machine loads it. This computer mounts the copy and a machine sees it as /var/lib/docker.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import docker.errors

from ..user_cache import built_once, cache
from . import image
from .commands import MachineError, run

BYTES = 128 * 1024**3
"""Size of a disk, in which two real releases would find their 72 GiB; what it really takes is what is written."""
SECONDS = 120
"""Bound on the making of the template; 8 s measured."""
IP_FORWARD = {"net.ipv4.ip_forward": "1"}
"""What a Docker asks of the kernel, and may not set by itself in a container."""

_FORMAT = ["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1"]
# No network, since it only loads; the machine's own Docker reads what this one has written.
_LOAD = """
dockerd --iptables=false --ip6tables=false --bridge=none >/tmp/said 2>&1 & daemon=$!
until docker version >/dev/null 2>&1; do kill -0 $daemon || { cat /tmp/said; exit 1; }; sleep 0.1; done
docker load -i /base.tar
kill $daemon
wait $daemon
"""


def template_file(archive: Path, base: Path) -> Path:
    """Where the template is, or would be: its name tells from which images it was made."""
    made = base.stat()
    recipe = (
        f"{archive.name} {base.name} {made.st_size} {made.st_mtime_ns} {_LOAD} {_FORMAT} {BYTES}"
    )
    return cache() / f"docker-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.img"


def make_template(client: Any, directory: Path, template: Path, base: Path) -> None:
    """Make the template in the cache unless it is there, in a container of the machines' image. Raises MachineError."""

    def make(draft: Path) -> None:
        discard(directory, "template")
        file = disk_file(directory, "template")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as empty:
            empty.truncate(BYTES)
        run([*_FORMAT, str(file)])
        _mount(directory, "template")
        _load(client, folder(directory, "template"), base)
        run(["sync", "--file-system", str(folder(directory, "template"))])
        _unmount(folder(directory, "template"))
        _copy(file, draft)
        discard(directory, "template")

    built_once(template, "docker", "the template of Docker's disks", make, logging.info)


def _load(client: Any, point: Path, base: Path) -> None:
    binds = {
        str(point): {"bind": "/var/lib/docker", "mode": "rw"},
        str(base): {"bind": "/base.tar", "mode": "ro"},
    }
    try:
        client.containers.run(
            f"{image.IMAGE}:latest",
            ["sh", "-e", "-c", _LOAD],
            auto_remove=True,
            cap_add=["SYS_ADMIN"],
            network_mode="none",
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            sysctls=IP_FORWARD,
            tmpfs={"/run": "exec"},
            volumes=binds,
        )
    except docker.errors.DockerException as error:
        words = getattr(error, "stderr", None) or str(error)
        raise MachineError(f"no Docker runs in a machine: {words}") from error


def renew(directory: Path, template: Path, machine: str) -> None:
    """Give a machine's Docker a new disk, and mount it."""
    discard(directory, machine)
    _copy(template, disk_file(directory, machine))
    _mount(directory, machine)


def disk_file(directory: Path, machine: str) -> Path:
    """Where the bytes of a machine's disk are."""
    return directory / "dockers" / f"{machine}.img"


def folder(directory: Path, machine: str) -> Path:
    """Where a machine's disk is mounted."""
    return disk_file(directory, machine).with_suffix("")


def discard(directory: Path, machine: str) -> None:
    """Remove a machine's disk, where it has one."""
    point = folder(directory, machine)
    if point.is_dir():
        if os.path.ismount(point):
            _unmount(point)
        point.rmdir()
    disk_file(directory, machine).unlink(missing_ok=True)


def discard_all(directory: Path) -> None:
    """Remove all disks, of which none is mounted any more."""
    shutil.rmtree(directory / "dockers", ignore_errors=True)


def _mount(directory: Path, machine: str) -> None:
    point = folder(directory, machine)
    point.mkdir(parents=True, exist_ok=True)
    run(["mount", "-o", "loop,noatime", str(disk_file(directory, machine)), str(point)])


def _unmount(point: Path) -> None:
    # At once, though a container that ends this moment may still see it.
    run(["umount", "--lazy", str(point)])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".docker-", dir=target.parent) as scratch:
        draft = Path(scratch, target.name)
        run(["cp", "--sparse=always", str(source), str(draft)])
        draft.replace(target)
