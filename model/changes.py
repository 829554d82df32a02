"""What a change of each key of a stack file does to a cluster that runs; `model.changed_keys` finds the keys.

The docstrings of the settings say the same at length; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Effect(StrEnum):
    """What a change does to machines, the harmless first."""

    IN_PLACE = "in place"
    """The machine stays; services may restart."""
    NEXT_MACHINE = "next machine"
    """The running machine stays as it is; the next one of that node is as the stack file says."""
    ROLLING = "rolling"
    """Node after node, the leader first; the machines stay."""
    REPLACES = "replaces machine"
    """Another machine takes the node's place; what holds data stays."""
    NEVER = "never"
    """Refused, or it is other data or another cluster."""


@dataclass(frozen=True)
class Change:
    """What a change of one key does."""

    effect: Effect
    words: str
    """In a few words, what happens."""
    to_leader: Change | None = None
    """What it does to the leader, where that is something else."""
    smaller: Change | None = None
    """What a smaller number does, or a list with less to choose from, where that is something else."""
    taken_out: Change | None = None
    """What it does to take the key out, where that is something else."""


_IN_PLACE, _NEXT, _ROLLING = Effect.IN_PLACE, Effect.NEXT_MACHINE, Effect.ROLLING
_REPLACES, _NEVER = Effect.REPLACES, Effect.NEVER
OTHER_CLUSTER = Change(_NEVER, "it is another cluster; copy the stack file under another name")
_OTHER_DATA = Change(_NEVER, "it is other data, and nodes refuse what is not this cluster's")
_GPU_SERVICES = Change(_IN_PLACE, "the GPU services restart")
_ONE_SERVICE = Change(_IN_PLACE, "that service restarts")
_AT_ONCE = Change(_IN_PLACE, "no node notices")
_VARIABLES = Change(_IN_PLACE, "the services that have them restart")
_FILES = Change(_IN_PLACE, "the services that have them are made anew")
_TOUCHES_NOTHING = Change(_IN_PLACE, "touches nothing")
_NO_HELPER = Change(_IN_PLACE, "touches no node that has a mount helper")
_FOLLOWERS_TYPE = Change(
    _REPLACES, "if its type is listed no more, the new machine before the old one"
)
_OTHER_TYPE = Change(
    _NEXT,
    "the running one keeps its type",
    to_leader=Change(
        _IN_PLACE, "stops and starts if the first type is another; address and data stay"
    ),
    smaller=_FOLLOWERS_TYPE,
)
_OTHER_ZONES = Change(
    _NEXT,
    "the running one stays in its zone",
    smaller=Change(
        _REPLACES,
        "if it is outside its zones now: moved by AWS, the new machine before the old one",
    ),
)
_OTHER_IMAGE = Change(
    _NEXT,
    "the running one keeps its image",
    Change(_REPLACES, "if it runs another image; address and data stay"),
)
_RELEASE = Change(_ROLLING, "every node installs it, the leader first")
_VOLUME = Change(_IN_PLACE, "changed by AWS while it is used, once in six hours")
_OTHER_HOST = Change(
    _REPLACES,
    "the node is set up there, and removed from the old host",
    Change(
        _NEVER, "it is other data: first `./cluster down`, and take along those of the old host"
    ),
)

EVERYWHERE: Mapping[str, Change] = {
    "site": OTHER_CLUSTER,
    "leaderStack": OTHER_CLUSTER,
    "gpuProfiles.<name>": Change(_IN_PLACE, "a profile alone touches no node"),
    "gpuProfiles.<name>.gpus": _GPU_SERVICES,
    "gpuProfiles.<name>.workersPerGpu.forge": _ONE_SERVICE,
    "gpuProfiles.<name>.workersPerGpu.streamgl": _ONE_SERVICE,
    "gpuProfiles.<name>.workersPerGpu.dask": _ONE_SERVICE,
    "followers.<name>": Change(_IN_PLACE, "made or removed; no other follower notices"),
    "followers.<name>.gpus": _GPU_SERVICES,
    **{
        f"{of}configuration.{key}": change
        for of in ("", "followers.<name>.")
        for key, change in {"env": _VARIABLES, "files": _FILES}.items()
    },
    "secretEnv": _VARIABLES,
    "release.version": _RELEASE,
    "release.cuda": _RELEASE,
    "release.source": Change(_IN_PLACE, "the next installation takes it from there"),
    "release.sha256": Change(
        _IN_PLACE, "the nodes fetch the archive again, and compare it with this"
    ),
}
"""Keys that mean the same on every site."""

ON_AWS: Mapping[str, Change] = {
    **EVERYWHERE,
    "gpuProfiles.<name>.instanceTypes": _OTHER_TYPE,
    "gpuProfiles.<name>.rootVolumeGib": Change(
        _NEXT,
        "the running one keeps its disk",
        Change(_IN_PLACE, "grows", smaller=Change(_NEVER, "AWS shrinks no disk")),
    ),
    "followers.<name>.profile": _FOLLOWERS_TYPE,
    "followers.<name>.availabilityZones": _OTHER_ZONES,
    "followers.<name>.market": Change(
        _REPLACES, "bought so; the new machine is ready before the old one ends"
    ),
    "followers.<name>.capacityReservation": Change(_NEXT, "it starts in that reservation"),
    "image.id": _OTHER_IMAGE,
    "image.lock.<name>": _OTHER_IMAGE,
    "image.lock.<name>.id": _OTHER_IMAGE,
    "image.lock.<name>.name": _TOUCHES_NOTHING,
    "image.lock.<name>.driver": _TOUCHES_NOTHING,
    "image.lock.<name>.cuda": _TOUCHES_NOTHING,
    "image.lock.<name>.date": _TOUCHES_NOTHING,
    "image.ssmParameter": Change(
        _NEXT, "nodes made later; `./cluster image-refresh` for the others"
    ),
    "image.marketplace": Change(
        _NEXT, "nodes made later; `./cluster image-refresh` for the others"
    ),
    "image.release": _TOUCHES_NOTHING,
    "instanceMetadata": Change(
        _NEXT,
        "machine closes it at once, on running machines too",
        to_leader=Change(_IN_PLACE, "nothing restarts"),
    ),
    "image.mountHelper.source": _NO_HELPER,
    "image.mountHelper.sha256": _NO_HELPER,
    "tags": _AT_ONCE,
    "shells.logged": _AT_ONCE,
    "encryptionKey": Change(_NEVER, "data keep the key that they were made with"),
    "leader.profile": Change(_IN_PLACE, "stops and starts as the new type; address and data stay"),
    "leader.configuration.env": _VARIABLES,
    "leader.configuration.files": _FILES,
    "leader.availabilityZone": Change(_NEVER, "a data volume cannot leave its zone"),
    "leader.dataVolume.sizeGib": Change(
        _IN_PLACE, "grows", smaller=Change(_NEVER, "AWS shrinks no volume")
    ),
    "leader.dataVolume.iops": _VOLUME,
    "leader.dataVolume.throughputMibps": _VOLUME,
    "leader.dataVolume.backups.everyHours": Change(_IN_PLACE, "switching off keeps those taken"),
    "leader.dataVolume.backups.keepDays": Change(_IN_PLACE, "for the snapshots taken from then on"),
    "leader.dataVolume.snapshotId": Change(
        _NEVER,
        "while machines run; after `./cluster down` another volume with what is in it, AWS keeps the old one",
        taken_out=_TOUCHES_NOTHING,
    ),
    "leader.reserveCapacity": _AT_ONCE,
    "leader.capacityReservation": Change(
        _IN_PLACE, "stops and starts in or out of it; address and data stay"
    ),
    "sharedFolder.fileSystemId": _OTHER_DATA,
    "sharedFolder.throughputMode": Change(_IN_PLACE, "at most once a day"),
    "sharedFolder.provisionedThroughputMibps": Change(_IN_PLACE, "a decrease at most once a day"),
    "sharedFolder.backups": Change(_IN_PLACE, "switching off keeps those taken"),
    "network.cidrBlock": Change(_REPLACES, "another network, and every machine with it"),
    "network.availabilityZones": Change(
        _IN_PLACE,
        "a zone goes only when no node is in it; nodes reach the internet from another address if the first zone is "
        "another (natGateways single) or their zone's gateway goes (per-zone)",
    ),
    "network.natGateways": _AT_ONCE,
    "network.flowLogs": _AT_ONCE,
    "network.vpcId": Change(_REPLACES, "another network, and every machine with it"),
    "network.subnetIds": Change(_IN_PLACE, "a subnet goes only when no node is in it"),
    "placement": _OTHER_ZONES,
    "preflight.skip": _TOUCHES_NOTHING,
    "budget.monthlyUsd": _TOUCHES_NOTHING,
    "budget.alarmEmails": _TOUCHES_NOTHING,
    "access.allowedCidrs": _AT_ONCE,
}
"""Every key of a stack file on AWS."""

ON_HOSTS: Mapping[str, Change] = {
    **EVERYWHERE,
    "gpuProfiles.<name>.gpuMemoryGib": _GPU_SERVICES,
    "gpuProfiles.<name>.memoryGib": _GPU_SERVICES,
    **{
        f"ssh.{key}": _TOUCHES_NOTHING
        for key in (
            "user",
            "port",
            "bastion.address",
            "bastion.user",
            "bastion.port",
            "bastion.hostKey",
        )
    },
    "sshPrivateKey": _TOUCHES_NOTHING,
    **{
        f"{node}.{key}": change
        for node in ("leader", "followers.<name>")
        for key, change in {
            "profile": _GPU_SERVICES,
            "gpus": _GPU_SERVICES,
            "host.address": _OTHER_HOST,
            "host.privateAddress": Change(_IN_PLACE, "every node is informed"),
            "host.hostKey": _TOUCHES_NOTHING,
            "host.user": _TOUCHES_NOTHING,
            "host.port": _TOUCHES_NOTHING,
        }.items()
    },
    **{
        f"sharedFolder.{key}": _OTHER_DATA for key in ("kind", "folder", "server", "export", "path")
    },
    "leader.configuration.env": _VARIABLES,
    "leader.configuration.files": _FILES,
    "dataServices.kind": Change(
        _NEVER, "it is another database: first `./cluster down`, and take the data along"
    ),
    "encryption": Change(
        _IN_PLACE,
        "the leader's PostgreSQL and Redis restart, nodes mount the folder anew; joined stacks: `./cluster up` there",
    ),
    "telemetry.allowedCidrs": Change(_IN_PLACE, "every node's firewall; no service restarts"),
    "dataServices.postgresImage": Change(_IN_PLACE, "another container; its volume stays"),
    "dataServices.redisImage": Change(_IN_PLACE, "another container"),
}
"""Every key of a stack file on hosts."""
