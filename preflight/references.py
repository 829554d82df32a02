"""The check ``references``: whether what a stack file names by id or name is in this account and region, and works.

Images and capacity reservations have checks of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from model.existing_network import wrong_subnets
from model.problems import Problem
from model.settings.aws import Settings
from model.settings.named_zones import named_zones
from preflight.address_blocks import blocks
from preflight.mount_targets import reachable_folder
from preflight.network_facts import vpcs
from preflight.network_names import names
from preflight.network_routes import routes
from preflight.parts import together
from preflight.situation import (
    Finding,
    Situation,
    file_systems,
    named_subnets,
    own_zones,
    zones_of_region,
)
from preflight.subnet_addresses import addresses
from preflight.volume_key import volume_key


def references(situation: Situation) -> tuple[Finding, ...]:
    """Problems of VPC, subnets, zones, file system and default key that the cluster depends on.

    One call of AWS for a stack file that names none, and at most 25 for one that names all, some of them shared with
    other checks, however many followers and subnets. A part that AWS does not answer hides no problem of another.
    """
    return together(situation, PARTS)


def _named(situation: Situation) -> Iterator[Problem]:
    """What AWS does not show."""
    settings = situation.settings
    yield from _zones(situation)
    if isinstance(settings, Settings):  # else the leader's stack names them
        yield from _network(situation, settings)
        yield from _file_system(situation, settings)


PARTS = (_named, names, routes, addresses, blocks, reachable_folder, volume_key)


def _network(situation: Situation, settings: Settings) -> Iterator[Problem]:
    network = settings.network
    if network.vpc_id is None:
        return
    known = sorted(vpcs(situation))
    if network.vpc_id not in known:
        yield _unknown("network.vpcId", network.vpc_id, situation, "VPC", known)
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
    if network.vpc_id in known:
        yield from wrong_subnets(network.vpc_id, subnets)


def _zones(situation: Situation) -> Iterator[Problem]:
    """Zones that AWS does not show; one that it has closed goes on where the cluster is in it."""
    named = list(named_zones(situation.settings))
    zones = zones_of_region(situation) if named else ()
    unknown = [(path, each) for path, each in named if each not in zones]
    present = own_zones(situation) if unknown else frozenset()
    told = set()
    for path, each in unknown:
        if each in present or each in told:
            continue
        told.add(each)
        if each.startswith(situation.region):
            yield _unknown(path, each, situation, "availability zone", zones)
        else:
            yield Problem(
                path=path,
                got=f"{each}, which is not a zone of {situation.region}",
                allowed=", ".join(zones),
                hint=f"or set aws:region to {each[:-1]}, if the cluster should be there",
            )


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
