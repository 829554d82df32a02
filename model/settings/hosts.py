"""The settings of a cluster on machines that exist already: every key of its stack file.

As strict as `model.settings.aws`. Each attribute's docstring says its unit and bounds, and what a
change does to a cluster that is running. Rules that span several keys live in `model.settings.hosts_rules`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from model.settings import checks
from model.settings.configuration import Configuration, SecretEnv
from model.settings.fields import StandIn, Words
from model.settings.sections import LeaderStack, Name, ProfileName, Release, Section, WorkersPerGpu

Ipv4 = Annotated[
    str,
    AfterValidator(checks.ipv4),
    Words('an IPv4 address such as "10.0.0.10"'),
    StandIn("192.0.2.1"),
]
ANY_HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""Stands for a key that is not known yet; no host has it, as it is all zeros."""

HostName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$"),
    AfterValidator(checks.host_name),
    Words('a host name or an IPv4 address such as "10.0.0.10"'),
    StandIn("192.0.2.1"),
]
HostKey = Annotated[
    str,
    AfterValidator(checks.host_key),
    Words(
        'the host\'s public key such as "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…"',
        when_missing="`./cluster host-keys STACK` shows its fingerprint and, after a yes, writes it here",
    ),
    StandIn(ANY_HOST_KEY),
]
User = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$"),
    Words('the name of a user on the host such as "ubuntu"'),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Folder = Annotated[
    str,
    StringConstraints(pattern=r"^(/[A-Za-z0-9._-]+)+$"),
    Words('an absolute path such as "/mnt/graphistry", without spaces'),
]
TelemetryCidr = Annotated[
    str,
    AfterValidator(checks.telemetry_source),
    Words('an IPv4 block of /8 or smaller such as "10.20.5.0/24"'),
]
PinnedImage = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9._/:-]*@sha256:[0-9a-f]{64}$"),
    Words('a container image pinned by digest such as "postgres:16@sha256:<64 hex digits>"'),
]


class HostGpuProfile(Section):
    """A named size of host; leader and followers refer to it by name."""

    gpus: Annotated[int, Field(ge=1, le=16), StandIn(1)]
    """GPUs a node uses, from the first on, 1 to 16. The host may have more. Required. A change
    restarts the GPU services in place."""
    gpu_memory_gib: Annotated[int, Field(ge=4, le=1024), StandIn(16)]
    """Memory of each GPU in GiB, 4 to 1024. Required. Worker counts follow from it; preflight
    compares it with the host. A change restarts the workers in place."""
    memory_gib: Annotated[int, Field(ge=8, le=32768), StandIn(64)]
    """Memory of the host in GiB, 8 to 32768. Required. A change restarts the workers in place, as
    for `gpuMemoryGib`."""
    workers_per_gpu: WorkersPerGpu | None = None
    """Workers per GPU and service. Absent: computed, one forge and one StreamGL worker per 4 GiB of
    GPU and of host memory, at most 4. A change restarts them in place."""

    @property
    def gpu_memory_mib(self) -> int:
        """Memory of each GPU in MiB."""
        return self.gpu_memory_gib * 1024

    @property
    def memory_mib(self) -> int:
        """Memory of the host in MiB."""
        return self.memory_gib * 1024


class Bastion(Section):
    """A host through which all others are reached over SSH. A change of it touches no node."""

    address: HostName
    """Name or address. Required."""
    user: User = "ubuntu"
    """Whom to sign in as."""
    port: Port = 22
    """Of its SSH server."""
    host_key: HostKey
    """Its public host key. Required; `./cluster host-keys` shows it."""


class Ssh(Section):
    """How the operator's computer reaches the hosts. A change of anything here touches no node."""

    user: User = "ubuntu"
    """Whom to sign in as; needs `sudo` without a password."""
    port: Port = 22
    """Of the SSH servers."""
    bastion: Bastion | None = None
    """Absent: hosts are reached directly."""


class Host(Section):
    """One machine that exists already."""

    address: HostName
    """Where SSH reaches it. Required. Another address is another host: the node is set up there,
    and removed from the old one. Another host of the leader has other data: database, secret and
    a shared folder of its own stay on the old one, until somebody moves them."""
    private_address: Ipv4 | None = None
    """Where the other nodes reach it. Absent: `address`, which then is an IPv4 address. A change is
    told to every node in place."""
    host_key: HostKey
    """Its public host key, in the form of known_hosts without the name. Required: without it
    anybody on the way could be the host. `./cluster host-keys` collects them. A host that answers with
    another key is refused. A change touches no node."""
    user: User | None = None
    """Absent: that of `ssh`. A change touches no node."""
    port: Port | None = None
    """Absent: that of `ssh`. A change touches no node."""


class HostNode(Section):
    """A node: the host it runs on, and its size."""

    profile: ProfileName
    """Name of a GPU profile. Required. A change restarts the GPU services in place."""
    host: Annotated[Host, StandIn({"address": "192.0.2.1", "hostKey": ANY_HOST_KEY})]
    """The machine. Required."""
    gpus: Annotated[int, Field(ge=1, le=16)] | None = None
    """GPUs this node uses instead of its profile's number. A change restarts its GPU services."""
    configuration: Configuration = Configuration()
    """Variables and files of this node's release, before those of the cluster."""


class SharedFolder(Section):
    """The dataset directory of all nodes. Another kind or place is other data: the nodes refuse it
    unless the marker of this cluster is there."""

    kind: Literal["nfs-on-leader", "nfs", "path"] = "nfs-on-leader"
    """"nfs-on-leader": the leader exports a folder of its own to the followers. "nfs": a file
    server that exists. "path": a network file system that is mounted on every host already."""
    folder: Folder | None = None
    """Where the leader keeps it, for nfs-on-leader. Absent:
    "/var/lib/graphistry-cluster/shared"."""
    server: HostName | None = None
    """Name or address of the file server, for nfs."""
    export: Folder | None = None
    """What it exports, for nfs."""
    path: Folder | None = None
    """Where it is mounted, for path; there it is required. Absent: "/mnt/graphistry"."""


class DataServices(Section):
    """Who runs the leader's PostgreSQL and Redis. Another kind would begin with an empty database:
    it is refused while the leader's host has data of the other."""

    kind: Literal["bundled", "containers"] = "bundled"
    """"bundled": the release's own, as the vendor documents. "containers": containers that this
    program manages on the leader's Docker."""
    postgres_image: PinnedImage | None = None
    """For containers, and required there: an image with the variables of the official one. A change
    replaces the container in place; its volume stays."""
    redis_image: PinnedImage | None = None
    """For containers, and required there: Redis 6.2 or newer. A change replaces the container in place."""


class Telemetry(Section):
    """Who reaches the ports of the vendor's telemetry on this stack's hosts: 3000 (Grafana), 8889 (the collector),
    9091 (Prometheus) and 16686 (Jaeger). A host itself and its containers always do."""

    allowed_cidrs: Annotated[
        tuple[TelemetryCidr, ...],
        Field(strict=False),
        AfterValidator(checks.unique),
        Words('a list of IPv4 blocks such as ["10.20.5.0/24", "10.20.6.7/32"]'),
    ] = ()
    """Blocks from which other machines reach them, none wider than /8. Empty: the hosts' firewall closes them, whoever
    listens there. Other firewalls of yours are not opened. A change is in place; no service restarts."""


class FollowersOnHosts(Section):
    """What a stack file says about followers on hosts, whoever has their leader."""

    site: Literal["hosts"]
    """Where the machines come from: they exist already. Another site is another cluster."""
    gpu_profiles: Annotated[
        dict[Name, HostGpuProfile], Words("a map from profile name to GPU profile"), StandIn({})
    ]
    """Sizes of hosts by name. Required. Adding one touches no node."""
    ssh: Ssh = Ssh()
    """How the hosts are reached."""
    ssh_private_key: (
        Annotated[
            str,
            StringConstraints(pattern=r"^-----BEGIN [A-Z ]*PRIVATE KEY-----\s"),
            Words(
                "a private key without passphrase, set by `pulumi config set --stack STACK --secret "
                "sshPrivateKey`"
            ),
        ]
        | None
    ) = None
    """The operator's key, a secret of the stack. Absent: the keys of the SSH agent. A change
    touches no node."""
    followers: Annotated[
        dict[Annotated[Name, AfterValidator(checks.not_leader)], HostNode],
        Words("a map from follower name to follower; {} for none"),
    ] = Field(default_factory=dict)
    """Followers by name. Adding, changing or removing one touches no other follower."""

    configuration: Configuration = Configuration()
    """Variables and files of the release on all nodes of this stack."""
    telemetry: Telemetry = Telemetry()
    """Who reaches the vendor's telemetry."""
    secret_env: SecretEnv = Field(default_factory=dict, repr=False)
    """Secret variables of `custom.env` on all nodes of this stack, each encrypted in the stack file and the state, and
    never in a specification: they go over SSH into a file that root alone reads. Notebooks and dashboards have none of
    them. A change restarts the services that have them, in place; one that is taken out is gone there."""

    @property
    def nodes(self) -> dict[str, HostNode]:
        """Every node of the stack by name, the leader first."""
        return dict(self.followers)

    @property
    def follower_addresses(self) -> list[str]:
        """Private addresses of all followers: whom the leader lets in."""
        return [self.private_address(node) for node in self.followers]

    def private_address(self, name: str) -> str:
        """Where the other nodes reach a node. Raises `KeyError` for a name that is none."""
        host = self.nodes[name].host
        return host.private_address or host.address

    def resolved(self, host: Host) -> Host:
        """A host with user and port, its own or those of `ssh`."""
        mine = {"user": host.user or self.ssh.user, "port": host.port or self.ssh.port}
        return host.model_copy(update=mine)

    def profile_of(self, name: str) -> HostGpuProfile:
        """The GPU profile of a node. Raises `KeyError`."""
        return self.gpu_profiles[self.nodes[name].profile]

    def configuration_of(self, name: str) -> Configuration:
        """What the node's own entry says. Raises `KeyError`."""
        return self.nodes[name].configuration

    def gpus_of(self, name: str) -> int:
        """GPUs the node uses: its own number, else its profile's. Raises `KeyError`."""
        own = self.nodes[name].gpus
        return self.profile_of(name).gpus if own is None else own


class HostsSettings(FollowersOnHosts):
    """Everything a stack file says about one cluster on hosts."""

    leader: Annotated[
        HostNode,
        StandIn({"profile": "", "host": {"address": "192.0.2.1", "hostKey": ANY_HOST_KEY}}),
    ]
    """The leader. Required."""
    shared_folder: SharedFolder = SharedFolder()
    """The shared dataset directory."""
    data_services: DataServices = DataServices()
    """The leader's PostgreSQL and Redis."""
    encryption: Literal["wireguard"] | None = None
    """"wireguard": PostgreSQL, Redis and the leader's NFS reach followers by WireGuard and in no other way. Absent:
    they cross the network as plain text. A change is in place: PostgreSQL and Redis of the leader restart, every
    node mounts the leader's folder anew, and followers of other stacks are cut off until their own next
    `./cluster up`."""
    release: Release = Release(version="2.50.1", cuda="12")
    """The Graphistry version. The default is the newest version this program was written for."""

    @property
    def nodes(self) -> dict[str, HostNode]:
        """Every node by name, the leader first."""
        return {"leader": self.leader, **self.followers}


class JoinedHostsSettings(FollowersOnHosts):
    """Everything a stack file says about followers on hosts of another stack's leader."""

    leader_stack: LeaderStack
    """The stack that has the leader; shared folder, secret and release are its. Another one is
    another cluster: never change it."""


def access_document(settings: FollowersOnHosts, host: Host) -> dict[str, object]:
    """How to reach a host over SSH, as one plain document; it holds the private key, if there is one."""
    bastion, reached = settings.ssh.bastion, settings.resolved(host)
    return {
        "address": host.address,
        "port": reached.port,
        "user": reached.user,
        "hostKey": host.host_key,
        "privateKey": settings.ssh_private_key,
        "bastion": None if bastion is None else bastion.model_dump(by_alias=True),
    }
