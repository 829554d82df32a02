"""The node specification: the JSON document that says what one node should be.

The Pulumi program writes it, the node agent reads it. Neither imports the other, so the document
has a schema of its own, `node_specification.schema.json`, that the tests of both sides use. It
names the secret but never holds it: the document is readable in the bucket and in Pulumi's state.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from model import tunnel
from model.gpu_catalogue import CATALOGUE
from model.settings.hosts import SharedFolder
from model.settings.image import MountHelper
from model.settings.sections import Release
from model.workers import GpuAllocation

SCHEMA_VERSION = 1
SCHEMA_FILE = Path(__file__).with_name("node_specification.schema.json")

# The ports on which Graphistry's own PostgreSQL and Redis containers listen; the vendor's cluster
# guide has followers reach PostgreSQL on this one.
POSTGRES_PORT = 5432
REDIS_PORT = 6379

SHARED_FOLDER_PATH = "/mnt/graphistry"

INSTALLED_AGENT = "/opt/graphistry-cluster/agent.pyz"
"""Where a node's agent runs from, on every site."""

SENT_RELEASE = "/opt/graphistry-cluster/release.sent"
"""Where a host gets a release of the operator's computer first; the agent moves it away."""

RUN_AGENT = f"/usr/bin/python3 {INSTALLED_AGENT}"
"""The agent's command line, for root."""

STORE = "/var/lib/graphistry-cluster"
"""What a host keeps when it is no node any more."""
DATA_FOLDER = f"{STORE}/data"
EXPORTED_FOLDER = f"{STORE}/shared"

Role = Literal["leader", "follower"]


class Endpoint(TypedDict):
    """Where one data service of the leader answers."""

    host: str
    port: int


NODES = "nodes/"
"""Below it each node has a folder in the bucket."""


def node_prefix(node: str) -> str:
    """Where one node's documents are kept in the bucket."""
    return f"{NODES}{node}/"


def specification_key(node: str) -> str:
    """Where the program keeps a node's specification in the bucket, and its agent looks for it."""
    return f"{node_prefix(node)}specification.json"


def report_key(node: str) -> str:
    """Where a node's agent keeps the node report in the bucket."""
    return f"{node_prefix(node)}report.json"


def replacement_key(node: str) -> str:
    """Where a follower keeps its wish for another machine, which the other followers may read."""
    return f"{node_prefix(node)}replacement.json"


def aws_specification(
    *,
    cluster: str,
    node: str,
    joined_stack: str | None,
    role: Role,
    region: str,
    bucket: str,
    agent_key: str,
    agent_sha256: str,
    postgres: Endpoint,
    redis: Endpoint,
    file_system_id: str,
    mount_targets: Mapping[str, str],
    data_volume_id: str | None,
    instance_types: Sequence[str],
    gpu: GpuAllocation,
    release: Release,
    secret_arn: str,
    followers_secret_arn: str | None,
    use_local_disks: bool,
    containers_use_role: bool,
    mount_helper: MountHelper | None,
    configuration: Mapping[str, object],
    secret_env: Mapping[str, str] | None,
) -> dict[str, object]:
    """The document of one node on AWS, ready for `canonical_json`.

    All values are plain: resolve Pulumi outputs first. *joined_stack* is the stack of a follower whose
    leader another stack has, *followers_secret_arn* is the leader's to fill, *configuration* what
    `model.settings.configuration.document` makes, *secret_env* has the `arn` of the secret variables and the
    `version` of their values, None where there are none. Raises `ValueError` unless exactly the leader comes with a
    data volume.
    """
    if (role == "leader") != (data_volume_id is not None):
        raise ValueError(f"{node} is a {role}: the leader has a data volume, a follower has none")
    return {
        **_of_every_site(cluster, node, joined_stack, role, postgres, redis),
        "site": {
            "kind": "aws",
            "region": region,
            "bucket": bucket,
            "reportKey": report_key(node),
            "containersUseRole": containers_use_role,
        },
        "agent": {"key": agent_key, "sha256": agent_sha256},
        "sharedFolder": {
            "kind": "efs",
            "fileSystemId": file_system_id,
            "path": SHARED_FOLDER_PATH,
            "mountTargets": dict(mount_targets),
            "mountHelper": None if mount_helper is None else mount_helper.model_dump(),
        },
        "dataVolume": None if data_volume_id is None else {"volumeId": data_volume_id},
        "dataServices": "bundled",
        "firewall": None,
        "gpu": {
            "instanceTypes": list(instance_types),
            "gpusByType": {each: CATALOGUE[each].gpus for each in instance_types},
            **_gpu(gpu),
        },
        "release": _release(release),
        "secret": {"arn": secret_arn, "followersArn": followers_secret_arn},
        "docker": {"useLocalDisks": use_local_disks},
        "configuration": dict(configuration),
        "secretEnv": None if secret_env is None else dict(secret_env),
    }


def hosts_specification(
    *,
    cluster: str,
    node: str,
    joined_stack: str | None,
    role: Role,
    address: str,
    tunnel_to: str | None,
    agent_sha256: str,
    postgres: Endpoint,
    redis: Endpoint,
    shared_folder: Mapping[str, object],
    data_services: Literal["bundled", "containers"],
    followers: Sequence[str],
    telemetry: Sequence[str],
    gpu: GpuAllocation,
    release: Release,
    configuration: Mapping[str, object],
    secret_env: str | None,
) -> dict[str, object]:
    """The document of one node on a host, ready for `canonical_json`.

    *address* is the node's own private one, *tunnel_to* the leader's where followers reach it by WireGuard.
    *followers* are the addresses of the nodes that a leader lets in (a follower lets in nobody), *telemetry* the blocks
    that reach its ports, *shared_folder* is what `hosts_shared_folder` says of it, *secret_env* the version of the
    secret variables that were brought. All values are plain.
    """
    is_leader = role == "leader"
    has_database = is_leader and data_services == "bundled"
    return {
        **_of_every_site(cluster, node, joined_stack, role, postgres, redis),
        "site": {
            "kind": "hosts",
            "address": address,
            "tunnel": _tunnel(tunnel_to),
            "telemetry": {"allow": list(telemetry)},
        },
        "agent": {"sha256": agent_sha256},
        "sharedFolder": dict(shared_folder),
        "dataVolume": {"folder": DATA_FOLDER} if has_database else None,
        "dataServices": data_services,
        "firewall": {"allow": list(followers)} if is_leader else None,
        "gpu": _gpu(gpu),
        "release": _release(release),
        "secret": None,
        "docker": {"useLocalDisks": False},
        "configuration": dict(configuration),
        "secretEnv": None if secret_env is None else {"arn": None, "version": secret_env},
    }


def _tunnel(leader: str | None) -> dict[str, object] | None:
    if leader is None:
        return None
    return {"network": str(tunnel.NETWORK), "port": tunnel.PORT, "leader": leader}


def hosts_shared_folder(
    folder: SharedFolder, role: Role, leader: str, followers: Sequence[str]
) -> dict[str, object]:
    """What a node on a host is told of the shared folder; *leader* is where followers
    reach the leader."""
    path = folder.path or SHARED_FOLDER_PATH
    if folder.kind == "path":
        return {"kind": "path", "path": path}
    if folder.kind == "nfs":
        return {"kind": "nfs", "server": folder.server, "export": folder.export, "path": path}
    exported = folder.folder or EXPORTED_FOLDER
    if role == "leader":
        clients = list(followers)
        return {"kind": "nfs-on-leader", "folder": exported, "clients": clients, "path": path}
    return {"kind": "nfs", "server": leader, "export": exported, "path": path}


def node_folder(node: str, joined_stack: str | None) -> str:
    """The name of a node's own folder in the shared one, where nodes of other stacks may have the same name.

    It holds what users make on the node, so it never changes. No node's name has a dot.
    """
    return node if joined_stack is None else f"{joined_stack}.{node}"


def _of_every_site(
    cluster: str,
    node: str,
    joined_stack: str | None,
    role: Role,
    postgres: Endpoint,
    redis: Endpoint,
) -> dict[str, object]:
    return {
        "schemaVersion": SCHEMA_VERSION,
        "cluster": cluster,
        "node": node,
        "folder": node_folder(node, joined_stack),
        "role": role,
        "endpoints": {"postgres": dict(postgres), "redis": dict(redis)},
    }


def _gpu(gpu: GpuAllocation) -> dict[str, object]:
    return {
        "gpus": gpu.gpus,
        "cudaVisibleDevices": gpu.cuda_visible_devices,
        "forgeWorkers": gpu.forge_workers,
        "streamglWorkers": gpu.streamgl_workers,
        "daskWorkers": gpu.dask_workers,
    }


def _release(release: Release) -> dict[str, object]:
    """A file of the operator's computer is delivered: where it was there is nothing to a node."""
    source = "file" if release.source.startswith("file:") else release.source
    return {
        "version": release.version,
        "cuda": release.cuda,
        "source": source,
        "sha256": release.sha256,
    }


def canonical_json(document: Mapping[str, object]) -> str:
    """The one text of a document: sorted keys, no spaces, ASCII. Upload exactly this."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(document: Mapping[str, object]) -> str:
    """SHA-256 (64 hex digits) of `canonical_json`: equal to the hash of the uploaded object's
    bytes."""
    return hashlib.sha256(canonical_json(document).encode("ascii")).hexdigest()
