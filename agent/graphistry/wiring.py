"""Which data services each service of a node must use, which must use none, and what of that the release does not do.

No public document says how the release wires Redis in cluster mode, or on which addresses it publishes. So the merged
configuration is read, and compared with what the cluster needs.
"""

from __future__ import annotations

import json
import posixpath
from pathlib import Path
from typing import Any, Collection, Dict, Mapping, Sequence
from urllib.parse import urlsplit

from agent.containers.engine import Container
from agent.data import database_folder
from agent.failures import Failure
from agent.specification import Specification

LEADERS_REDIS = ("nexus", "forge-etl-python")
"""The services whose Redis is the leader's on every node; all others use the node's own."""
OWN_REDIS = (
    "dask-scheduler",
    "dask-cuda-worker",
    "streamgl-gpu",
    "streamgl-sessions",
    "streamgl-viz",
)
"""The other services that have a REDIS_URL in the vendor's Helm charts."""
NODE_REDIS = ("streamgl-gpu", "streamgl-sessions", "streamgl-viz")
"""Those of them that are programs of Node.js, for which the charts have NODE_REDIS_URL beside it."""
POSTGRES_CLIENTS = (*LEADERS_REDIS, "streamgl-sessions")
"""The services that ask PostgreSQL themselves, by the charts."""
WORKERS = {
    "forge-etl-python": "FORGE_NUM_WORKERS",
    "streamgl-gpu": "STREAMGL_NUM_WORKERS",
    "dask-cuda-worker": "DASK_NUM_WORKERS",
}
"""The service that must know each count."""
NEXUS_SECRETS = {
    "DJANGO_SECRET_KEY": "djangoSecretKey",
    "GRAPHISTRY_NEXUS_ENCRYPTION_KEYS": "nexusEncryptionKey",
    "GRAPHISTRY_NEXUS_SIGNING_KEY": "nexusSigningKey",
    "GRAPHISTRY_NEXUS_SIGNING_SALT": "nexusSigningSalt",
}
"""Variable to member of the secret: a nexus that makes its own reads nothing that another node has written."""
USERS_CODE = ("notebook", "graph-app-kit-public", "graph-app-kit-private")
"""The services that run any code of their users, and have neither Redis nor PostgreSQL (the vendor's Helm charts)."""
SECRETS = (
    "DATABASE_URL",
    "DJANGO_SECRET_KEY",
    "GRAPHISTRY_NEXUS_ENCRYPTION_KEYS",
    "GRAPHISTRY_NEXUS_SIGNING_KEY",
    "GRAPHISTRY_NEXUS_SIGNING_SALT",
    "NODE_REDIS_URL",
    "POSTGRES_PASSWORD",
    "REDIS_URL",
    "STREAMGL_SECRET_KEY",
)
"""Variables by which whoever reads them is the product: with `env_file: custom.env` a service has all of them."""
SNIFFING = "NET_RAW"
"""The capability with which a container takes the other services' packets on their bridge (ARP)."""
PUBLISHED = {"postgres": 5432, "redis": 6379}
"""Ports in the containers of the leader's data services."""
REDIS_CONFIGURATION = "/etc/redis/redis.conf"

Settings = Dict[str, Any]
"""What one service of a compose file should have: environment, ports, command, volumes, dropped capabilities."""


def wanted(
    specification: Specification,
    secret: Mapping[str, str],
    address: str,
    redis_file: Path,
    services: Mapping[str, Any],
    volumes: Mapping[str, list[dict[str, Any]]],
    *,
    withheld: Collection[str] = (),
) -> dict[str, Settings]:
    """The wiring of every service of this node that needs one; *volumes* are those that it must have besides,
    *withheld* are further variables that users' code has not."""
    found: dict[str, Settings] = {}
    for name, service in services.items():
        environment = environment_of(service)
        if name in USERS_CODE:
            emptied = {key: "" for key in (*SECRETS, *withheld) if key in environment}
            found[name] = {"environment": emptied, "cap_drop": [SNIFFING]}
            continue
        changed = _variables(specification, secret, name, environment)
        if changed:
            found[name] = {"environment": changed}
    if specification.runs_data_services:
        for name, port in PUBLISHED.items():
            endpoint = specification.postgres if name == "postgres" else specification.redis
            ports = [f"{address}:{endpoint.port}:{port}"]
            found.setdefault(name, {"environment": {}})["ports"] = ports
        redis = found["redis"]
        redis["environment"]["REDISCLI_AUTH"] = secret["redisPassword"]
        redis["command"] = _redis_command(services.get("redis", {}).get("command"))
        redis["volumes"] = [
            {
                "type": "bind",
                "source": str(redis_file),
                "target": REDIS_CONFIGURATION,
                "read_only": True,
            }
        ]
        found["postgres"]["volumes"] = database_folder.volumes(
            specification, services.get("postgres", {})
        )
    else:
        for name in PUBLISHED:
            if (services.get(name) or {}).get("ports"):
                found.setdefault(name, {"environment": {}})["ports"] = []
    for name, further in volumes.items():
        settings = found.setdefault(name, {"environment": {}})
        settings["volumes"] = [*settings.get("volumes", []), *further]
    return found


def _variables(
    specification: Specification, secret: Mapping[str, str], name: str, environment: dict[str, str]
) -> dict[str, str]:
    """A service's variables as they should be: those that it has, and those without which its code has a default of
    its own that is in no file of the release."""
    changed = {}
    if "REDIS_URL" in environment or name in (*LEADERS_REDIS, *OWN_REDIS):
        database = urlsplit(environment.get("REDIS_URL", "")).path or "/0"
        changed["REDIS_URL"] = _redis_url(specification, secret, name, database)
    if "NODE_REDIS_URL" in environment or name in NODE_REDIS:
        database = urlsplit(environment.get("NODE_REDIS_URL", "")).path
        changed["NODE_REDIS_URL"] = _redis_url(specification, secret, name, database)
    if "DATABASE_URL" in environment:
        changed["DATABASE_URL"] = _database_url(specification, secret, environment["DATABASE_URL"])
    is_client = name in POSTGRES_CLIENTS
    host, port = _postgres(specification)
    if is_client or ("POSTGRES_HOST" in environment and name != "postgres"):
        changed["POSTGRES_HOST"] = host
    if name != "postgres" and ("POSTGRES_PORT" in environment or (is_client and port != "5432")):
        changed["POSTGRES_PORT"] = port
    if is_client or name == "postgres" or "POSTGRES_PASSWORD" in environment:
        changed["POSTGRES_PASSWORD"] = secret["postgresPassword"]
    if name == "nexus":
        changed.update({key: secret[member] for key, member in NEXUS_SECRETS.items()})
    # A count or GPUs of another value are refused: somebody has written them.
    known = workers(specification, name).items()
    changed.update({key: value for key, value in known if environment.get(key, value) == value})
    return changed


def workers(specification: Specification, service: str) -> dict[str, str]:
    """The GPUs and the worker count that a service must know; none for one without."""
    if service not in WORKERS:
        return {}
    counts = {
        "FORGE_NUM_WORKERS": specification.forge_workers,
        "STREAMGL_NUM_WORKERS": specification.streamgl_workers,
        "DASK_NUM_WORKERS": specification.dask_workers,
    }
    variable = WORKERS[service]
    return {
        variable: str(counts[variable]),
        "CUDA_VISIBLE_DEVICES": specification.cuda_visible_devices,
    }


def missing(specification: Specification, services: Mapping[str, Any]) -> list[str]:
    """The services that a release needs to have by these names, and has not."""
    own = PUBLISHED if specification.runs_data_services else ("redis",)
    return sorted({*LEADERS_REDIS, *own} - set(services))


def differences(wanted: Mapping[str, Settings], services: Mapping[str, Any]) -> list[str]:
    """What the merged configuration has otherwise, as SERVICE.SETTING[.VARIABLE]; never a value."""
    found = []
    for name, settings in wanted.items():
        service = services.get(name, {})
        environment = environment_of(service)
        for key, value in settings["environment"].items():
            if environment.get(key) != value:
                found.append(f"{name}.environment.{key}")
        if "ports" in settings and _ports(service) != sorted(settings["ports"]):
            found.append(f"{name}.ports")
        if "command" in settings and service.get("command") != settings["command"]:
            found.append(f"{name}.command")
        if "cap_drop" in settings and not _drops(service, settings["cap_drop"]):
            found.append(f"{name}.cap_drop")
        if "volumes" in settings and not _has_volumes(service, settings["volumes"]):
            found.append(f"{name}.volumes")
    return found


def outdated(wanted: Mapping[str, Settings], containers: Sequence[Container]) -> list[str]:
    """What running containers have otherwise in their environment, in the words of `differences`: they may be older
    than the configuration."""
    found = []
    for each in containers:
        variables = wanted.get(each.service, {}).get("environment", {}) if each.process else {}
        for key, value in variables.items():
            # An image alone gives a container a PATH: one without any is not shown whole.
            if each.environment and each.environment.get(key, "") != value:
                found.append(f"{each.service}.environment.{key}")
    return sorted(set(found))


def override(wanted: Mapping[str, Settings], changes: list[str]) -> str:
    """The compose file that makes the *changes*, all of which are in *wanted*."""
    lines = ["# graphistry-cluster writes this file.", "services:"]
    for name, settings in sorted(wanted.items()):
        own = [change[len(name) + 1 :] for change in changes if change.startswith(f"{name}.")]
        if not own:
            continue
        lines.append(f"  {name}:")
        variables = [each.partition(".")[2] for each in own if each.startswith("environment.")]
        if variables:
            lines.append("    environment:")
            for key in sorted(variables):
                # Compose puts variables in: a dollar sign is written twice.
                value = settings["environment"][key].replace("$", "$$")
                lines.append(f"      {key}: {json.dumps(value)}")
        if "ports" in own:
            lines.append(f"    ports: !override {json.dumps(settings['ports'])}")
        if "command" in own:
            lines.append(f"    command: {json.dumps(settings['command'])}")
        if "cap_drop" in own:
            lines.append(f"    cap_drop: {json.dumps(settings['cap_drop'])}")
        if "volumes" in own:
            volumes = json.dumps(settings["volumes"]).replace("$", "$$")
            lines.append(f"    volumes: {volumes}")
    if len(lines) == 2:
        return ""
    return "\n".join(lines) + "\n"


def environment_of(service: Mapping[str, Any]) -> dict[str, str]:
    """A service's variables, of which some have no value."""
    found = service.get("environment") or {}
    return {key: "" if value is None else str(value) for key, value in found.items()}


def _redis_url(
    specification: Specification, secret: Mapping[str, str], service: str, database: str
) -> str:
    if specification.runs_data_services:
        return f"redis://:{secret['redisPassword']}@redis:6379{database}"
    if service in LEADERS_REDIS:
        endpoint = specification.redis
        return f"redis://:{secret['redisPassword']}@{endpoint.host}:{endpoint.port}{database}"
    return f"redis://redis:6379{database}"


def _redis_command(present: object) -> list[str]:
    """The release's own with our settings behind its flags, as the last word is Redis's; raises Failure."""
    words = [present] if isinstance(present, str) else [str(each) for each in present or ()]  # type: ignore[attr-defined]
    ours = ["--include", REDIS_CONFIGURATION]
    if words[-2:] == ours:
        words = words[:-2]
    if words in ([], ["redis-server"], ["redis-server", REDIS_CONFIGURATION]):
        return ["redis-server", REDIS_CONFIGURATION]
    if words[0].startswith("-"):
        words = ["redis-server", *words]  # as the image's entrypoint does
    if posixpath.basename(words[0]) != "redis-server":
        raise Failure(
            "ServicesUnknown",
            f"the service redis starts {words[0]}, and the agent cannot give that its settings",
            hint="start redis-server itself in the release's compose file",
        )
    return [*words, *ours]


def _postgres(specification: Specification) -> tuple[str, str]:
    """Host and port, as the services of this node see it."""
    if specification.runs_data_services:
        return "postgres", "5432"
    return specification.postgres.host, str(specification.postgres.port)


def _database_url(specification: Specification, secret: Mapping[str, str], present: str) -> str:
    parts = urlsplit(present)
    host = ":".join(_postgres(specification))
    user = parts.username or "graphistry"
    path = parts.path or "/graphistry"
    return f"{parts.scheme}://{user}:{secret['postgresPassword']}@{host}{path}"


def _ports(service: Mapping[str, Any]) -> list[str]:
    return sorted(
        f"{each.get('host_ip', '')}:{each.get('published', '')}:{each['target']}"
        for each in service.get("ports") or []
    )


def _drops(service: Mapping[str, Any], capabilities: list[str]) -> bool:
    dropped = {str(each).upper() for each in service.get("cap_drop") or []}
    dropped = {each[4:] if each.startswith("CAP_") else each for each in dropped}
    return "ALL" in dropped or dropped.issuperset(capabilities)


def _has_volumes(service: Mapping[str, Any], volumes: list[dict[str, Any]]) -> bool:
    present = [_from_to(each) for each in service.get("volumes") or []]
    return all(_from_to(each) in present for each in volumes)


def _from_to(volume: Mapping[str, Any]) -> tuple[str, object]:
    # Compose leaves `//` in a source, as of a variable that ends with a slash. An empty folder has none.
    return posixpath.normpath(str(volume.get("source", ""))), volume.get("target")
