"""What a sandbox's machines have on this computer, and how to remove it after any kind of end."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import namespace
from .commands import MachineError, run

STOP_SECONDS = 15
"""Longest wait for its processes to end before they are killed."""
_PAUSE_SECONDS = 0.05
_DETACH = 2  # MNT_DETACH


@dataclass(frozen=True)
class PrivateDocker:
    """The names of everything that belongs to the Docker of one sandbox."""

    directory: Path
    """Of the machines, inside the sandbox's directory."""

    @property
    def token(self) -> str:
        """What tells this sandbox from every other one on this computer."""
        return hashlib.sha256(str(self.directory).encode()).hexdigest()[:12]

    @property
    def namespace(self) -> str:
        """The network namespace."""
        return f"graphistry-{self.token}"

    @property
    def cgroup(self) -> str:
        """The parent of the control groups of all machines, without a slash."""
        return f"graphistry-{self.token}"

    @property
    def sockets(self) -> Path:
        """The folder of sockets and process ids."""
        return Path("/run", f"graphistry-{self.token}")

    @property
    def socket(self) -> Path:
        """Where the daemon answers."""
        return self.sockets / "docker.sock"

    @property
    def host(self) -> str:
        """The address for `docker -H`."""
        return f"unix://{self.socket}"

    @property
    def data(self) -> Path:
        """Images and containers."""
        return self.directory / "docker"


def clean(place: PrivateDocker) -> None:
    """Remove what a sandbox that was killed has left of its Docker; quick where there is nothing."""
    if not any(path.exists() for path in (place.sockets, namespace.path(place.namespace))):
        _discard_containers(place)
        return
    _end_processes(place)
    _unmount(place)
    release_disks(place.directory)
    namespace.remove(place.namespace)
    for folder in _cgroups(place):
        for inner, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                Path(inner).rmdir()
    shutil.rmtree(place.sockets, ignore_errors=True)
    _discard_containers(place)


def _discard_containers(place: PrivateDocker) -> None:
    """Containers that nobody removed would start again with the daemon: better to import anew."""
    containers = place.data / "containers"
    if containers.is_dir() and any(containers.iterdir()):
        shutil.rmtree(place.data, ignore_errors=True)


def _end_processes(place: PrivateDocker) -> None:
    """End the daemon, which ends its containers, and whatever is left of either."""
    deadline = time.monotonic() + STOP_SECONDS
    for process in _daemons(place):
        _signal(process, signal.SIGTERM)
    while list(_daemons(place)) and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
    deadline = time.monotonic() + STOP_SECONDS
    while (left := [*_daemons(place), *_contained(place)]) and time.monotonic() < deadline:
        for process in left:
            _signal(process, signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)


def _daemons(place: PrivateDocker) -> Iterator[int]:
    """dockerd, containerd and its shims: the programs that were told this sandbox's folder."""
    mark = str(place.sockets).encode()
    own = os.getpid()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == own:
            continue
        with contextlib.suppress(OSError):
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            program = Path(arguments[0].decode(errors="replace")).name
            ours = any(mark in argument for argument in arguments[1:])
            if program.startswith(("dockerd", "containerd")) and ours:
                yield int(folder.name)


def _contained(place: PrivateDocker) -> Iterator[int]:
    for folder in _cgroups(place):
        for inner, _, _ in os.walk(folder):
            with contextlib.suppress(OSError):
                yield from map(int, Path(inner, "cgroup.procs").read_text().split())


def _cgroups(place: PrivateDocker) -> list[Path]:
    root = Path("/sys/fs/cgroup")
    places = [root, *(each for each in root.iterdir() if each.is_dir())] if root.exists() else []
    return [each / place.cgroup for each in places if (each / place.cgroup).is_dir()]


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _unmount(place: PrivateDocker) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    roots = (f"{place.directory}/", f"{place.sockets}/")
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    for point in sorted((each for each in points if each.startswith(roots)), reverse=True):
        if library.umount2(os.fsencode(point), _DETACH) and ctypes.get_errno() != errno.EINVAL:
            raise MachineError(f"{point} cannot be unmounted: {os.strerror(ctypes.get_errno())}")


def release_disks(directory: Path) -> None:
    """Detach the loop devices whose files are in a directory."""
    listed = run(["losetup", "--json", "--list", "--output", "NAME,BACK-FILE"])
    for device in json.loads(listed or '{"loopdevices": []}')["loopdevices"]:
        if str(device.get("back-file") or "").startswith(f"{directory}/"):
            with contextlib.suppress(MachineError):
                run(["losetup", "--detach", device["name"]])
