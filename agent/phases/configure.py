"""Phase configure: the release's own files say what this node is; what they cannot say goes into an override.

Only what is wrong is changed, and whether it took is read back from the merged configuration.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.containers import (
    compose_files,
)
from agent.containers.compose import Compose
from agent.data import (
    database_folder,
    redis_users,
)
from agent.failures import Failure
from agent.folders import (
    hidden_folders,
    links,
    node_folder,
)
from agent.graphistry import (
    customization,
    wiring,
)
from agent.graphistry.custom_env import quoted, with_block
from agent.graphistry.vendor import UNIT_NAME
from agent.machine.data_root import POSTGRES_FOLDERS, data_root
from agent.machine.files import opened, read_plain, write_private
from agent.machine.systemd import write_unit
from agent.node import HOME, MARK, Node
from agent.phases import (
    shared_folder,
)
from agent.specification import HostPlace, Specification

UNIT = f"""# {MARK}
[Unit]
Description=Graphistry, as graphistry-cluster configures it
Requires=docker.service
After=docker.service network-online.target
Wants=network-online.target
{{mounts}}

[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory={{folder}}
{{environment}}
ExecStart={{command}}
TimeoutStartSec=900
KillMode=process

[Install]
WantedBy=multi-user.target
"""


def configure(node: Node) -> None:
    """Make the release's configuration that of this node. Raises Failure where the release ignores it."""
    compose = Compose(node.folder, may_make=True)
    place = node.folder / "data" / "config"
    place.mkdir(parents=True, exist_ok=True)
    customization.find_edits(node)
    # Services that run as other users have parts of `data`.
    with opened(place) as config:
        write_private(config / "cluster.env", cluster_env(node.specification))
        _write_block(
            config / "custom.env",
            custom_variables(node.specification, node.secret, node.secret_env),
        )
    customization.put(node)
    earlier = _earlier_changes(node)
    _require_known(node, compose)
    node_folder.take(node, compose)
    hidden_folders.find(node)
    # Before anything is copied: whatever is cut off in between, no service begins with a folder of the machine's.
    _write_override(node, compose, earlier)
    node_folder.fill(node, compose)
    links.close(node)  # what the node's own folder has now
    services = compose.services()
    _require_variables(node.specification, services)
    _write_unit(node, compose)


def cluster_env(specification: Specification) -> str:
    """The vendor's four variables of cluster mode."""
    # Where the data services are elsewhere, the release has those of a follower: none, on the leader too.
    is_release_leader = specification.runs_data_services
    host = "postgres" if is_release_leader else specification.postgres.host
    return (
        f"# {MARK} writes this file.\n"
        "ENABLE_CLUSTER_MODE=true\n"
        f"NODE_TYPE={'leader' if is_release_leader else 'follower'}\n"
        f"LOCAL_DATASET_CACHE_DIR={specification.shared_folder}/\n"
        f"POSTGRES_HOST={host}\n"
    )


def custom_variables(
    specification: Specification, secret: dict[str, str], secret_env: dict[str, str]
) -> dict[str, str]:
    """What the agent sets in custom.env: GPUs and workers of this node, secrets of the cluster, and what the stack file
    says beside them, in plain and in *secret_env*."""
    told = {**specification.variables, **secret_env}
    return {
        **{name: quoted(value) for name, value in told.items()},
        "CUDA_VISIBLE_DEVICES": specification.cuda_visible_devices,
        "FORGE_NUM_WORKERS": str(specification.forge_workers),
        "STREAMGL_NUM_WORKERS": str(specification.streamgl_workers),
        "DASK_NUM_WORKERS": str(specification.dask_workers),
        # The shared folder holds all nodes' sessions: a node that restarts must not clear the others'.
        "CLEAR_LOCAL_SESSION_CACHE_ON_STARTUP": "false",
        "POSTGRES_PASSWORD": secret["postgresPassword"],
        **{name: secret[member] for name, member in wiring.NEXUS_SECRETS.items()},
        "STREAMGL_SECRET_KEY": secret["streamglSecretKey"],
    }


def _write_block(file: Path, variables: dict[str, str]) -> None:
    try:
        text = read_plain(file)
    except FileNotFoundError:
        text = ""
    write_private(file, with_block(text, variables))


def redis_file() -> Path:
    """Redis's configuration on the leader, in a folder that only root enters."""
    return HOME / "redis.conf"


def wanted_wiring(node: Node, services: dict[str, Any]) -> dict[str, wiring.Settings]:
    """The wiring of this node's services."""
    volumes = hidden_folders.volumes(node, services)
    for service, kept in node_folder.volumes(node, services).items():
        volumes.setdefault(service, []).extend(kept)
    return wiring.wanted(
        node.specification,
        node.secret,
        node.address,
        redis_file(),
        services,
        volumes,
        withheld=node.secret_env,
    )


def _write_override(node: Node, compose: Compose, earlier: list[str]) -> None:
    file = _override_file(node)
    if node.specification.runs_data_services:
        # Only root enters HOME; in the container, Redis's own user reads it.
        write_private(redis_file(), redis_users.configuration(node.secret), 0o644)
    services = compose.services()
    wanted = wanted_wiring(node, services)
    needed = sorted(
        {
            *wiring.differences(wanted, services),
            *(each for each in earlier if _is_wanted(each, wanted)),
        }
    )
    text = wiring.override(wanted, needed)
    # The record first: an override whose changes nobody knows would seem to be the release's own.
    write_private(_record(), json.dumps({**_place(node), "changes": needed}))
    if text:
        write_private(file, text)
    elif file.exists():
        file.unlink()
    before = _images(services)
    services = compose.services()
    left = wiring.differences(wanted, services)
    if left and not compose_files.remembered(node.folder) and compose.call_directly():
        services = compose.services()
        if _images(services).items() >= before.items():
            left = wiring.differences(wanted, services)
        else:
            compose_files.forget(node.folder)  # its command line knows what its files do not say
    if left:
        raise Failure(
            "ComposeOverrideIgnored",
            f"after {file.name} was written, the release still has its own {', '.join(left)}",
        )


def _override_file(node: Node) -> Path:
    """Ours: the usual one, or one beside somebody else's."""
    usual, second = (node.folder / name for name in (compose_files.OVERRIDE, compose_files.SECOND))
    if compose_files.is_somebody_elses(usual):
        return second
    if second.exists():
        second.unlink()  # the other one is gone
    return usual


def _images(services: dict[str, Any]) -> dict[str, str]:
    return {name: str(each.get("image")) for name, each in services.items()}


def _record() -> Path:
    return HOME / "override.json"


def _place(node: Node) -> dict[str, str]:
    """Of which release and which folder an override is."""
    return {"release": str(node.folder), "nodeFolder": node_folder.path(node.specification)}


def _earlier_changes(node: Node) -> list[str]:
    """What the override already changes: with it in effect, the configuration looks right by itself.

    One of a time before another release or folder goes, as what it changes is found anew.
    """
    file, here = _override_file(node), _place(node)
    if not file.exists():
        return []
    try:
        document = json.loads(_record().read_text())
        changes: list[str] = document["changes"]
        # Before nodes had folders, none was recorded.
        recorded = {"nodeFolder": here["nodeFolder"], **document}
        is_of_here = here.items() <= recorded.items()
    except (OSError, ValueError, LookupError):
        is_of_here = False
    if is_of_here and changes:
        return changes
    file.unlink()
    return []


def _is_wanted(change: str, wanted: dict[str, wiring.Settings]) -> bool:
    name, _, setting = change.partition(".")
    kind, _, variable = setting.partition(".")
    settings = wanted.get(name, {})
    return variable in settings.get(kind, {}) if variable else kind in settings


def _require_known(node: Node, compose: Compose) -> None:
    """Refuse what would work wrongly: other services than the agent knows, and data where nobody keeps them."""
    specification, services = node.specification, compose.services()
    unknown = wiring.missing(specification, services)
    if unknown:
        raise Failure(
            "ServicesUnknown",
            f"the release has no service {', '.join(unknown)}; it has {', '.join(sorted(services))}",
        )
    if not any(shared_folder.holders(node, services).values()):
        raise Failure("ConfigurationIgnored", shared_folder.no_holder(node))
    if specification.runs_data_services:
        database_folder.require_none_elsewhere(specification, compose.containers())
        # On AWS, the machine's image may have begun one at boot that is nobody's.
        if isinstance(specification.place, HostPlace):
            database_folder.require_no_volume(specification, compose.project())


def _require_variables(specification: Specification, services: dict[str, Any]) -> None:
    """Refuse where another file of the release overrules what custom.env says."""
    problem = variable_problem(specification, services)
    if problem:
        raise Failure("ConfigurationIgnored", problem)


def variable_problem(specification: Specification, services: dict[str, Any]) -> str | None:
    """What the services have otherwise than the specification; None where all is right."""
    for service in wiring.WORKERS:
        environment = wiring.environment_of(services.get(service, {}))
        for name, value in wiring.workers(specification, service).items():
            if environment.get(name, value) != value:
                return f"{service} has {name}={environment[name]}, wanted is {value}"
    if not specification.runs_data_services and "postgres" in services:
        return "this node's configuration has a PostgreSQL of its own"
    return None


def reads_custom_env(wanted: dict[str, wiring.Settings]) -> bool:
    """Whether the release hands on what custom.env says: a secret, which nobody guesses, is in a service that the
    override does not give it. What cannot be told counts as read."""
    try:
        changes = set(json.loads(_record().read_text())["changes"])
    except (OSError, ValueError, LookupError):
        return True
    return any(
        f"{service}.environment.{name}" not in changes
        for service, settings in wanted.items()
        for name in ("POSTGRES_PASSWORD", *wiring.NEXUS_SECRETS)
        if settings["environment"].get(name)  # withheld ones are empty
    )


def _write_unit(node: Node, compose: Compose) -> None:
    paths = [node.specification.shared_folder]
    if node.specification.runs_data_services:
        own = f"{paths[0]}/"
        paths += [data_root(node.specification), *(own + name for name in POSTGRES_FOLDERS)]
    mounts = "\n".join(f"RequiresMountsFor={path}" for path in paths)
    words, variables = compose.start_command()
    command = " ".join(json.dumps(word) if " " in word else word for word in words)
    environment = "\n".join(f'Environment="{key}={value}"' for key, value in variables.items())
    text = UNIT.format(
        mounts=mounts,
        folder=node.folder,
        command=command.replace("%", "%%"),
        environment=environment.replace("%", "%%"),
    )
    write_unit(UNIT_NAME, text)
