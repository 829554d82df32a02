"""Part of the check ``references``: blocks of addresses in ``access.allowedCidrs`` and in an existing VPC that clash.

What is certainly unreachable is refused: by `model.settings.aws_rules` for ``allowedCidrs``, here for subnets. An
overlap that costs some clients their answers, or none, is a remark: a block that holds all of a company's networks is
common and works.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from itertools import permutations

from model.docker_networks import overlaps, shared_network
from model.problems import Problem
from model.settings.aws import Settings
from preflight.network_facts import existing_vpc, subnets_in_vpc
from preflight.situation import Finding, Remark, Situation


def blocks(situation: Situation) -> Iterator[Finding]:
    """Overlaps of the own VPC, Docker's networks and ``allowedCidrs``; no call without an existing VPC."""
    settings = situation.settings
    if not isinstance(settings, Settings):
        return
    vpc = existing_vpc(situation)
    if vpc is None and settings.network.vpc_id is not None:
        return  # AWS shows no such VPC
    if vpc is None:
        own = [IPv4Network(settings.network.cidr_block)]
    else:
        own = [IPv4Network(each["CidrBlock"]) for each in vpc.get("CidrBlockAssociationSet", [])]
        subnets = subnets_in_vpc(situation, vpc)
        yield from _hidden({name: IPv4Network(each["CidrBlock"]) for name, each in subnets.items()})
    yield from _allowed(settings.access.allowed_cidrs, own)


def _hidden(subnets: dict[str, IPv4Network]) -> Iterator[Problem]:
    """Subnets that nodes in another subnet look for in a bridge of their own."""
    told = set()
    for one, other in permutations(subnets, 2):
        network = shared_network(subnets[one], subnets[other])
        if network is not None and other not in told:
            told.add(other)
            yield Problem(
                path="network.subnetIds",
                got=f"{other} ({subnets[other]}), in Docker's network {network} on nodes in {one}",
                allowed="subnets outside 172.17.0.0/16 and 172.18.0.0/16, which Docker takes on every node",
                hint=f"a node in {one} does not reach one in {other}: name another subnet of that zone",
            )


def _allowed(cidrs: Sequence[str], own: Sequence[IPv4Network]) -> Iterator[Remark]:
    for cidr in cidrs:
        block = IPv4Network(cidr)
        for each in own:
            if block.subnet_of(each):
                yield Remark(
                    f"access.allowedCidrs: {cidr} is in the VPC's own block {each}, so it admits machines of the VPC "
                    "(a load balancer, AWS Client VPN) and nobody behind a peering or VPN"
                )
            elif block.overlaps(each):
                yield Remark(
                    f"access.allowedCidrs: {cidr} holds the VPC's own block {each}; clients elsewhere with an address "
                    "in that block get no answer"
                )
        docker = overlaps(block)
        if docker:
            shown = ", ".join(map(str, docker[:3])) + (" …" if len(docker) > 3 else "")
            yield Remark(
                f"access.allowedCidrs: {cidr} has addresses of Docker's networks ({shown}); clients with such an "
                "address may get no answer, as nodes look for them in a bridge"
            )
