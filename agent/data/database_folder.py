"""Where the leader's PostgreSQL keeps its database and its backups: on the data volume, whatever the release says.

A release that keeps them in a volume of Docker's works until the machine or the release changes: then the cluster has a
new, empty database, and the kept one was never written.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any, Mapping, Sequence

from agent.containers import engine
from agent.containers.compose_files import PROJECT_LABEL, is_of
from agent.containers.engine import Container, EngineError
from agent.failures import Failure, NotProvenError
from agent.machine import systemd
from agent.machine.data_root import NETWORK_TYPES, POSTGRES_FOLDERS, data_root
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


def require_none_in(specification: Specification, folders: Sequence[Path]) -> None:
    """Refuse to end the containers of releases in *folders*, running or not, where a PostgreSQL among them has its
    database elsewhere: with them goes what says where that is.

    Raises Failure DatabaseElsewhere, and DockerUnavailable where nobody can tell.
    """
    try:
        found = engine.all_projects()
    except EngineError as error:
        raise Failure("DockerUnavailable", str(error)) from error
    own = [each for each in found if any(is_of(folder, each.labels) for folder in folders)]
    # Compose ends what has the project's name, of whatever folder.
    projects = {each.labels.get(PROJECT_LABEL) for each in own} | {each.name for each in folders}
    ended = [each for each in found if each.labels.get(PROJECT_LABEL) in projects or each in own]
    require_none_elsewhere(specification, ended)


def require_none_elsewhere(specification: Specification, containers: Sequence[Container]) -> None:
    """Refuse a PostgreSQL that has its database elsewhere than on the data volume, as its next container would not see
    it. Raises Failure DatabaseElsewhere."""
    for each in containers:
        if each.service != SERVICE or each.state == "created":
            continue
        source = _database(each)
        if not _is_on_data_volume(specification, source):
            raise Failure("DatabaseElsewhere", _words(each, source))


def require_no_volume(specification: Specification, project: str) -> None:
    """Refuse to begin a database where the project has one in a volume of Docker's, whose container somebody has
    removed: `docker compose down` keeps volumes.

    Raises Failure DatabaseElsewhere, and DockerUnavailable where nobody can tell.
    """
    if _has_database(Path(data_root(specification), DATABASE)):
        return
    try:
        found = engine.volumes(project)
    except EngineError as error:
        raise Failure("DockerUnavailable", str(error)) from error
    kept = [f"{name} ({path})" for name, path in sorted(found.items()) if _has_database(Path(path))]
    if kept:
        raise Failure(
            "DatabaseElsewhere",
            f"Docker's volume {', '.join(kept)} has a database of {project}, and the data volume none",
        )


def _has_database(folder: Path) -> bool:
    """Whether a PostgreSQL has begun its files in a folder, or a little below it, as PGDATA says."""
    return any(any(folder.glob(f"{depth}PG_VERSION")) for depth in ("", "*/", "*/*/"))


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


def _is_on_data_volume(specification: Specification, source: str) -> bool:
    """Whether *source* is the data volume's folder, or the shared one below it, by whatever path."""
    own = posixpath.normpath(f"{data_root(specification)}/{DATABASE}")
    above = posixpath.normpath(f"{specification.shared_folder}/{DATABASE}")
    if source == above:
        return systemd.mounted(above) is not None
    if source == own or not source or _is_on_network(source):
        return source == own
    try:
        return Path(source).samefile(own)
    except OSError:
        return False


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
