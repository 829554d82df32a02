"""Facts about an existing VPC and what is in it, each asked of AWS once, in paginated calls with lists as filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from model.placement import Placement, place
from model.problems import SettingsError
from model.settings.aws import Settings
from model.tags import CLUSTER_TAG
from preflight.situation import (
    Situation,
    file_systems,
    named_subnets,
    once,
    subnet_descriptions,
    zones_of_region,
)

Description = Mapping[str, Any]
"""One thing as AWS describes it."""


@once
def vpcs(situation: Situation) -> Mapping[str, Description]:
    """Every VPC of the account in the region, by id."""
    return {each["VpcId"]: each for each in _pages(situation, "describe_vpcs", "Vpcs")}


def existing_vpc(situation: Situation) -> Description | None:
    """The VPC that the stack file names, or None if it names none, or one that AWS does not show."""
    settings = situation.settings
    if not isinstance(settings, Settings) or settings.network.vpc_id is None:
        return None
    return vpcs(situation).get(settings.network.vpc_id)


def subnets_in_vpc(situation: Situation, vpc: Description) -> Mapping[str, Description]:
    """The named subnets that are of the named VPC, by id."""
    return {
        name: each
        for name, each in subnet_descriptions(situation).items()
        if each["VpcId"] == vpc["VpcId"]
    }


@once
def route_tables(situation: Situation) -> tuple[Description, ...]:
    """Route tables of the existing VPC."""
    return _of_vpc(situation, "describe_route_tables", "RouteTables")


@once
def endpoints(situation: Situation) -> tuple[Description, ...]:
    """Endpoints for services of AWS in the existing VPC."""
    return _of_vpc(situation, "describe_vpc_endpoints", "VpcEndpoints")


@once
def security_groups(situation: Situation) -> Mapping[str, Description]:
    """Security groups of the existing VPC, by id."""
    groups = _of_vpc(situation, "describe_security_groups", "SecurityGroups")
    return {each["GroupId"]: each for each in groups}


@once
def own_interfaces(situation: Situation) -> Mapping[str, str]:
    """Subnets of the cluster's network interfaces, by the interface's ``Name`` tag: the leader's, and one for each
    follower's machine."""
    found = _pages(
        situation, "describe_network_interfaces", "NetworkInterfaces", _tagged(situation.cluster)
    )
    return {_name(each.get("TagSet", [])): each["SubnetId"] for each in found}


def file_system_id(situation: Situation) -> str | None:
    """The file system that the stack file names, or else the cluster's own; None before the first deployment."""
    settings = situation.settings
    if isinstance(settings, Settings) and settings.shared_folder.file_system_id is not None:
        return settings.shared_folder.file_system_id
    for each in file_systems(situation):
        tags = {tag["Key"]: tag["Value"] for tag in each.get("Tags", [])}
        if tags.get(CLUSTER_TAG) == situation.cluster:
            return str(each["FileSystemId"])
    return None


@once
def mount_targets(situation: Situation) -> tuple[Description, ...]:
    """Mount targets of that file system; none, and no call, if AWS shows no such file system."""
    wanted = file_system_id(situation)
    if wanted not in {each["FileSystemId"] for each in file_systems(situation)}:
        return ()
    pages = (
        situation.client("efs")
        .get_paginator("describe_mount_targets")
        .paginate(FileSystemId=wanted)
    )
    return tuple(each for page in pages for each in page["MountTargets"])


@once
def groups_of_mount_targets(situation: Situation) -> Mapping[str, tuple[str, ...]]:
    """Security groups of each mount target, by the id of its network interface. EFS itself tells them for one mount
    target a call, EC2 for all."""
    wanted = [each["NetworkInterfaceId"] for each in mount_targets(situation)]
    if not wanted:
        return {}
    filters = [{"Name": "network-interface-id", "Values": wanted}]
    found = _pages(situation, "describe_network_interfaces", "NetworkInterfaces", filters)
    return {
        each["NetworkInterfaceId"]: tuple(group["GroupId"] for group in each["Groups"])
        for each in found
    }


@once
def offered_types(situation: Situation) -> Mapping[str, frozenset[str]]:
    """Zones that offer each instance type of the stack file."""
    types = sorted(situation.settings.instance_types)
    pages = (
        situation.client("ec2")
        .get_paginator("describe_instance_type_offerings")
        .paginate(
            LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": types}]
        )
    )
    found: dict[str, set[str]] = {}
    for page in pages:
        for each in page["InstanceTypeOfferings"]:
            found.setdefault(each["InstanceType"], set()).add(each["Location"])
    return {each: frozenset(zones) for each, zones in found.items()}


@once
def placement(situation: Situation) -> Placement | None:
    """The zones of every node as the program chooses them; None if it cannot, which the check ``offerings`` reports."""
    settings = situation.settings
    if not isinstance(settings, Settings):
        return None
    network = settings.network
    zones = network.availability_zones or zones_of_region(situation)
    if network.vpc_id is not None:
        zones = tuple(each.zone for each in named_subnets(situation).values())
    try:
        return place(settings, zones, offered_types(situation))
    except SettingsError:
        return None


def _of_vpc(situation: Situation, operation: str, key: str) -> tuple[Description, ...]:
    vpc = existing_vpc(situation)
    if vpc is None:
        return ()
    filters = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    return tuple(_pages(situation, operation, key, filters))


def _pages(
    situation: Situation, operation: str, key: str, filters: list[dict[str, Any]] | None = None
) -> Iterator[Description]:
    paginator = situation.client("ec2").get_paginator(operation)
    for page in paginator.paginate(Filters=filters or []):
        yield from page[key]


def _tagged(cluster: str) -> list[dict[str, Any]]:
    return [{"Name": f"tag:{CLUSTER_TAG}", "Values": [cluster]}]


def _name(tags: list[dict[str, str]]) -> str:
    return next((each["Value"] for each in tags if each["Key"] == "Name"), "")
