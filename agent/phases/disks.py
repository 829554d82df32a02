"""Phase disks: where the leader's PostgreSQL keeps its data, and where Docker keeps its images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.failures import Failure
from agent.folders import shared_files
from agent.machine import aws_disks, disk_growth, systemd
from agent.machine.data_root import DATA, NETWORK_TYPES, POSTGRES_FOLDERS, data_root
from agent.machine.files import write_private
from agent.node import Node
from agent.specification import Specification

DOCKER_VOLUMES = "docker_volumes"
"""On the data volume, what a leader's containers keep in Docker's volumes, where Docker's data is on a local disk."""
MARKER = ".graphistry-cluster.json"
GUARD = "nothing-is-mounted-here"
"""A file in the shared folder's own places for PostgreSQL, seen only while the data volume does not lie over them: a
PostgreSQL that Docker starts too early finds no empty folder, and makes no new database in it (initdb refuses)."""


def disks(node: Node) -> None:
    """Have the leader's data volume or folder; move Docker to a local disk where that is wanted."""
    specification = node.specification
    if specification.data_volume is not None:
        aws_disks.mount_data_volume(specification.data_volume, DATA)
    if specification.data_folder is not None:
        _make_data_folder(Path(specification.data_folder))
    if specification.runs_data_services:
        root = Path(data_root(specification))
        _claim(root, specification.cluster)
        for name in POSTGRES_FOLDERS:
            (root / name).mkdir(exist_ok=True)
    if specification.use_local_disks:
        lasts = specification.data_volume is not None
        aws_disks.use_local_disk(node, Path(DATA) / DOCKER_VOLUMES if lasts else None)
    # Before a release is fetched, which may be what the root disk was enlarged for; the watch looks again.
    disk_growth.follow_disks(node, growing(specification))


def growing(specification: Specification) -> list[str]:
    """The mount points whose disks AWS may enlarge."""
    return ["/", *([DATA] if specification.data_volume is not None else [])]


def bind_postgres_folders(node: Node) -> None:
    """Lay the data volume's folders over the shared folder's, so that PostgreSQL is never on the latter."""
    root = data_root(node.specification)
    for name in POSTGRES_FOLDERS:
        target = f"{node.specification.shared_folder}/{name}"
        if systemd.mounted(target):
            continue
        shared_files.make_guarded(node, name, GUARD)
        tied = f"RequiresMountsFor={root}\nRequiresMountsFor={node.specification.shared_folder}"
        # _netdev: a mount that lies on a network's and is itself ordered as a local one closes a circle at boot,
        # which systemd opens by leaving out whatever it likes.
        options = "bind,_netdev"
        done = systemd.mount(target, f"{root}/{name}", "none", options, "remote-fs.target", tied)
        if not systemd.mounted(target):
            raise Failure("DataVolumeUnusable", f"{target} cannot be bound", done.tail())


def unbound(node: Node) -> list[str]:
    """PostgreSQL's folders over which nothing lies: a container that starts now would have the shared folder's."""
    if not node.specification.runs_data_services:
        return []
    targets = [f"{node.specification.shared_folder}/{name}" for name in POSTGRES_FOLDERS]
    return [each for each in targets if systemd.mounted(each) is None]


def _make_data_folder(folder: Path) -> None:
    """A folder on a disk of this host's own."""
    _, kind = systemd.mount_of(str(folder))
    if kind in NETWORK_TYPES:
        raise Failure(
            "DataVolumeUnusable", f"{folder} is on {kind}: PostgreSQL needs a disk of this host"
        )
    # What is in it is for its containers: they are given the folders below, not the way there.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _claim(folder: Path, cluster: str) -> None:
    """Mark the volume as this cluster's; raises Failure where it is another's."""
    marker = folder / MARKER
    if marker.exists():
        try:
            owner: Any = json.loads(marker.read_text())["cluster"]
        except (ValueError, LookupError, TypeError):
            owner = "an unreadable marker"
    else:
        strangers = sorted(
            each.name
            for each in folder.iterdir()
            if each.name != "lost+found" and not each.name.startswith(f".{MARKER}")
        )
        if strangers:
            raise Failure(
                "DataVolumeForeign",
                f"the data volume has files of something else ({', '.join(strangers[:5])})"
                f" and no marker {MARKER}; it was not touched",
            )
        write_private(marker, json.dumps({"cluster": cluster}))
        owner = cluster
    if owner != cluster:
        raise Failure(
            "DataVolumeForeign",
            f"the data volume belongs to cluster {owner}, this node to {cluster}; it was not touched",
        )
