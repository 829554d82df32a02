"""A shared folder that somebody else mounts on every host: it is only looked at, never mounted or unmounted."""

from __future__ import annotations

from agent.machine import systemd
from agent.machine.commands import Completed, run
from agent.specification import MountedPath

BOUND_SECONDS = 15


def is_mounted(share: MountedPath) -> bool:
    """Whether the folder is on a mount of its own; on the root file system it would be this host's alone."""
    point, kind = systemd.mount_of(share.path)
    return point != "/" and kind != "autofs"


def wait_for(share: MountedPath) -> Completed:
    """Let an automounter mount it."""
    done = run(["stat", share.path], seconds=BOUND_SECONDS)
    if is_mounted(share):
        return done
    return Completed(1, "", f"{share.path} is on the root file system: nothing is mounted there")
