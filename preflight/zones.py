"""Where the nodes of a cluster and the leader's data are, and what a stack file says that they cannot follow.

Part of the check ``offerings``. Subnets, volumes and machines stay where they are, whatever the stack file says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from model.problems import Problem
from model.settings.aws import Settings
from model.tags import CLUSTER_TAG
from preflight.situation import Situation, own_zones

LEADER = "leader"


def zones_of_leader(situation: Situation) -> tuple[str, ...]:
    """Zone of the leader and of its data volume, which is there without a machine too; none before the first
    deployment.

    Several only where no machine has any of the volumes, as those that were given up by name stay in AWS. One call, and
    none while the leader runs.
    """
    running = situation.machines_of(LEADER)
    if running:
        return (running[0].zone,)
    filters = [
        {"Name": f"tag:{CLUSTER_TAG}", "Values": [situation.cluster]},
        {"Name": "tag:Name", "Values": [situation.name_of(f"{LEADER}-data")]},
        {"Name": "status", "Values": ["creating", "available", "in-use"]},
    ]
    volumes = situation.client("ec2").describe_volumes(Filters=filters)["Volumes"]
    attached = [each for each in volumes if each["Attachments"]]
    return tuple(sorted({each["AvailabilityZone"] for each in attached or volumes}))


def closed_zones(
    situation: Situation, settings: Settings, region_zones: Sequence[str]
) -> Iterator[Problem]:
    """Zones of the deployed network that a network of "all zones" would silently leave."""
    if settings.network.vpc_id is not None or settings.network.availability_zones:
        return
    present = own_zones(situation)
    closed = sorted(present - set(region_zones))
    if closed:
        every = ", ".join(sorted(present | set(region_zones)))
        yield Problem(
            path="network.availabilityZones",
            got=f"nothing, which means all zones; {', '.join(closed)} is closed now, and the cluster is in it",
            allowed="zones by name, as leaving a zone deletes its subnets",
            hint=f"to keep what is there: availabilityZones: [{every}]. To leave, move its nodes first",
        )


def left_zones(
    situation: Situation, settings: Settings, zones: Sequence[str], leader: Sequence[str]
) -> Iterator[Problem]:
    """Zones that the stack file's network has no more, and in which a node is; *leader* are those of its data."""
    network = settings.network
    if network.vpc_id is None and not network.availability_zones:
        return  # all zones: see closed_zones
    places = [
        (each.zone, node)
        for node in settings.followers
        for each in situation.machines_of(node)
        if each.zone not in zones
    ]
    if leader and not set(leader) & set(zones):
        places.append((leader[0], LEADER))
    key = "availabilityZones" if network.vpc_id is None else "subnetIds"
    for zone in sorted({zone for zone, _ in places}):
        nodes = [node for place, node in places if place == zone]
        followers = [node for node in nodes if node != LEADER]
        stays = f"the subnet in {zone}" if network.vpc_id else zone
        leave = "; the leader's data volume cannot leave its zone" if LEADER in nodes else ""
        if followers and not leave:
            first = f"followers.{followers[0]}.availabilityZones"
            leave = f"; to leave, move followers first: {first} without it, and `./cluster up`"
        yield Problem(
            path=f"network.{key}",
            got=f"a network without {zone}, in which {', '.join(nodes)} {'is' if len(nodes) == 1 else 'are'}",
            allowed="zones with a node in them, and others",
            hint=f"put {stays} back{leave}",
        )


def leader_out_of_place(
    settings: Settings,
    planned: str,
    zones: Sequence[str],
    leader: Sequence[str],
    offered: Mapping[str, frozenset[str]],
) -> Iterator[Problem]:
    """A leader whose type is not where its data are, or that the order of the zones would put elsewhere.

    *planned* is its zone as the program chooses it of *zones*, *leader* those of its data, *offered* the zones of each
    type. A zone that the stack file names is not judged, as the plan shows what it gives up; nor is one that the
    network has no more, which :func:`left_zones` tells.
    """
    wanted = settings.profile_of(LEADER).instance_types[0]
    if not leader:
        return
    zone = leader[0]
    if not set(leader) & offered.get(wanted, frozenset()):
        yield Problem(
            path="leader.profile",
            got=f"{wanted}, which {zone} does not offer, and the leader's data volume is there",
            allowed=f"a type that {zone} offers",
            hint=f"aws ec2 describe-instance-type-offerings --location-type availability-zone "
            f"--filters Name=location,Values={zone} lists them; the machine itself was not touched",
        )
    elif planned not in leader and zone in zones and not settings.leader.availability_zone:
        yield Problem(
            path="leader.availabilityZone",
            got=f"nothing, which means {planned} now, and the leader's data volume is in {zone}",
            allowed=f"{zone}, as a volume cannot leave its zone",
            hint=f"write leader.availabilityZone: {zone}",
        )
