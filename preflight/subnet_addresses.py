"""Part of the check ``references``: whether existing subnets have free addresses for what the plan puts into them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from model.placement import Placement
from model.problems import Problem
from model.settings.aws import Settings
from preflight.network_facts import (
    Description,
    existing_vpc,
    mount_targets,
    own_interfaces,
    placement,
    subnets_in_vpc,
)
from preflight.situation import Finding, Remark, Situation
from preflight.zones import LEADER, zones_of_leader


def addresses(situation: Situation) -> Iterator[Finding]:
    """Subnets that cannot hold what has to be in them, and followers that no subnet has room for.

    What is there already has its address. A follower goes on to its next zone if one is full, so only what fits nowhere
    is a problem. At most five calls, none without an existing VPC.
    """
    vpc, settings = existing_vpc(situation), situation.settings
    places = placement(situation) if vpc is not None else None
    if vpc is None or places is None or not isinstance(settings, Settings):
        return
    subnets = subnets_in_vpc(situation, vpc)
    by_zone = {each["AvailabilityZone"]: name for name, each in subnets.items()}
    free = {name: int(each["AvailableIpAddressCount"]) for name, each in subnets.items()}
    fixed = _fixed(situation, settings, places, by_zone)
    left = dict(free)
    for name, wanted in fixed.items():
        left[name] = free[name] - len(wanted)
        if left[name] < 0:
            yield _too_small(subnets[name], free[name], wanted)
    coming = {
        node: [by_zone[zone] for zone in zones if zone in by_zone]
        for node, zones in places.followers.items()
        if situation.name_of(node) not in own_interfaces(situation)
    }
    homeless = without_place(coming, left)
    if homeless:
        yield _no_place(homeless, sorted({each for node in homeless for each in coming[node]}))
        return
    full = [
        name for name in left if left[name] == 0 and any(name in each for each in coming.values())
    ]
    if full:
        yield Remark(
            f"{', '.join(full)} has no address left for a follower, which then is in another zone"
        )


def _fixed(
    situation: Situation, settings: Settings, places: Placement, by_zone: Mapping[str, str]
) -> dict[str, list[str]]:
    """What comes into each subnet and can be in no other: the leader's interface, and mount targets of a new EFS."""
    wanted: dict[str, list[str]] = {}
    interface = situation.name_of(f"{LEADER}-interface")
    if interface not in own_interfaces(situation):
        zone = next(iter(zones_of_leader(situation)), places.leader)
        if zone in by_zone:
            wanted.setdefault(by_zone[zone], []).append("the leader's interface")
    if settings.shared_folder.file_system_id is None:
        present = {each["SubnetId"] for each in mount_targets(situation)}
        for zone in places.zones:
            if zone in by_zone and by_zone[zone] not in present:
                wanted.setdefault(by_zone[zone], []).append("the mount target of EFS")
    return wanted


def without_place(nodes: Mapping[str, Sequence[str]], free: Mapping[str, int]) -> list[str]:
    """The nodes that get no address in whichever way the others are put; *nodes* maps each to its subnets, *free* a
    subnet to its free addresses."""
    placed: dict[str, str] = {}

    def put(node: str, tried: set[str]) -> bool:
        taken = Counter(placed.values())
        for subnet in nodes[node]:
            if subnet in tried:
                continue
            tried.add(subnet)
            others = [each for each, where in placed.items() if where == subnet]
            if taken[subnet] < free[subnet] or any(put(each, tried) for each in others):
                placed[node] = subnet
                return True
        return False

    return [node for node in nodes if not put(node, set())]


def _too_small(subnet: Description, free: int, wanted: list[str]) -> Problem:
    name = subnet["SubnetId"]
    return Problem(
        path="network.subnetIds",
        got=f"{name} ({subnet['CidrBlock']}), whose free addresses are {free or 'none'}",
        allowed=f"{len(wanted)} free, for {' and '.join(wanted)}",
        hint=_who_has_them(name),
    )


def _no_place(nodes: list[str], subnets: list[str]) -> Problem:
    shown = ", ".join(f"followers.{each}" for each in nodes[:3])
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return Problem(
        path="network.subnetIds",
        got=f"no free address for {shown}{more} in {', '.join(subnets)}",
        allowed="subnets with a free address for each machine that is not there yet",
        hint=f"{_who_has_them(','.join(subnets))}; or add a subnet of another zone",
    )


def _who_has_them(subnets: str) -> str:
    return f"aws ec2 describe-network-interfaces --filters Name=subnet-id,Values={subnets} shows who has the addresses"
