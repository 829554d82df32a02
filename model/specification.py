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

from model.settings import Release
from model.workers import GpuAllocation

SCHEMA_VERSION = 1
SCHEMA_FILE = Path(__file__).with_name("node_specification.schema.json")

# The ports on which Graphistry's own PostgreSQL and Redis containers listen; the vendor's cluster
# guide has followers reach PostgreSQL on this one.
POSTGRES_PORT = 5432
REDIS_PORT = 6379

SHARED_FOLDER_PATH = "/mnt/graphistry"


class Endpoint(TypedDict):
    """Where one data service of the leader answers."""

    host: str
    port: int


def node_prefix(node: str) -> str:
    """Where one node's documents are kept in the bucket."""
    return f"nodes/{node}/"


def specification_key(node: str) -> str:
    """Where the program keeps a node's specification in the bucket, and its agent looks for it."""
    return f"{node_prefix(node)}specification.json"


def report_key(node: str) -> str:
    """Where a node's agent keeps the node report in the bucket."""
    return f"{node_prefix(node)}report.json"


def specification(
    *,
    cluster: str,
    node: str,
    role: Literal["leader", "follower"],
    region: str,
    bucket: str,
    report_key: str,
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
    use_local_disks: bool,
) -> dict[str, object]:
    """The document of one node, ready for `canonical_json`.

    All values are plain: resolve Pulumi outputs first. Raises `ValueError` unless exactly the
    leader comes with a data volume.
    """
    if (role == "leader") != (data_volume_id is not None):
        raise ValueError(f"{node} is a {role}: the leader has a data volume, a follower has none")
    return {
        "schemaVersion": SCHEMA_VERSION,
        "cluster": cluster,
        "node": node,
        "role": role,
        "site": {"kind": "aws", "region": region, "bucket": bucket, "reportKey": report_key},
        "agent": {"key": agent_key, "sha256": agent_sha256},
        "endpoints": {"postgres": dict(postgres), "redis": dict(redis)},
        "sharedFolder": {
            "kind": "efs",
            "fileSystemId": file_system_id,
            "path": SHARED_FOLDER_PATH,
            "mountTargets": dict(mount_targets),
        },
        "dataVolume": None if data_volume_id is None else {"volumeId": data_volume_id},
        "gpu": {
            "instanceTypes": list(instance_types),
            "gpus": gpu.gpus,
            "cudaVisibleDevices": gpu.cuda_visible_devices,
            "forgeWorkers": gpu.forge_workers,
            "streamglWorkers": gpu.streamgl_workers,
            "daskWorkers": gpu.dask_workers,
        },
        "release": {
            "version": release.version,
            "cuda": release.cuda,
            "source": release.source,
            "sha256": release.sha256,
        },
        "secret": {"arn": secret_arn},
        "docker": {"useLocalDisks": use_local_disks},
    }


def canonical_json(document: Mapping[str, object]) -> str:
    """The one text of a document: sorted keys, no spaces, ASCII. Upload exactly this."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(document: Mapping[str, object]) -> str:
    """SHA-256 (64 hex digits) of `canonical_json`: equal to the hash of the uploaded object's
    bytes."""
    return hashlib.sha256(canonical_json(document).encode("ascii")).hexdigest()
