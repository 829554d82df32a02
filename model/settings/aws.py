"""The settings of a cluster on AWS: every key of its stack file under `graphistry-cluster:`.

The models are strict at every depth: unknown keys, wrong types and out-of-range values are
refused. Each attribute's docstring says its unit and bounds, why the default is what it is, and
what a change does to a cluster that is running. Rules that span several keys live in
`model.settings.aws_rules`.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, StringConstraints

from model.settings import checks
from model.settings.configuration import Configuration, SecretEnv
from model.settings.fields import StandIn, Words
from model.settings.image import Image
from model.settings.sections import LeaderStack, Name, ProfileName, Release, Section, WorkersPerGpu
from model.tags import OWN_TAGS

# Tuples keep the models immutable; a stack file has lists, which strict mode alone would refuse.
_FromList = Field(strict=False)

InstanceType = Annotated[
    str,
    AfterValidator(checks.catalogued),
    Words('an EC2 instance type with whole NVIDIA GPUs, such as "g4dn.2xlarge"'),
]
Zone = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9][a-h]$"),
    Words('an availability zone such as "us-east-1a"'),
]
Zones = Annotated[
    tuple[Zone, ...],
    _FromList,
    AfterValidator(checks.unique),
    Words('a list of availability zones such as ["us-east-1a", "us-east-1b"]'),
]
Cidr = Annotated[
    str,
    AfterValidator(checks.allowed_source),
    Words('an IPv4 block of /8 or smaller such as "203.0.113.0/24"'),
]
CapacityReservation = Annotated[
    str,
    StringConstraints(pattern=r"^cr-[0-9a-f]{8,17}$"),
    Words('the id of a capacity reservation or block such as "cr-0123456789abcdef0"'),
]
Email = Annotated[
    str,
    StringConstraints(max_length=50, pattern=r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$"),
    Words('a mail address of at most 50 characters such as "ops@example.com"'),
]
# The characters that every AWS service accepts in tags.
_TAG_TEXT = r"^[\p{L}\p{N}\p{Z}_.:/=+\-@]*$"
TagKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128, pattern=_TAG_TEXT),
    AfterValidator(checks.free_tag_key),
    Words("a tag key of 1 to 128 letters, digits, spaces and _ . : / = + - @"),
]
TagValue = Annotated[
    str,
    StringConstraints(max_length=256, pattern=_TAG_TEXT),
    Words("text of at most 256 letters, digits, spaces and _ . : / = + - @"),
]


class GpuProfile(Section):
    """A named size of machine; leader and followers refer to it by name."""

    instance_types: Annotated[
        tuple[InstanceType, ...],
        _FromList,
        Field(min_length=1, max_length=20),
        AfterValidator(checks.unique),
        Words('a list of 1 to 20 EC2 instance types such as ["g5.xlarge", "g6.xlarge"]'),
        StandIn(["g4dn.2xlarge"]),
    ]
    """EC2 types in order of preference, 1 to 20, each once. A follower takes the first that has
    capacity; the leader always the first. Required. For the leader a change stops the machine and
    starts it as the new type with address and data kept; a follower's machine
    whose type is listed no more is replaced, the new one before the old one. Another change of the
    list holds for a follower's next machine."""
    gpus: Annotated[int, Field(ge=1, le=16)] | None = None
    """GPUs a node uses, from the first on. Absent: all, so all types must have equally many. A
    change restarts the GPU services in place."""
    workers_per_gpu: WorkersPerGpu | None = None
    """Workers per GPU and service. Absent: computed from the smallest listed type, one forge and
    one StreamGL worker per 4 GB of GPU and of host memory, at most 4. A change restarts them in
    place."""
    root_volume_gib: Annotated[int, Field(ge=100, le=16384)] = 200
    """Root disk in GiB, 100 to 16384. The system takes 40, each of two releases three times its archive of 10 to 20,
    hence 200.
    Larger: grown in place on the leader, its file system too. Smaller: refused for the leader, as AWS shrinks no disk.
    Either holds for a follower's next machine."""


class Backups(Section):
    """Snapshots of the data volume, which Data Lifecycle Manager takes and deletes again. AWS asks for what they
    store: the first one for what is on the volume, each later one for what changed."""

    every_hours: Literal[0, 1, 2, 3, 4, 6, 8, 12, 24] = 24
    """Hours between two snapshots, 0 for none; once a day it is at 03:00 UTC. Changed in place; switching off keeps
    those taken, and nobody deletes them any more."""
    keep_days: Annotated[int, Field(ge=1, le=365)] = 35
    """Days that each is kept, 1 to 365. Changed in place, for the snapshots that are taken from then on."""


class DataVolume(Section):
    """The leader's own disk for PostgreSQL and its backups. Never deleted with the machine."""

    size_gib: Annotated[int, Field(ge=10, le=65536)] = 100
    """GiB, 10 to 65536. PostgreSQL holds accounts and metadata only, so 100 is plenty. Grows in
    place, and the file system on it within seconds; a smaller one is refused, as AWS shrinks no
    volume."""
    iops: Annotated[int, Field(ge=3000, le=80000)] = 3000
    """I/O operations per second, 3000 (included in the price) to 80000, at most 500 per GiB.
    Changed in place, once in six hours."""
    throughput_mibps: Annotated[int, Field(ge=125, le=2000)] = 125
    """MiB/s, 125 (included in the price) to 2000, at most a quarter of the IOPS. Changed in place,
    once in six hours."""
    backups: Backups = Backups()
    """How often its content is copied, and for how long. A last snapshot is taken when the volume is deleted."""
    snapshot_id: (
        Annotated[
            str,
            StringConstraints(pattern=r"^snap-[0-9a-f]{8,17}$"),
            Words('the id of a snapshot such as "snap-0123456789abcdef0"'),
        ]
        | None
    ) = None
    """The snapshot that the volume begins with, at least as large as it. Absent: it begins empty. A change replaces
    the volume, which is refused until `./cluster down` has ended the machines and the volume's name is typed; AWS keeps
    the old one. Removing the key touches nothing."""


class Leader(Section):
    """The node that owns PostgreSQL, Redis and the cluster's secret."""

    profile: ProfileName
    """Name of a GPU profile. Required. A change stops and starts the machine in place; see
    `gpuProfiles.<name>.instanceTypes`."""
    availability_zone: Zone | None = None
    """Zone of machine and data volume. Absent: the first zone of the network that offers the type.
    To write the zone where it is changes nothing; any other is refused while the data volume
    exists: a volume cannot leave its zone."""
    data_volume: DataVolume = DataVolume()
    """Size and speed of the data volume. Changed in place."""
    reserve_capacity: bool = True
    """Hold the capacity of its machine by an on-demand capacity reservation of its own. Another type is reserved
    before the machine stops for it, so AWS refuses it while the old one still serves, and a stopped leader finds its
    place again. Costs nothing while the machine runs, and its hourly price while it is stopped. In place."""
    capacity_reservation: CapacityReservation | None = None
    """An existing on-demand capacity reservation to run in, instead of one of its own. A change, its removal too,
    stops and starts the machine at once, in place, with address and data kept."""
    configuration: Configuration = Configuration()
    """Variables and files of this node's release, before those of the cluster."""


class Follower(Section):
    """A node that adds GPUs; it holds no data of its own."""

    profile: ProfileName
    """Name of a GPU profile. Required. See `gpuProfiles` for what a change does, to this
    follower only."""
    availability_zones: Zones = ()
    """Zones its machine may be in. Empty: every zone of the network that offers its types, which
    finds capacity most often. AWS moves a machine whose zone left the list at once, the new machine
    before the old one, so it is replaced; another change holds for the next machine."""
    market: Literal["on-demand", "spot", "capacity-block"] = "on-demand"
    """"spot" is cheaper, may be interrupted at two minutes' notice, and falls back to on-demand;
    "capacity-block" is paid in advance and ends with the block that `capacityReservation` names.
    The default loses nobody's session. A change replaces the machine, the new one is ready before
    the old one ends. A machine that fell back to on-demand stays until it is replaced."""
    capacity_reservation: CapacityReservation | None = None
    """A capacity reservation to run in, on-demand beyond it, or the capacity block of its market. It is for one
    instance type, so its profile lists one. Absent: in none, not even in one that is open, which may be the leader's.
    A change holds for its next machine."""
    gpus: Annotated[int, Field(ge=1, le=16)] | None = None
    """GPUs this follower uses instead of its profile's number. A change restarts its GPU
    services."""
    configuration: Configuration = Configuration()
    """Variables and files of this node's release, before those of the cluster."""


class SharedFolder(Section):
    """The dataset directory that every node mounts: an EFS file system, ours or an existing one."""

    file_system_id: (
        Annotated[
            str,
            StringConstraints(pattern=r"^fs-[0-9a-f]{8,40}$"),
            Words('the id of an EFS file system such as "fs-0123456789abcdef0"'),
        ]
        | None
    ) = None
    """An existing EFS file system to use. Absent: one is created, protected and kept on destroy. A
    change points the cluster at other data: the nodes refuse it unless the marker of this cluster
    is there."""
    throughput_mode: Literal["elastic", "bursting", "provisioned"] = "elastic"
    """How EFS bills and limits throughput. Elastic is the only one that lets one client read 1,500
    MiB/s. Changed in place, at most once a day."""
    provisioned_throughput_mibps: (
        Annotated[float, Field(ge=1, le=10240, allow_inf_nan=False)] | None
    ) = None
    """MiB/s, 1 to 10240; required with throughputMode provisioned and refused otherwise. Changed in
    place; AWS allows a decrease once a day."""
    backups: bool = True
    """Daily backups by AWS Backup, kept 35 days. Changed in place; switching off keeps those
    taken."""


class Network(Section):
    """The VPC: a new one, or an existing one by its ids."""

    cidr_block: Annotated[
        str,
        AfterValidator(checks.vpc_block),
        Words('a private IPv4 block of /16 to /20 such as "10.40.0.0/16"'),
    ] = "10.40.0.0/16"
    """Block of a new VPC, /16 to /20 within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16. A change
    replaces the network and with it every machine: choose it once, apart from networks you peer
    with."""
    availability_zones: Annotated[
        Zones,
        AfterValidator(checks.two_or_none),
        Words("a list of at least two availability zones", fewest=2),
    ] = ()
    """Zones of a new VPC, at least two, in order of preference. Empty: all zones of the region. A
    zone can be added at the end any time and moves nothing; one can be removed when no node is in
    it. Another first zone moves the single NAT gateway, whose address the internet sees."""
    nat_gateways: Literal["single", "per-zone"] = "single"
    """One NAT gateway for all zones is cheap and a single point of failure for downloads only;
    nodes talk to each other and to S3 without it. Changed in place."""
    flow_logs: bool = True
    """Record accepted and rejected connections in CloudWatch Logs. Changed in place."""
    vpc_id: (
        Annotated[
            str,
            StringConstraints(pattern=r"^vpc-[0-9a-f]{8,17}$"),
            Words('the id of a VPC such as "vpc-0123456789abcdef0"'),
        ]
        | None
    ) = None
    """An existing VPC; needs subnetIds. A change replaces every machine."""
    subnet_ids: Annotated[
        tuple[
            Annotated[
                str,
                StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$"),
                Words('the id of a subnet such as "subnet-0123456789abcdef0"'),
            ],
            ...,
        ],
        _FromList,
        AfterValidator(checks.unique),
        AfterValidator(checks.two_or_none),
        Words("a list of at least two subnet ids", fewest=2),
    ] = ()
    """Private subnets of the existing VPC, at least two, each in a zone of its own and with a
    route to the internet or to AWS's endpoints. One can be added any time, removed when no node is
    in it."""


class Access(Section):
    """Who may open the web interface of the nodes."""

    allowed_cidrs: Annotated[
        tuple[Cidr, ...],
        _FromList,
        AfterValidator(checks.unique),
        Words('a list of IPv4 blocks such as ["10.0.0.0/8", "203.0.113.0/24"]'),
    ] = ()
    """Blocks that reach HTTP and HTTPS of the nodes, none wider than /8. Empty: nobody; use the
    port-forward command of the outputs. Nodes have private addresses, so these are networks that
    reach the VPC by VPN, peering or Direct Connect. Changed in place."""


CheckName = Literal[
    "credentials",
    "clock",
    "cluster",
    "references",
    "offerings",
    "quota",
    "reservations",
    "image",
    "release",
    "price",
    "budget",
]
"""The checks of the preflight."""
_CHECK_NAMES = f'a list of checks such as ["quota"]; there are {", ".join(get_args(CheckName))}'


class Preflight(Section):
    """What is looked at before anything starts (`preflight`)."""

    skip: Annotated[
        tuple[CheckName, ...],
        _FromList,
        AfterValidator(checks.unique),
        Words(_CHECK_NAMES),
    ] = ()
    """Checks that are not made, each once. Empty: all are. A check that AWS does not answer stops nothing, so this is
    for one that is wrong about your account. A change touches no machine."""


class Budget(Section):
    """What the stack may cost."""

    monthly_usd: Annotated[
        float, Field(ge=1, le=100_000_000, allow_inf_nan=False), StandIn(100_000_000)
    ]
    """US dollars a month of 730 hours at list prices, 1 to 100 million. A stack that may cost more, whatever
    types its followers get, or of which some part has no known price, is refused before anything starts; what
    depends on use is not in it.
    Required. A change touches nothing that runs."""
    alarm_emails: Annotated[
        tuple[Email, ...],
        _FromList,
        Field(max_length=10),
        AfterValidator(checks.unique),
        Words('a list of at most 10 mail addresses such as ["ops@example.com"]'),
    ] = ()
    """Whom AWS Budgets writes when the bill of a month has passed 80 % of `monthlyUsd`, and when it is on the way to
    pass all of it; 10 is what AWS takes for one notification. AWS sees the stack's part of the bill by the cluster's
    tag once the account that pays has made it a cost allocation tag. None: no alarm. A change touches no machine."""


KeyArn = Annotated[
    str,
    StringConstraints(
        pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/(mrk-[0-9a-f]{32}|[0-9a-f-]{36})$"
    ),
    Words("the ARN of a KMS key, not of an alias"),
]


class Shells(Section):
    """Shells on the nodes of a cluster on AWS, which are sessions of Systems Manager."""

    logged: bool = False
    """Log the shells that `./cluster shell` and the output `shell` open, to a log group that is kept for a year.
    Changed in place; switching off keeps the log group."""


class FollowersOnAws(Section):
    """What a stack file says about followers on AWS, whoever has their leader."""

    site: Annotated[Literal["aws"], Words('"aws" or "hosts"')] = "aws"
    """Where the machines come from: AWS makes them, or they exist already. Another
    site is another cluster."""
    gpu_profiles: Annotated[
        dict[Name, GpuProfile], Words("a map from profile name to GPU profile"), StandIn({})
    ]
    """Sizes of machines by name. Required. An unused profile costs nothing and touches no node."""
    followers: Annotated[
        dict[Annotated[Name, AfterValidator(checks.not_leader)], Follower],
        Words("a map from follower name to follower; {} for none"),
    ] = Field(default_factory=dict)
    """Followers by name. Adding, changing or removing one touches no other; renaming one is
    removing it and adding another. Empty: the leader alone."""
    configuration: Configuration = Configuration()
    """Variables and files of the release on all nodes of this stack."""
    secret_env: SecretEnv = Field(default_factory=dict, repr=False)
    """Secret variables of `custom.env` on all nodes of this stack, each encrypted in the stack file and the state, and
    never in a specification: nodes read them in Secrets Manager, hosts get them over SSH. Notebooks and dashboards have
    none of them. A change restarts the services that have them, in place; one that is taken out is gone there."""
    image: Image = Image()
    """The machine image."""
    encryption_key: KeyArn | None = None
    """ARN of a KMS key of yours that encrypts volumes, shared folder, bucket, secret and logs. Absent: AWS's own keys.
    Disabling it ends access to all of it at once. Choose it once: volumes and file systems keep the key that they were
    made with, so a change, also from or to none, is refused where there is data."""
    shells: Shells = Shells()
    """Shells on the nodes."""
    preflight: Preflight = Preflight()
    """What is looked at before anything starts."""
    budget: Budget | None = None
    """What the stack may cost. Absent: anything."""
    instance_metadata: Literal["machine", "containers"] = "machine"
    """Who reaches the instance metadata service, and with it may use the node's role: the machine alone, or its
    containers too, notebooks among them. "containers" gives every user of a notebook the cluster's secret, the shared
    folder and the node's documents. A change to "machine" closes it in place; one to "containers" is in place on the
    leader and holds for a follower's next machine."""
    tags: Annotated[
        dict[TagKey, TagValue],
        AfterValidator(checks.few_tags),
        Words(f"a map of at most {OWN_TAGS} tags, text to text"),
    ] = Field(default_factory=dict)
    """Tags on every resource, at most 7: AWS takes 50 on most, but 10 on an object in S3 and on a DNS
    zone, and the program sets three of its own. Changed in place."""

    @property
    def node_names(self) -> tuple[str, ...]:
        """Every node of the stack, the leader first."""
        return tuple(self.followers)

    @property
    def instance_types(self) -> set[str]:
        """Every type that a node of the stack may run on."""
        return {each for node in self.node_names for each in self.profile_of(node).instance_types}

    def profile_of(self, node: str) -> GpuProfile:
        """The GPU profile of a follower. Raises `KeyError` for any other name."""
        return self.gpu_profiles[self.followers[node].profile]

    def configuration_of(self, node: str) -> Configuration:
        """What a follower's own entry says. Raises `KeyError`."""
        return self.followers[node].configuration

    def gpus_of(self, node: str) -> int | None:
        """GPUs a node uses: its own number, else its profile's; None means all. Raises
        `KeyError`."""
        own = self.followers[node].gpus if node in self.followers else None
        return self.profile_of(node).gpus if own is None else own


class Settings(FollowersOnAws):
    """Everything a stack file says about one cluster on AWS."""

    leader: Annotated[Leader, StandIn({"profile": ""})]
    """The leader. Required."""
    shared_folder: SharedFolder = SharedFolder()
    """The shared dataset directory."""
    network: Network = Network()
    """The VPC and its subnets."""
    placement: Literal["spread", "packed"] = "spread"
    """Zones of followers that name none: "spread" takes every zone of the network that offers their types, which
    finds capacity most often; "packed" takes the leader's, so that what nodes say to each other crosses no zone, which
    AWS bills in both directions. A change to "packed" replaces the machines that are outside the leader's zone: AWS
    moves them at once, the new machine before the old one. One to "spread" holds for the next machine."""
    access: Access = Access()
    """Who may open the web interface."""
    release: Release = Release(version="2.50.1", cuda="12")
    """The Graphistry version. The default is the newest version this program was written for."""

    @property
    def node_names(self) -> tuple[str, ...]:
        """Every node of the stack, the leader first."""
        return ("leader", *self.followers)

    def profile_of(self, node: str) -> GpuProfile:
        """The GPU profile of "leader" or of a follower. Raises `KeyError` for any other name."""
        return (
            self.gpu_profiles[self.leader.profile] if node == "leader" else super().profile_of(node)
        )

    def configuration_of(self, node: str) -> Configuration:
        """What a node's own entry says. Raises `KeyError`."""
        return self.leader.configuration if node == "leader" else super().configuration_of(node)


class JoinedSettings(FollowersOnAws):
    """Everything a stack file says about followers on AWS of another stack's leader."""

    leader_stack: LeaderStack
    """The stack that has the leader; network, shared folder, secret and release are its. Another
    one is another cluster: never change it."""
