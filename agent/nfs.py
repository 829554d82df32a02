"""A shared folder that an NFS server exports: the leader's own, or one that existed before."""

from __future__ import annotations

import shutil

from agent import packages, ports, systemd
from agent.commands import Completed
from agent.failures import Failure
from agent.specification import Nfs

PORT = 2049
OPTIONS = "_netdev,nfsvers=4,hard,nosuid,nodev"
"""4: the newest of 4.2, 4.1 and 4.0 that the server has; appliances end at 4.1. All have one port for everything, so
that one firewall rule is enough. hard: a write waits for a server that restarts instead of being lost; whatever the
agent itself does there has a bound. nosuid, nodev: root of another node may write to the folder, and must not become
root here by what it leaves in it."""


def require_client() -> None:
    """Install the mount helper where the host has none; raises Failure NfsUtilsMissing."""
    if shutil.which("mount.nfs"):
        return
    done = packages.install("nfs-common", "nfs-utils")
    if not shutil.which("mount.nfs"):
        raise Failure("NfsUtilsMissing", "the NFS client cannot be installed", done.tail())


def mount(share: Nfs) -> Completed:
    """Try once to mount the export."""
    if not server_answers(share):
        # mount.nfs itself would try for minutes.
        return Completed(1, "", f"{share.server} takes no connection on port {PORT}")
    what = f"{share.server}:{share.export}"
    return systemd.mount(
        share.path, what, "nfs", OPTIONS, "remote-fs.target", systemd.AFTER_NETWORK
    )


def server_answers(share: Nfs) -> bool:
    """Whether the server takes connections."""
    return ports.is_open(share.server, PORT)
