"""Where the leader's PostgreSQL keeps its data: a volume or a folder of this machine's own disks."""

from __future__ import annotations

from agent.specification import Specification

POSTGRES_FOLDERS = ("postgresql_data", "postgres_backups")
NETWORK_TYPES = ("nfs", "nfs4", "cifs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs")
"""File systems on which PostgreSQL must not be."""
DATA = "/mnt/graphistry-data"
"""Where the data volume is mounted, where there is one."""


def data_root(specification: Specification) -> str:
    """The folder that holds the leader's PostgreSQL."""
    return specification.data_folder or DATA
