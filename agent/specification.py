"""Reading the node specification: what this node should be."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from agent.failures import Failure


@dataclass(frozen=True)
class Endpoint:
    """Where one data service of the leader answers."""

    host: str
    port: int


@dataclass(frozen=True)
class Specification:
    """The document, with its members by name; model/node_specification.schema.json describes each."""

    digest: str
    """SHA-256 of the document's bytes; the report names it."""
    text: str
    cluster: str
    node: str
    role: str
    region: str
    agent_key: str
    agent_sha256: str
    postgres: Endpoint
    redis: Endpoint
    file_system: str
    shared_folder: str
    mount_targets: dict[str, str]
    data_volume: str | None
    gpus: int
    cuda_visible_devices: str
    forge_workers: int
    streamgl_workers: int
    dask_workers: int
    release_version: str
    cuda: str
    release_source: str
    release_sha256: str | None
    secret: str
    use_local_disks: bool

    @property
    def is_leader(self) -> bool:
        """Whether this node has the cluster's PostgreSQL."""
        return self.role == "leader"


def read(content: bytes) -> Specification:
    """The specification in *content*; raises Failure where a member is missing or of another version."""
    try:
        document: dict[str, Any] = json.loads(content)
        if document["schemaVersion"] != 1:
            raise Failure(
                "SpecificationInvalid",
                f"its schemaVersion is {document['schemaVersion']}; this agent reads version 1",
            )
        volume = document["dataVolume"]
        gpu, release, folder = document["gpu"], document["release"], document["sharedFolder"]
        return Specification(
            digest=hashlib.sha256(content).hexdigest(),
            text=content.decode(),
            cluster=document["cluster"],
            node=document["node"],
            role=document["role"],
            region=document["site"]["region"],
            agent_key=document["agent"]["key"],
            agent_sha256=document["agent"]["sha256"],
            postgres=Endpoint(**document["endpoints"]["postgres"]),
            redis=Endpoint(**document["endpoints"]["redis"]),
            file_system=folder["fileSystemId"],
            shared_folder=folder["path"],
            mount_targets=folder.get("mountTargets", {}),
            data_volume=None if volume is None else volume["volumeId"],
            gpus=gpu["gpus"],
            cuda_visible_devices=gpu["cudaVisibleDevices"],
            forge_workers=gpu["forgeWorkers"],
            streamgl_workers=gpu["streamglWorkers"],
            dask_workers=gpu["daskWorkers"],
            release_version=release["version"],
            cuda=release["cuda"],
            release_source=release["source"],
            release_sha256=release["sha256"],
            secret=document["secret"]["arn"],
            use_local_disks=document["docker"]["useLocalDisks"],
        )
    except (ValueError, TypeError, LookupError) as error:
        raise Failure(
            "SpecificationInvalid", f"it cannot be read: {type(error).__name__}: {error}"
        ) from error
