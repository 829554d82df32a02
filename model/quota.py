"""Quotas of EC2: how many vCPUs of a family an account may run in a region, and whether a plan fits.

AWS counts the vCPUs of what runs, on-demand and spot apart, G and VT types apart from P types. The quotas of GPU
families are 0 in a new account, and a launch beyond one is refused only when everything around it is made.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from model.gpu_catalogue import CATALOGUE
from model.plan import Market, PlannedNode
from model.problems import Problem

_FAMILY = re.compile(r"(g|gr|vt|p)([0-9]+)")
_SHOWN_TYPES = 3
_SHOWN_NODES = 8


@dataclass(frozen=True)
class Quota:
    """One quota of the service ``ec2``, by AWS's code and name of it."""

    code: str
    name: str


G_ON_DEMAND = Quota("L-DB2E81BA", "Running On-Demand G and VT instances")
P_ON_DEMAND = Quota("L-417A185B", "Running On-Demand P instances")
G_SPOT = Quota("L-3819A6DF", "All G and VT Spot Instance Requests")
P2_TO_P4_SPOT = Quota("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests")
P5_SPOT = Quota("L-C4BD4855", "All P5 Spot Instance Requests")
QUOTAS = (G_ON_DEMAND, P_ON_DEMAND, G_SPOT, P2_TO_P4_SPOT, P5_SPOT)
"""The quotas of GPU families whose code is known."""

NEWER_P_SPOT = Quota("", "P6 Spot Instance Requests")
"""Which code it has AWS's documents disagree about, so it cannot be asked for."""


def quota_of(instance_type: str, market: str) -> Quota | None:
    """The quota that a machine counts against; None for other types and for capacity blocks, which have none."""
    found = _FAMILY.match(instance_type)
    if found is None or market == "capacity-block":
        return None
    letters, generation = found.group(1), int(found.group(2))
    if letters != "p":
        return G_SPOT if market == "spot" else G_ON_DEMAND
    if market != "spot":
        return P_ON_DEMAND
    if generation > 5:
        return NEWER_P_SPOT
    return P5_SPOT if generation == 5 else P2_TO_P4_SPOT


@dataclass(frozen=True, kw_only=True)
class Present:
    """A machine of the cluster that runs now."""

    instance_type: str
    zone: str


@dataclass(frozen=True, kw_only=True)
class Need:
    """What one node adds to what runs in the account, at its peak."""

    node: str
    instance_type: str
    market: Market
    vcpus: int


def need_of(node: PlannedNode, present: Iterable[Present]) -> Need | None:
    """What a deployment adds for a node whose machines are *present*; None where one of them can stay.

    A node counts as the first of its types, which is what AWS is asked for first. A replaced follower counts in full,
    as its old machine runs until the new one is ready; a leader gives its old vCPUs back unless the new type is
    reserved before it stops. Spot counts as spot, also where it may fall back.
    """
    machines = tuple(present)
    if any(_can_stay(node, machine) for machine in machines):
        return None
    wanted = node.instance_types[0]
    vcpus = CATALOGUE[wanted].vcpus
    if not node.overlaps:
        same = [each for each in machines if _same_quota(each.instance_type, wanted)]
        vcpus -= sum(CATALOGUE[each.instance_type].vcpus for each in same)
    return (
        Need(node=node.name, instance_type=wanted, market=node.market, vcpus=vcpus)
        if vcpus > 0
        else None
    )


def _can_stay(node: PlannedNode, machine: Present) -> bool:
    return machine.instance_type in node.instance_types and (
        not node.zones or machine.zone in node.zones
    )


def _same_quota(one: str, other: str) -> bool:
    return one in CATALOGUE and quota_of(one, "on-demand") == quota_of(other, "on-demand")


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """A quota that does not hold what runs and what a plan adds; all numbers are vCPUs."""

    quota: Quota
    limit: int
    in_use: int
    needs: tuple[Need, ...]

    @property
    def need(self) -> int:
        """What the plan adds."""
        return sum(each.vcpus for each in self.needs)

    @property
    def headroom(self) -> int:
        """What is left; nothing where more runs than the limit allows."""
        return max(0, self.limit - self.in_use)

    @property
    def value(self) -> int:
        """The limit that would do, which is what to ask AWS for."""
        return self.in_use + self.need


def shortfalls(
    needs: Iterable[Need], limits: Mapping[Quota, int], in_use: Mapping[Quota, int]
) -> tuple[Shortfall, ...]:
    """The quotas among those of *limits* that do not hold the needs."""
    every = tuple(needs)
    found = (
        Shortfall(
            quota=quota,
            limit=limit,
            in_use=in_use.get(quota, 0),
            needs=tuple(
                each for each in every if quota_of(each.instance_type, each.market) == quota
            ),
        )
        for quota, limit in limits.items()
    )
    return tuple(each for each in found if each.need > each.headroom)


@dataclass(frozen=True, kw_only=True)
class OpenRequest:
    """A request for a higher quota that AWS has not decided; it takes one at a time for each quota."""

    value: int
    """The limit that was asked for, in vCPUs."""
    day: str
    """When, ``2026-11-25``."""


def problem_of(
    shortfall: Shortfall, region: str, command: str, open_request: OpenRequest | None = None
) -> Problem:
    """A shortfall in words, with what does fit and the *command* to type to raise the quota, unless that is done
    already."""
    quota, needs = shortfall.quota, shortfall.needs
    nodes = [each.node if each.node == "leader" else f"followers.{each.node}" for each in needs]
    more = f" and {len(nodes) - _SHOWN_NODES} more" if len(nodes) > _SHOWN_NODES else ""
    counted = Counter(each.instance_type for each in needs)
    machines = ", ".join(f"{count} x {name}" for name, count in counted.items())
    new = ", as in a new account" if shortfall.limit == 0 else ""
    return Problem(
        path=", ".join(nodes[:_SHOWN_NODES]) + more,
        got=f"{shortfall.need} vCPUs more ({machines}), with {shortfall.in_use} of {shortfall.limit} in use{new}: "
        f"{quota.name} in {region}",
        allowed=f"{shortfall.headroom} vCPUs more, which hold {_what_fits(shortfall)}",
        hint=_how_to_raise(shortfall, region, command, open_request),
    )


def _how_to_raise(
    shortfall: Shortfall, region: str, command: str, open_request: OpenRequest | None
) -> str:
    link = console_link(shortfall.quota, region)
    if open_request is None:
        return (
            f"`{command}` asks AWS for {shortfall.value}, which takes hours or days; or by hand at {link}\n"
            f"         {request_command(shortfall, region)}"
        )
    asked = f"{open_request.value} were asked for on {open_request.day}, which is pending"
    if open_request.value >= shortfall.value:
        return f"{asked}; AWS takes hours or days: {link}"
    return f"{asked} and too small for {shortfall.value}: answer its case at {link}"


def _what_fits(shortfall: Shortfall) -> str:
    """Machines that the headroom holds: of the types asked for, else of smaller ones with the same GPU."""
    asked = list(dict.fromkeys(each.instance_type for each in shortfall.needs))
    family = {each for name in asked for each in _siblings(name)}
    smaller = sorted(family - set(asked), key=lambda name: (-CATALOGUE[name].vcpus, name))
    fitting = [
        (name, shortfall.headroom // CATALOGUE[name].vcpus)
        for name in (*asked, *smaller)
        if CATALOGUE[name].vcpus <= shortfall.headroom
    ]
    if not fitting:
        return "no machine with such a GPU"
    return " or ".join(f"{count} x {name}" for name, count in fitting[:_SHOWN_TYPES])


def _siblings(instance_type: str) -> list[str]:
    """Types of the same GPU and the same quota."""
    return [
        name
        for name, each in CATALOGUE.items()
        if each.gpu_name == CATALOGUE[instance_type].gpu_name and _same_quota(name, instance_type)
    ]


def request_command(shortfall: Shortfall, region: str) -> str:
    """The command of the AWS command line that asks for the quota."""
    return (
        f"aws service-quotas request-service-quota-increase --region {region} --service-code ec2 "
        f"--quota-code {shortfall.quota.code} --desired-value {shortfall.value}"
    )


def console_link(quota: Quota, region: str) -> str:
    """The quota's page in AWS's console."""
    host = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}
    name = next((each for start, each in host.items() if region.startswith(start)), None)
    return (
        f"https://{name or 'console.aws.amazon.com'}/servicequotas/home/services/ec2/quotas/"
        f"{quota.code}?region={region}"
    )
