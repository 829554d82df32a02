"""EFS as far as a machine can tell: a server at each mount target's address, over SSH's SFTP.

All mount targets of a file system export the same volume at /export. The kernel's NFS server cannot
run in a container, and what matters is that it is a network file system with real failures.
"""

from __future__ import annotations

from pathlib import Path

import docker.errors

from . import image
from .commands import run
from .container import Surroundings, remove
from .inventory import FileServer

PORT = 2049
"""The port of NFS, so that the rules of EFS apply."""

_SCRIPT = f"""set -e
mkdir -p /run/sshd /root/.ssh /export
ssh-keygen -q -t ed25519 -N '' -f /run/host_key
cp /etc/graphistry-sandbox-key.pub /root/.ssh/authorized_keys
chmod 700 /root/.ssh; chmod 600 /root/.ssh/authorized_keys
exec /usr/sbin/sshd -D -e -f /dev/null -p {PORT} -h /run/host_key -o PasswordAuthentication=no \
    -o Subsystem='sftp internal-sftp' -o MaxStartups=100 -o UseDNS=no
"""


def make_key(directory: Path) -> Path:
    """The key by which machines reach the servers, one per sandbox."""
    key = directory / "efs_key"
    if not key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sandbox", "-f", str(key)])
    return key


def create(around: Surroundings, server: FileServer) -> None:
    """Make and start a server."""
    public = around.directory / "efs_key.pub"
    api = around.client.api
    binds = {
        server.file_system: {"bind": "/export", "mode": "rw"},
        str(public): {"bind": "/etc/graphistry-sandbox-key.pub", "mode": "ro"},
    }
    created = api.create_container(
        f"{image.IMAGE}:latest",
        ["/bin/sh", "-c", _SCRIPT],
        name=server.identifier,
        hostname=server.identifier,
        labels={"vpc": server.vpc, "name": server.file_system},
        volumes=[each["bind"] for each in binds.values()],
        stop_signal="SIGTERM",
        host_config=api.create_host_config(
            binds=binds,
            cgroup_parent=f"/{around.cgroup}",
            network_mode=server.vpc,
            restart_policy={"Name": "always"},
            tmpfs={"/run": ""},
        ),
        networking_config=api.create_networking_config(
            {server.vpc: api.create_endpoint_config(ipv4_address=server.address)}
        ),
    )
    try:
        api.start(created["Id"])
    except docker.errors.APIError:
        remove(around, server.identifier)
        raise
