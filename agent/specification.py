"""Reading the node specification: what this node should be."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from dataclasses import dataclass
from typing import Any, Union

from agent.failures import Failure


@dataclass(frozen=True)
class Endpoint:
    """Where one data service of the leader answers."""

    host: str
    port: int


@dataclass(frozen=True)
class AwsPlace:
    """A machine of AWS: what its agent needs there."""

    region: str
    agent_key: str
    """Of the agent's archive, in the site's bucket."""
    containers_use_role: bool
    """Whether containers may ask the instance metadata service, and with it use the node's role."""


@dataclass(frozen=True)
class Tunnel:
    """WireGuard between the leader and each follower."""

    network: str
    """Of the addresses inside."""
    port: int
    """UDP, on every node."""
    leader: str
    """The leader's private address."""

    def inside(self, address: str) -> str:
        """The address inside of the node with this private one: its last bits, in the network."""
        network = ipaddress.IPv4Network(self.network)
        return str(network[int(ipaddress.IPv4Address(address)) & int(network.hostmask)])


@dataclass(frozen=True)
class HostPlace:
    """A host that existed before: its private address, and the tunnel where the stack file wants one."""

    address: str
    tunnel: Tunnel | None = None
    telemetry: tuple[str, ...] = ()
    """Blocks of addresses that reach the ports of telemetry; empty where no other machine does."""


@dataclass(frozen=True)
class MountHelper:
    """The package of amazon-efs-utils for an image without it."""

    source: str
    sha256: str


@dataclass(frozen=True)
class Efs:
    """A shared folder on EFS."""

    path: str
    file_system: str
    region: str
    mount_targets: dict[str, str]
    mount_helper: MountHelper | None


@dataclass(frozen=True)
class Nfs:
    """A shared folder that an NFS server exports."""

    path: str
    server: str
    export: str


@dataclass(frozen=True)
class NfsOnLeader:
    """A shared folder on this node's own disk, which it exports to *clients*."""

    path: str
    folder: str
    clients: tuple[str, ...]
    """By their private addresses."""
    tunnel: Tunnel | None = None
    """By which they come, where there is one."""


@dataclass(frozen=True)
class MountedPath:
    """A shared folder that somebody else mounts."""

    path: str


SharedFolder = Union[Efs, Nfs, NfsOnLeader, MountedPath]


@dataclass(frozen=True)
class SecretEnv:
    """Secret variables of custom.env, which the stack file gives."""

    arn: str | None
    """The secret's, where the site has names for them."""
    version: str
    """Another one where a value is another."""


@dataclass(frozen=True)
class Specification:
    """The document, with its members by name; model/node_specification.schema.json describes each."""

    digest: str
    """SHA-256 of the document's bytes; the report names it."""
    text: str
    cluster: str
    node: str
    folder: str
    """The node's own folder in the shared one, below `nodes`: its name, after the stack's that joined the leader."""
    role: str
    place: AwsPlace | HostPlace
    agent_sha256: str
    postgres: Endpoint
    redis: Endpoint
    share: SharedFolder
    data_services: str
    data_volume: str | None
    """The leader's volume, where it is one of AWS."""
    data_folder: str | None
    """The leader's folder on its own disk, where it has no volume."""
    firewall: tuple[str, ...] | None
    """The addresses that reach the data services; None where the agent keeps no firewall."""
    gpus: int
    gpus_by_type: dict[str, int]
    """How many GPUs the instance types have that the machine may be of; empty for a host."""
    cuda_visible_devices: str
    forge_workers: int
    streamgl_workers: int
    dask_workers: int
    release_version: str
    cuda: str
    release_source: str
    release_sha256: str | None
    secret: str | None
    """The secret's name, where the site has names for them."""
    followers_secret: str | None
    """On a leader the name of the secret that its followers read, where the site has names for them."""
    use_local_disks: bool
    variables: dict[str, str]
    """Further ones of custom.env, which the stack file gives."""
    secret_env: SecretEnv | None
    """Where the stack file's secret variables are; None where there are none."""
    files: dict[str, str]
    """What the stack file puts into the release: the text of each by its path there."""

    @property
    def is_leader(self) -> bool:
        """Whether this node makes the secret, claims the shared folder and makes the first users."""
        return self.role == "leader"

    @property
    def runs_data_services(self) -> bool:
        """Whether this node's release has the cluster's PostgreSQL and Redis; it uses others' where it has not."""
        return self.is_leader and self.data_services == "bundled"

    @property
    def tunnel(self) -> Tunnel | None:
        """WireGuard between the leader and its followers; None where the stack file does not want it."""
        return self.place.tunnel if isinstance(self.place, HostPlace) else None

    @property
    def cluster_address(self) -> str:
        """The address of a host by which the cluster's other nodes reach it."""
        assert isinstance(self.place, HostPlace)  # noqa: S101, others are reached by name
        return self.tunnel.inside(self.place.address) if self.tunnel else self.place.address

    @property
    def shared_folder(self) -> str:
        """Where the shared folder is seen on this node."""
        return self.share.path


def read(content: bytes) -> Specification:
    """The specification in *content*; raises Failure where a member is missing or of another version."""
    try:
        document: dict[str, Any] = json.loads(content)
        if document["schemaVersion"] != 1:
            raise Failure(
                "SpecificationInvalid",
                f"its schemaVersion is {document['schemaVersion']}; this agent reads version 1",
            )
        volume, secret = document["dataVolume"] or {}, document["secret"] or {}
        # What was delivered by an earlier version has none.
        own = document.get("configuration", {"env": {}, "files": {}})
        secret_env = document.get("secretEnv")
        gpu, release, firewall = document["gpu"], document["release"], document["firewall"]
        return Specification(
            digest=hashlib.sha256(content).hexdigest(),
            text=content.decode(),
            cluster=document["cluster"],
            node=document["node"],
            # A host that leaves may have an earlier program's document.
            folder=document.get("folder", document["node"]),
            role=document["role"],
            place=_place(document),
            agent_sha256=document["agent"]["sha256"],
            postgres=Endpoint(**document["endpoints"]["postgres"]),
            redis=Endpoint(**document["endpoints"]["redis"]),
            share=_share(document),
            data_services=document["dataServices"],
            data_volume=volume.get("volumeId"),
            data_folder=volume.get("folder"),
            firewall=None if firewall is None else tuple(firewall["allow"]),
            gpus=gpu["gpus"],
            gpus_by_type=gpu.get("gpusByType", {}),
            cuda_visible_devices=gpu["cudaVisibleDevices"],
            forge_workers=gpu["forgeWorkers"],
            streamgl_workers=gpu["streamglWorkers"],
            dask_workers=gpu["daskWorkers"],
            release_version=release["version"],
            cuda=release["cuda"],
            release_source=release["source"],
            release_sha256=release["sha256"],
            secret=secret.get("arn"),
            followers_secret=secret.get("followersArn"),
            use_local_disks=document["docker"]["useLocalDisks"],
            variables=own["env"],
            secret_env=SecretEnv(**secret_env) if secret_env else None,
            files=own["files"],
        )
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise Failure(
            "SpecificationInvalid", f"it cannot be read: {type(error).__name__}: {error}"
        ) from error


def _place(document: dict[str, Any]) -> AwsPlace | HostPlace:
    site = document["site"]
    if site["kind"] == "hosts":
        # What was delivered by an earlier version says nothing of telemetry.
        blocks = site.get("telemetry", {"allow": []})["allow"]
        return HostPlace(site["address"], _tunnel(site), tuple(blocks))
    return AwsPlace(site["region"], document["agent"]["key"], site["containersUseRole"])


def _tunnel(site: dict[str, Any]) -> Tunnel | None:
    # What was delivered by an earlier version has none.
    found = site.get("tunnel")
    return Tunnel(**found) if found else None


def _share(document: dict[str, Any]) -> SharedFolder:
    folder = document["sharedFolder"]
    kind, path = folder["kind"], folder["path"]
    if kind == "efs":
        targets = folder.get("mountTargets", {})
        helper = folder.get("mountHelper")
        return Efs(
            path,
            folder["fileSystemId"],
            document["site"]["region"],
            targets,
            MountHelper(**helper) if helper else None,
        )
    if kind == "nfs":
        return Nfs(path, folder["server"], folder["export"])
    if kind == "nfs-on-leader":
        clients = tuple(folder["clients"])
        return NfsOnLeader(path, folder["folder"], clients, _tunnel(document["site"]))
    if kind == "path":
        return MountedPath(path)
    raise ValueError(f"a shared folder of kind {kind}")
