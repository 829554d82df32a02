"""Folders of the shared one that a container with the whole of it has no business in.

Such containers are open to whoever runs code by Dask, which asks nobody who he is. They would see what users keep on
every node, and on the leader the files of PostgreSQL and so the administrator's account. So an empty folder is mounted
over each, which nobody can write to or take away without being an administrator of the machine (CAP_SYS_ADMIN).
"""

from __future__ import annotations

import posixpath
from typing import Any, Iterator, Mapping

from agent.folders import inside, shared_files
from agent.folders.inside import Folder
from agent.folders.node_folder import NODES, Volume
from agent.machine.data_root import POSTGRES_FOLDERS
from agent.node import Node

FOLDERS = (NODES, *POSTGRES_FOLDERS)


def find(node: Node) -> None:
    """Look which of them there are. Raises Failure where the shared folder does not answer."""
    names = FOLDERS if node.specification.runs_data_services else (NODES,)
    node.hidden = tuple(name for name in names if _is_there(node, name))


def volumes(node: Node, services: Mapping[str, Any]) -> dict[str, list[Volume]]:
    """The empty folders over them that services with the whole shared folder need, by service."""
    found: dict[str, list[Volume]] = {}
    for service, settings in services.items():
        present = settings.get("volumes") or []
        # What a service itself mounts at such a place, it is to have.
        own = {str(each.get("target")) for each in present if each.get("type") != "tmpfs"}
        for target in _whole(node, present):
            places = {f"{target}/{name}" for name in node.hidden} - own
            if places:
                found.setdefault(service, []).extend(map(_empty, sorted(places)))
    return found


def _is_there(node: Node, name: str) -> bool:
    shared = shared_files.place(node.specification)
    try:
        return inside.has_folder(Folder(shared.mount, posixpath.join(shared.below, name)))
    except OSError as error:
        raise shared_files.failure(node, "cannot be read", error) from error


def _whole(node: Node, present: list[Volume]) -> Iterator[str]:
    """Where a service sees the whole shared folder."""
    for each in present:
        # Compose leaves `//` in a source, as of a variable that ends with a slash.
        source = posixpath.normpath(str(each.get("source", "")))
        if source == node.specification.shared_folder:
            yield str(each["target"]).rstrip("/")


def _empty(target: str) -> Volume:
    return {"type": "tmpfs", "target": target, "read_only": True}
