"""A network that a stack file names by its ids: what of it is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from model.problems import Problem


class Subnet(NamedTuple):
    """What AWS says of a subnet."""

    vpc_id: str
    zone: str


def wrong_subnets(vpc_id: str, subnets: Mapping[str, Subnet]) -> Iterator[Problem]:
    """Subnets, by id in the order of the stack file, that belong to another VPC or share a zone."""
    taken: dict[str, str] = {}
    for subnet_id, subnet in subnets.items():
        if subnet.vpc_id != vpc_id:
            yield Problem(
                path="network.subnetIds",
                got=f"{subnet_id}, a subnet of {subnet.vpc_id}",
                allowed=f"subnets of network.vpcId, {vpc_id}",
            )
        elif subnet.zone in taken:
            yield Problem(
                path="network.subnetIds",
                got=f"{subnet_id} and {taken[subnet.zone]}, both in {subnet.zone}",
                allowed="one subnet per availability zone",
            )
        else:
            taken[subnet.zone] = subnet_id
