"""The merged configuration of a release folder, with what cluster mode makes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .compose import finished, merge, merge_into_nothing, read_compose
from .variables import read_variables

CONFIGURATION = ("telemetry.env", "custom.env", "cluster.env")
"""In data/config; a later file wins."""


def read_project(release: Path, traps: Mapping[str, Any]) -> dict[str, Any]:
    """The project as `config` shows it. Raises ValueError with what cannot be read or makes no sense."""
    variables = release_variables(release)
    is_cluster = variables.get("ENABLE_CLUSTER_MODE", "false").lower() == "true"
    role = variables.get("NODE_TYPE", "leader") if is_cluster else "single"
    if role not in ("leader", "follower", "single"):
        raise ValueError(f"NODE_TYPE {role!r} in cluster.env: leader or follower is expected")
    if traps.get("redisEverywhereLeader") and role == "follower":
        variables["REDIS_URL"] = f"redis://{variables.get('POSTGRES_HOST')}:6379/0"
    project = read_compose(release / "docker-compose.yml", variables)
    if is_cluster:
        project = merge(project, _cluster(role, variables))
    override = release / "docker-compose.override.yml"
    if override.is_file() and not traps.get("overrideIgnored"):
        project = merge(project, merge_top(read_compose(override, variables)))
    services = project["services"]
    if role == "follower":
        del services["postgres"]
    for name, service in services.items():
        if "image" not in service:
            raise ValueError(
                f'service "{name}" has neither an image nor a build context specified: invalid'
                " compose project"
            )
        if role == "follower" and "depends_on" in service:
            waited = service["depends_on"]
            kept = (item for item in waited if item != "postgres")
            service["depends_on"] = (
                {item: waited[item] for item in kept} if isinstance(waited, dict) else list(kept)
            )
        services[name] = finished(service, release, variables)
    shown = {key: value for key, value in project.items() if not key.startswith("x-")}
    return {"name": "graphistry", **shown}


def merge_top(override: dict[str, Any]) -> dict[str, Any]:
    """An override file of which empty parts are left out, as `services:` without a service."""
    return {key: value for key, value in override.items() if value is not None}


def release_variables(release: Path) -> dict[str, str]:
    """The variables of a release: its version, .env, and the files of data/config."""
    names = ("VERSION", "CUDA_SHORT_VERSION")
    variables = {name: (release / name).read_text().strip() for name in names}
    for path in (release / ".env", *(release / "data/config" / name for name in CONFIGURATION)):
        variables |= read_variables(path, variables)
    return variables


def _cluster(role: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """What cluster mode adds: database files below the dataset folder, and an open port of the leader."""
    folder = variables.get("LOCAL_DATASET_CACHE_DIR", "/opt/graphistry/data").rstrip("/")
    postgres: dict[str, Any] = {
        "volumes": [
            f"{folder}/postgresql_data:/var/lib/postgresql/data",
            f"{folder}/postgres_backups:/backups",
        ]
    }
    if role == "leader":
        postgres["ports"] = ["5432:5432"]  # the vendor's: on every address of the machine
    found: dict[str, Any] = merge_into_nothing({"services": {"postgres": postgres}})
    return found
