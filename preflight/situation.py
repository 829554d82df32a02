"""What a stack would change and where: the facts that the checks of the preflight share, each asked of AWS once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from model.existing_network import Subnet
from model.plan import PlannedNode, planned_nodes
from model.problems import Problem
from model.recorded import Recorded, recorded
from model.settings.aws import FollowersOnAws, Settings
from model.settings.sections import Release
from model.tags import CLUSTER_TAG

ATTEMPTS = 4
"""How often a call is tried that AWS throttles or does not answer; botocore's waits between are at most 7 s in all."""

PATIENCE = Config(
    connect_timeout=3,
    read_timeout=8,
    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    max_pool_connections=20,
)

COUNTED_STATES = ("pending", "running")
"""States of a machine in which it counts against a quota and is paid for."""

Fact = TypeVar("Fact")


def nothing_recorded() -> Recorded:
    """What is known of a stack that was never deployed."""
    return recorded(())


class UnansweredError(Exception):
    """A check that AWS did not answer; the message says what was missing and how to get it."""


UNANSWERED = (BotoCoreError, ClientError, ResponseParserError, ValueError)
"""What asking AWS who the caller is may end in: the last two are a proxy's page, and settings of AWS that are none."""


@dataclass(frozen=True)
class Remark:
    """What a check has to say that keeps no deployment from starting."""

    text: str
    document: str = ""
    """What somebody is to copy, shown as it is below the table of the checks."""


@dataclass(frozen=True)
class Unanswered:
    """A part of a check that AWS did not answer, while the other parts ran."""

    text: str


Finding = Problem | Remark | Unanswered
"""One thing that a check has found; a check that finds no problem, and whose parts all ran, has passed."""


@dataclass(frozen=True, kw_only=True)
class RunningMachine:
    """A machine of this account and region that runs or is about to, whoever made it."""

    instance_id: str
    instance_type: str
    zone: str
    market: str
    """``on-demand``, ``spot`` or ``capacity-block``."""
    name: str
    """Its ``Name`` tag; empty without one."""
    cluster: str
    """Value of the cluster's tag; empty for what is not of this program."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """All its tags."""
    launched: datetime | None = None
    """When AWS launched it, if that is known."""


@dataclass(frozen=True, kw_only=True, eq=False)  # one is itself: what it learns is kept by it
class Situation:
    """One stack file, the account it is for, and what runs there now."""

    settings: FollowersOnAws
    region: str
    cluster: str
    """``<project>/<stack>``."""
    nodes: tuple[PlannedNode, ...]
    client: Callable[[str], Any]
    """Makes a boto3 client of one service in the region; of ``pricing`` in `preflight.price_list.SERVICE_REGION`."""
    machines: Callable[[], tuple[RunningMachine, ...]]
    """What runs in the region; asked of AWS once, by the first check that wants it."""
    known: Callable[[], Recorded] = nothing_recorded
    """What the stack's state says of its cluster."""
    release: Release | None = None
    """The release of the nodes, of a joined stack the one of its leader; None while that is not deployed."""
    choice: str = ""
    """The words after a command that mean this stack in this place (`operate.stack.deployment.choice_of`)."""
    is_rehearsal: bool = False
    """Whether AWS is the sandbox's, whose machines reach nothing else."""

    @property
    def stack(self) -> str:
        """Name of the stack."""
        return self.cluster.rpartition("/")[2]

    def machines_of(self, node: str) -> tuple[RunningMachine, ...]:
        """The machines of a node of this cluster that run; two while one replaces the other."""
        name = self.name_of(node)
        return tuple(
            each for each in self.machines() if (each.cluster, each.name) == (self.cluster, name)
        )

    def command(self, name: str) -> str:
        """The command for this stack: ``./cluster image-refresh prod``."""
        stack = self.cluster.rpartition("/")[2]
        return f"./cluster {name} {stack}"

    def name_of(self, part: str) -> str:
        """The ``Name`` tag of a node, or of what belongs to one: ``leader-data``."""
        return f"graphistry-{self.stack}-{part}"


def situation_of(
    settings: FollowersOnAws,
    region: str,
    cluster: str,
    client: Callable[[str, Config], Any],
    release: Release | None,
    known: Callable[[], Recorded] = nothing_recorded,
    *,
    choice: str = "",
    is_rehearsal: bool = False,
) -> Situation:
    """The situation of a stack file, nothing of it asked yet; *client* makes a boto3 client of a service.

    Checks run side by side and share its clients: making one is not safe from two threads, using one is.
    """
    clients: dict[str, Callable[[], Any]] = {}

    def shared(service: str) -> Any:
        with making:
            if service not in clients:
                clients[service] = client(service, PATIENCE)
            return clients[service]

    making = threading.Lock()
    situation = Situation(
        settings=settings,
        region=region,
        cluster=cluster,
        nodes=planned_nodes(settings),
        client=shared,
        machines=lambda: _running(situation),
        known=known,
        release=release,
        choice=choice,
        is_rehearsal=is_rehearsal,
    )
    return situation


def once(gather: Callable[[Situation], Fact]) -> Callable[[Situation], Fact]:
    """Let checks that run side by side share a fact: it is gathered for the first, who the others wait for.

    An error is shared too, as more calls would not mend it.
    """
    known: WeakKeyDictionary[Situation, Future[Fact]] = WeakKeyDictionary()
    alone = threading.Lock()

    @wraps(gather)
    def gathered(situation: Situation) -> Fact:
        with alone:
            if situation not in known:
                known[situation] = Future()
                try:
                    known[situation].set_result(gather(situation))
                except Exception as error:
                    known[situation].set_exception(error)
        return known[situation].result()

    return gathered


@once
def account_id(situation: Situation) -> str:
    """The account of whoever deploys."""
    return str(situation.client("sts").get_caller_identity()["Account"])


@once
def zones_of_region(situation: Situation) -> tuple[str, ...]:
    """Zones that are open to every account, sorted; Local and Wavelength Zones have neither EFS nor most GPU types."""
    usual = [{"Name": "opt-in-status", "Values": ["opt-in-not-required"]}]
    zones = situation.client("ec2").describe_availability_zones(Filters=usual)["AvailabilityZones"]
    return tuple(sorted(each["ZoneName"] for each in zones if each["State"] == "available"))


@once
def subnet_descriptions(situation: Situation) -> Mapping[str, Mapping[str, Any]]:
    """What AWS says of the subnets that the stack file names, in the order of the stack file; no call if it names
    none."""
    settings = situation.settings
    wanted = settings.network.subnet_ids if isinstance(settings, Settings) else ()
    if not wanted:
        return {}
    pages = (
        situation.client("ec2")
        .get_paginator("describe_subnets")
        .paginate(Filters=[{"Name": "subnet-id", "Values": list(wanted)}])
    )
    shown = {each["SubnetId"]: each for page in pages for each in page["Subnets"]}
    return {each: shown[each] for each in wanted if each in shown}


def named_subnets(situation: Situation) -> Mapping[str, Subnet]:
    """VPC and zone of those subnets."""
    return {
        name: Subnet(vpc_id=each["VpcId"], zone=each["AvailabilityZone"])
        for name, each in subnet_descriptions(situation).items()
    }


@once
def own_subnets(situation: Situation) -> tuple[Mapping[str, Any], ...]:
    """The subnets that the cluster has made, as AWS describes them; none before the first deployment."""
    ours = [{"Name": f"tag:{CLUSTER_TAG}", "Values": [situation.cluster]}]
    return tuple(situation.client("ec2").describe_subnets(Filters=ours)["Subnets"])


def own_zones(situation: Situation) -> frozenset[str]:
    """Zones of those subnets."""
    return frozenset(each["AvailabilityZone"] for each in own_subnets(situation))


@once
def file_systems(situation: Situation) -> tuple[dict[str, Any], ...]:
    """The EFS file systems of the account in the region, as AWS describes them, whoever made them."""
    pages = situation.client("efs").get_paginator("describe_file_systems").paginate()
    return tuple(each for page in pages for each in page["FileSystems"])


@once
def _running(situation: Situation) -> tuple[RunningMachine, ...]:
    pages = (
        situation.client("ec2")
        .get_paginator("describe_instances")
        .paginate(Filters=[{"Name": "instance-state-name", "Values": list(COUNTED_STATES)}])
    )
    return tuple(
        _machine(each)
        for page in pages
        for reservation in page["Reservations"]
        for each in reservation["Instances"]
    )


def _machine(instance: dict[str, Any]) -> RunningMachine:
    tags = {each["Key"]: each["Value"] for each in instance.get("Tags", [])}
    return RunningMachine(
        instance_id=instance["InstanceId"],
        instance_type=instance["InstanceType"],
        zone=instance["Placement"]["AvailabilityZone"],
        market=instance.get("InstanceLifecycle", "on-demand"),
        name=tags.get("Name", ""),
        cluster=tags.get(CLUSTER_TAG, ""),
        tags=tags,
        launched=instance.get("LaunchTime"),
    )
