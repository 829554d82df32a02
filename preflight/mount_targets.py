"""Part of the check ``references``: whether nodes reach an existing EFS file system."""

from __future__ import annotations

from collections.abc import Iterator

from model.problems import Problem
from model.settings.aws import Settings
from preflight.admission import admitted, visitors_of
from preflight.network_facts import (
    Description,
    existing_vpc,
    groups_of_mount_targets,
    mount_targets,
    placement,
    security_groups,
    subnets_in_vpc,
)
from preflight.situation import (
    Finding,
    Remark,
    Situation,
    file_systems,
    own_subnets,
)

NFS_PORT = 2049
PATH = "sharedFolder.fileSystemId"


def reachable_folder(situation: Situation) -> Iterator[Finding]:
    """Mount targets of a named file system that are in another VPC, missing, not available, or closed to the nodes.

    A node mounts it by name, which leads to the mount target of its own zone in its own VPC. At most four calls, none
    if the stack file names no file system.
    """
    settings = situation.settings
    if not isinstance(settings, Settings) or settings.shared_folder.file_system_id is None:
        return
    name = settings.shared_folder.file_system_id
    states = {each["FileSystemId"]: each["LifeCycleState"] for each in file_systems(situation)}
    if states.get(name) != "available":
        return  # the part about names and ids reports it
    vpc_id = _own_vpc(situation, settings)
    targets = mount_targets(situation)
    here = [each for each in targets if each["VpcId"] == vpc_id]
    if not here:
        yield _elsewhere(name, vpc_id, targets)
        return
    yield from _missing(situation, name, here)
    for each in here:
        if each["LifeCycleState"] != "available":
            yield Problem(
                PATH,
                f"{name}, whose mount target {each['MountTargetId']} in {each['AvailabilityZoneName']} is "
                f"{each['LifeCycleState']}",
                "mount targets that are available",
                f"aws efs describe-mount-targets --file-system-id {name} shows when it is",
            )
    yield from _closed(situation, name, here)


def _own_vpc(situation: Situation, settings: Settings) -> str | None:
    """The VPC that the nodes are or will be in; None for one that the program has still to make."""
    if settings.network.vpc_id is not None:
        return settings.network.vpc_id
    return next((str(each["VpcId"]) for each in own_subnets(situation)), None)


def _elsewhere(name: str, vpc_id: str | None, targets: tuple[Description, ...]) -> Problem:
    """AWS has the mount targets of a file system in one VPC at a time."""
    others = sorted({each["VpcId"] for each in targets})
    got = (
        f"{name}, whose mount targets are in {', '.join(others)}"
        if others
        else f"{name} without a mount target"
    )
    if vpc_id is None and others:
        hint = f"set network.vpcId to {others[0]}, and network.subnetIds to private subnets of it"
    elif vpc_id is None:
        hint = "name an existing VPC in network.vpcId, and make mount targets in its zones"
    else:
        hint = (
            f"{_make(name, 'a subnet of each zone')}, once those in another VPC are deleted"
            if others
            else _make(name, "a subnet of each zone")
        )
    allowed = (
        f"mount targets in {vpc_id}"
        if vpc_id
        else "mount targets in the cluster's VPC, which is not made yet"
    )
    return Problem(PATH, got, allowed, hint)


def _missing(situation: Situation, name: str, here: list[Description]) -> Iterator[Problem]:
    places = placement(situation)
    present = {each["AvailabilityZoneName"] for each in here}
    missing = [zone for zone in places.zones if zone not in present] if places else []
    if missing:
        vpc = existing_vpc(situation)
        subnets = subnets_in_vpc(situation, vpc) if vpc else {}
        into = [each for each in subnets if subnets[each]["AvailabilityZone"] in missing]
        yield Problem(
            PATH,
            f"{name} without a mount target in {', '.join(missing)}, where nodes may be",
            f"one in each zone of the nodes; there are some in {', '.join(sorted(present))}",
            f"{_make(name, ' and '.join(into) or 'a subnet there')}; a One Zone file system cannot have them: then "
            "keep all nodes in its zone",
        )


def _closed(situation: Situation, name: str, here: list[Description]) -> Iterator[Finding]:
    """Security groups that keep nodes out, in an existing VPC, whose blocks and groups are known."""
    vpc = existing_vpc(situation)
    if vpc is None:
        return
    by_zone = {each["AvailabilityZoneName"]: each for each in here}
    known, of_target = security_groups(situation), groups_of_mount_targets(situation)
    for subnet_id, subnet in subnets_in_vpc(situation, vpc).items():
        target = by_zone.get(subnet["AvailabilityZone"])
        if target is None or target["NetworkInterfaceId"] not in of_target:
            continue
        names = of_target[target["NetworkInterfaceId"]]
        groups = [known[each] for each in names if each in known]
        verdict = admitted(visitors_of(situation, subnet["CidrBlock"]), groups, NFS_PORT)
        block = subnet["CidrBlock"]
        if verdict is None:
            yield Remark(
                f"whether {', '.join(names)} of {name} opens port {NFS_PORT} to all of {subnet_id} ({block}) cannot "
                "be known, because of a prefix list or a smaller block"
            )
        elif not verdict:
            yield Problem(
                PATH,
                f"{name}, whose mount target in {subnet['AvailabilityZone']} ({', '.join(names)}) is closed to "
                f"{subnet_id}",
                f"a security group that opens TCP {NFS_PORT} to {block}",
                f"aws ec2 authorize-security-group-ingress --region {situation.region} --group-id {names[0]} "
                f"--protocol tcp --port {NFS_PORT} --cidr {block}",
            )


def _make(name: str, subnets: str) -> str:
    return f"aws efs create-mount-target --file-system-id {name} --subnet-id with {subnets}"
