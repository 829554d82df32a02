"""The check ``references``: whether what a stack file names by id or name is in this account and region.

Images and capacity reservations have checks of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from model.existing_network import wrong_subnets
from model.problems import Problem
from model.settings import Settings
from operate.preflight.situation import (
    Situation,
    file_systems,
    named_subnets,
    own_zones,
    zones_of_region,
)


def references(situation: Situation) -> tuple[Problem, ...]:
    """Problems of VPC, subnets, zones and file system that the stack file names; no call of AWS where it names none.

    At most four paginated calls.
    """
    settings = situation.settings
    if not isinstance(settings, Settings):
        return ()  # the leader's stack names them
    return (
        *_network(situation, settings),
        *_zones(situation, settings),
        *_file_system(situation, settings),
    )


def _network(situation: Situation, settings: Settings) -> Iterator[Problem]:
    network = settings.network
    if network.vpc_id is None:
        return
    pages = situation.client("ec2").get_paginator("describe_vpcs").paginate()
    vpcs = sorted(each["VpcId"] for page in pages for each in page["Vpcs"])
    if network.vpc_id not in vpcs:
        yield _unknown("network.vpcId", network.vpc_id, situation, "VPC", vpcs)
    subnets = named_subnets(situation)
    for each in network.subnet_ids:
        if each not in subnets:
            yield Problem(
                path="network.subnetIds",
                got=_not_shown(each, situation),
                allowed=f"subnets of network.vpcId, {network.vpc_id}",
                hint=f"aws ec2 describe-subnets --region {situation.region} "
                f"--filters Name=vpc-id,Values={network.vpc_id} lists them",
            )
    if network.vpc_id in vpcs:
        yield from wrong_subnets(network.vpc_id, subnets)


def _zones(situation: Situation, settings: Settings) -> Iterator[Problem]:
    """Zones that AWS does not show; one that it has closed goes on where the cluster is in it."""
    named = settings.network.availability_zones
    zones = zones_of_region(situation) if named else ()
    unknown = [each for each in named if each not in zones]
    present = own_zones(situation) if unknown else frozenset()
    for each in unknown:
        if each not in present:
            yield _unknown("network.availabilityZones", each, situation, "availability zone", zones)


def _file_system(situation: Situation, settings: Settings) -> Iterator[Problem]:
    wanted = settings.shared_folder.file_system_id
    if wanted is None:
        return
    path = "sharedFolder.fileSystemId"
    states = {each["FileSystemId"]: each["LifeCycleState"] for each in file_systems(situation)}
    usable = sorted(name for name, state in states.items() if state == "available")
    if wanted not in states:
        yield _unknown(path, wanted, situation, "EFS file system", usable)
    elif wanted not in usable:
        allowed = "a file system that is available"
        yield Problem(path, f"{wanted}, which is {states[wanted]}", allowed, "wait for it")


def _unknown(
    path: str, named: str, situation: Situation, kind: str, known: Sequence[str]
) -> Problem:
    return Problem(
        path=path,
        got=_not_shown(named, situation),
        allowed=", ".join(known) or f"none: there is no {kind} in this account here",
        hint="look at its spelling, at aws:region, and whose credentials these are",
    )


def _not_shown(named: str, situation: Situation) -> str:
    return f"{named}, which AWS does not show in this account in {situation.region}"
