"""A shared folder that an NFS server exports: the leader's own, or one that existed before."""

from __future__ import annotations

import shutil
import socket
import struct

from agent.failures import Failure
from agent.machine import packages, ports, systemd
from agent.machine.commands import Completed
from agent.specification import Nfs

PORT = 2049
OPTIONS = "_netdev,nfsvers=4,hard"
"""4: the newest of 4.2, 4.1 and 4.0 that the server has; appliances end at 4.1. All have one port for everything, so
that one firewall rule is enough. hard: a write waits for a server that restarts instead of being lost; whatever the
agent itself does there has a bound."""

_LAST_FRAGMENT = 1 << 31
_NULL = struct.pack(">10I", 1, 0, 2, 100003, 4, 0, 0, 0, 0, 0)
NULL_CALL = struct.pack(">I", _LAST_FRAGMENT | len(_NULL)) + _NULL
"""NFS's procedure 0, which does nothing and needs no right, as a call with no credentials (RFC 5531, RFC 7530)."""


def require_client() -> None:
    """Install the mount helper where the host has none; raises Failure NfsUtilsMissing."""
    if shutil.which("mount.nfs"):
        return
    done = packages.install("nfs-common", "nfs-utils")
    if not shutil.which("mount.nfs"):
        raise Failure("NfsUtilsMissing", "the NFS client cannot be installed", done.tail())


def mount(share: Nfs) -> Completed:
    """Try once to mount the export."""
    try:
        socket.getaddrinfo(share.server, PORT)
    except OSError as error:
        return Completed(1, "", f"{share.server}: {error.strerror}")
    if not answers(share.server):
        # mount.nfs itself would try for minutes.
        return Completed(1, "", f"{share.server} does not answer on port {PORT}")
    what = f"{share.server}:{share.export}"
    return systemd.mount(
        share.path, what, "nfs", OPTIONS, "remote-fs.target", systemd.AFTER_NETWORK
    )


def answers(server: str) -> bool:
    """Whether a server is at work: where one hangs, its kernel takes connections still, and nothing is ever said."""
    try:
        with socket.create_connection((server, PORT), timeout=ports.SECONDS) as connection:
            connection.sendall(NULL_CALL)
            return bool(connection.recv(1))
    except OSError:
        return False
