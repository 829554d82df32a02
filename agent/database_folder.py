"""Where the leader's PostgreSQL keeps its database and its backups: on the data volume, whatever the release says.

A release that keeps them in a volume of Docker's works until the machine or the release changes: then the cluster has a
new, empty database, and the kept one was never written.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any, Mapping, Sequence

from agent import systemd
from agent.disks import NETWORK_TYPES, POSTGRES_FOLDERS
from agent.engine import Container
from agent.failures import Failure, NotProvenError
from agent.specification import Specification

SERVICE = "postgres"
DATABASE, BACKUPS = POSTGRES_FOLDERS
USUAL = "/var/lib/postgresql/data"
"""Where the image has its database when PGDATA says nothing else."""


def volumes(specification: Specification, service: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The service's volumes as they should be: its database, and its backups where the release keeps some."""
    own = {str(each["target"]): each for each in service.get("volumes") or []}
    environment = service.get("environment") or {}
    database = str(environment.get("PGDATA") or USUAL)
    found = {_around(database, list(own)) or database: DATABASE}
    for target, volume in own.items():
        if target not in found and _keeps_backups(specification, volume):
            found[target] = BACKUPS
    return [
        {
            "type": "bind",
            "source": f"{specification.shared_folder}/{name}",
            "target": target,
            # Docker makes none: without the data volume no database starts.
            "bind": {"create_host_path": False},
        }
        for target, name in found.items()
    ]


def require_none_elsewhere(containers: Sequence[Container]) -> None:
    """Refuse to configure a PostgreSQL that has its database elsewhere, as its next container would not see it.

    Raises Failure DatabaseElsewhere. One in a folder of the right name is ours, by whatever path.
    """
    for each in containers:
        if each.service != SERVICE or each.state == "created":
            continue
        source = _database(each)
        if posixpath.basename(source) != DATABASE:
            raise Failure("DatabaseElsewhere", _words(each, source))


def look(specification: Specification, containers: Sequence[Container]) -> str:
    """Whether every running PostgreSQL has its database on the data volume; raises Failure DatabaseElsewhere, and
    NotProvenError where none runs."""
    running = [each for each in containers if each.service == SERVICE and each.process]
    for each in running:
        source = _database(each)
        if source != f"{specification.shared_folder}/{DATABASE}":
            raise Failure("DatabaseElsewhere", _words(each, source))
    if not running:
        raise NotProvenError("PostgreSQL does not run")
    return f"PostgreSQL keeps its files in {DATABASE} of the data volume"


def _keeps_backups(specification: Specification, volume: Mapping[str, Any]) -> bool:
    """Whether a volume is a folder for backups, as its name in the container says; scripts that make some are none."""
    name = posixpath.basename(posixpath.normpath(str(volume["target"]))).lower()
    kind = volume.get("type", "bind")
    if "backup" not in name or volume.get("read_only") or kind not in ("bind", "volume"):
        return False
    if kind == "volume":
        return True
    source = posixpath.normpath(str(volume.get("source", "")))
    is_shared = f"{source}/".startswith(f"{specification.shared_folder}/")
    # Whoever asks a file server that is gone waits for it.
    if not is_shared and not _is_on_network(source) and Path(source).exists():
        return Path(source).is_dir()
    return not posixpath.splitext(name)[1]


def _is_on_network(path: str) -> bool:
    return systemd.mount_of(path)[1] in NETWORK_TYPES


def _database(container: Container) -> str:
    """Where on this machine a container's database is; empty for one that is in the container itself."""
    place = container.environment.get("PGDATA") or USUAL
    sources = {each.target: each.source for each in container.mounts}
    target = _around(place, list(sources))
    return posixpath.normpath(sources[target]) if target else ""


def _around(path: str, targets: Sequence[str]) -> str | None:
    """The innermost of the mount points *targets* that *path* is in."""
    around = [each for each in targets if f"{path}/".startswith(f"{each.rstrip('/')}/")]
    return max(around, key=len, default=None)


def _words(container: Container, source: str) -> str:
    where = source or "the container itself"
    return (
        f"{container.service} of this release has its database in {where}, not on the data volume"
    )
