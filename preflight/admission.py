"""Whether security groups let nodes in, as far as that is certain."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from preflight.network_facts import security_groups
from preflight.situation import Situation


@dataclass(frozen=True, kw_only=True)
class Visitors:
    """Who wants to be let in: the nodes of a subnet."""

    block: IPv4Network
    """Where their addresses are from."""

    groups: frozenset[str]
    """The security groups of leader and followers; fewer before the first deployment, as the program makes them."""


def visitors_of(situation: Situation, block: str) -> Visitors:
    """The nodes of a subnet with that block of addresses."""
    names = {situation.name_of("leader"), situation.name_of("followers")}
    own = {
        name: group_id
        for group_id, each in security_groups(situation).items()
        for tag in each.get("Tags", [])
        if tag["Key"] == "Name" and (name := tag["Value"]) in names
    }
    groups = frozenset(own.values()) if len(own) == len(names) else frozenset[str]()
    return Visitors(block=IPv4Network(block), groups=groups)


def admitted(visitors: Visitors, groups: Iterable[Mapping[str, Any]], port: int) -> bool | None:
    """Whether one of the *groups*, as DescribeSecurityGroups shows them, opens a TCP *port* to the visitors.

    None if that depends on a prefix list, which is not looked into, or on blocks that cover the subnet only together.
    """
    rules = [rule for group in groups for rule in group["IpPermissions"] if _is_about(rule, port)]
    blocks = [IPv4Network(each["CidrIp"]) for rule in rules for each in rule.get("IpRanges", [])]
    named = {each.get("GroupId") for rule in rules for each in rule.get("UserIdGroupPairs", [])}
    if any(visitors.block.subnet_of(each) for each in blocks) or _are_named(visitors, named):
        return True
    lists = any(rule.get("PrefixListIds") for rule in rules)
    if lists or any(visitors.block.overlaps(each) for each in blocks):
        return None
    return False


def _is_about(rule: Mapping[str, Any], port: int) -> bool:
    if rule["IpProtocol"] == "-1":
        return True
    return bool(rule["IpProtocol"] in ("tcp", "6") and rule["FromPort"] <= port <= rule["ToPort"])


def _are_named(visitors: Visitors, named: Collection[str | None]) -> bool:
    """Whether the rules name the groups of leader and followers; a node has no other group."""
    return bool(visitors.groups) and all(each in named for each in visitors.groups)
