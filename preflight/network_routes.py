"""Part of the check ``references``: whether nodes in existing subnets reach the services of AWS that they call.

Network access lists, policies of endpoints, and what is behind a transit gateway or a firewall are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from ipaddress import IPv4Network
from typing import Any

from model.problems import Problem
from model.settings.aws import Settings
from preflight.admission import admitted, visitors_of
from preflight.network_facts import (
    Description,
    endpoints,
    existing_vpc,
    route_tables,
    security_groups,
    subnets_in_vpc,
)
from preflight.situation import Finding, Remark, Situation

HTTPS = 443

SERVICES = {
    "s3": "Amazon S3",
    "secretsmanager": "Secrets Manager",
}
"""Services without which no node becomes ready: its specification, its report, and the cluster's secret are there."""

OPERATING = {
    "ssm": "Systems Manager",
    "ssmmessages": "Session Manager",
    "autoscaling": "Auto Scaling",
}
"""Services that a ready node does without: shells and `prove` come by them, and followers ask for other machines.

Agents of Systems Manager before 3.3.40.0 call ec2messages too (AWS: VPC endpoints for Systems Manager).
"""

WIDE_PREFIX = 8
"""A route to a block wider than this is taken for one to everywhere: some split 0.0.0.0/0 in two."""


class Way(Enum):
    """Where a subnet's route table leads beyond the VPC."""

    EVERYWHERE = "to any address"
    OTHER_NETWORKS = "to other networks only"
    INTERNET_GATEWAY = "to an internet gateway, which needs public addresses"
    NOWHERE = "nowhere"


class Reach(Enum):
    """Whether the nodes of a subnet reach a service."""

    YES = "reached"
    UNCERTAIN = "cannot be known from here"
    CLOSED = "the endpoint's security groups do not admit the subnet"
    NO = "no route and no endpoint"


def routes(situation: Situation) -> Iterator[Finding]:
    """Subnets without a route to a service, grouped by what they lack; three calls, none without an existing VPC."""
    vpc, settings = existing_vpc(situation), situation.settings
    if vpc is None or not isinstance(settings, Settings):
        return
    lacking: dict[tuple[Reach, Way, tuple[str, ...]], list[str]] = {}
    isolated: list[str] = []
    for name, subnet in subnets_in_vpc(situation, vpc).items():
        table = table_of(name, route_tables(situation))
        way = way_out(table)
        reached = {
            service: reach(situation, service, subnet, table, way)
            for service in (*SERVICES, *OPERATING)
        }
        for kind in (Reach.NO, Reach.CLOSED, Reach.UNCERTAIN):
            services = tuple(each for each, found in reached.items() if found is kind)
            if services:
                lacking.setdefault((kind, way, services), []).append(name)
        if way in (Way.NOWHERE, Way.INTERNET_GATEWAY):
            isolated.append(name)
    for (kind, way, services), subnets in lacking.items():
        yield _finding(situation, vpc, kind, way, services, subnets)
    if isolated:
        yield from _isolated(isolated, settings.release.source)


def table_of(subnet_id: str, tables: tuple[Description, ...]) -> Description:
    """The route table that is associated with a subnet, or else the main one of its VPC."""
    associated = [(each, table) for table in tables for each in table.get("Associations", [])]
    for each, table in associated:
        if each.get("SubnetId") == subnet_id:
            return table
    return next((table for each, table in associated if each.get("Main")), {"Routes": []})


def way_out(table: Description) -> Way:
    """Where a route table leads. Routes to what is gone, and routes of IPv6, lead nowhere."""
    way = Way.NOWHERE
    for route in table["Routes"]:
        gateway = route.get("GatewayId", "")
        block, listed = route.get("DestinationCidrBlock"), route.get("DestinationPrefixListId")
        of_endpoint = gateway.startswith("vpce-") and listed is not None
        if route.get("State") == "blackhole" or gateway == "local" or of_endpoint:
            continue
        if block is None and listed is None:
            continue
        wide = block is None or IPv4Network(block).prefixlen < WIDE_PREFIX
        if gateway.startswith("igw-"):
            way = Way.INTERNET_GATEWAY if wide and way is Way.NOWHERE else way
        elif wide:
            return Way.EVERYWHERE
        else:
            way = Way.OTHER_NETWORKS
    return way


def reach(
    situation: Situation, service: str, subnet: Description, table: Description, way: Way
) -> Reach:
    """Whether the nodes of a subnet reach a service.

    An endpoint with a private DNS name takes all calls of the VPC to its service, so if it is closed no other way
    helps.
    """
    mine = _endpoints_for(situation, service)
    interfaces = [each for each in mine if _takes_the_name(each)]
    if interfaces:
        return _admission(situation, interfaces, subnet)
    by_table = table.get("RouteTableId")
    if way is Way.EVERYWHERE or any(by_table in each.get("RouteTableIds", []) for each in mine):
        return Reach.YES
    return Reach.UNCERTAIN if way is Way.OTHER_NETWORKS else Reach.NO


def _endpoints_for(situation: Situation, service: str) -> list[Description]:
    """The endpoints that work, of the service in this region."""
    return [
        each
        for each in endpoints(situation)
        if each["ServiceName"].endswith(f".{situation.region}.{service}")
        and str(each["State"]).lower() == "available"
    ]


def _takes_the_name(endpoint: Mapping[str, Any]) -> bool:
    inbound_only = endpoint.get("DnsOptions", {}).get("PrivateDnsOnlyForInboundResolverEndpoint")
    return bool(
        endpoint.get("VpcEndpointType") == "Interface"
        and endpoint.get("PrivateDnsEnabled")
        and not inbound_only
    )


def _admission(situation: Situation, interfaces: list[Description], subnet: Description) -> Reach:
    known = security_groups(situation)
    visitors = visitors_of(situation, subnet["CidrBlock"])
    groups = [
        known[each["GroupId"]]
        for interface in interfaces
        for each in interface.get("Groups", [])
        if each["GroupId"] in known
    ]
    verdict = admitted(visitors, groups, HTTPS)
    if verdict is None:
        return Reach.UNCERTAIN
    return Reach.YES if verdict else Reach.CLOSED


def _finding(
    situation: Situation,
    vpc: Description,
    kind: Reach,
    way: Way,
    services: tuple[str, ...],
    subnets: list[str],
) -> Finding:
    """A problem if it is certain and keeps nodes from being ready, else a remark."""
    words = ", ".join((SERVICES | OPERATING)[each] for each in services)
    where = ", ".join(subnets)
    ready = not set(services) & set(SERVICES)
    if kind is Reach.UNCERTAIN:
        return Remark(
            f"whether {where} reaches {words} cannot be known: its routes lead {way.value}, or a security group of an "
            "endpoint names a prefix list or a part of it"
        )
    closed = kind is Reach.CLOSED
    got = (
        f"{where}, which the endpoints of {vpc['VpcId']} for {words} do not admit"
        if closed
        else f"{where}, without a route to {words}: the default route leads {way.value}"
    )
    hint = (
        _open(situation, services) if closed else _make_endpoints(situation, vpc, services, subnets)
    )
    if ready:
        return Remark(f"{got}. Nodes are ready without, but `./cluster shell` is not: {hint}")
    allowed = (
        "endpoints whose security groups open port 443 to the subnet"
        if closed
        else "a default route to a NAT gateway, transit gateway or firewall, or endpoints for these services"
    )
    return Problem(path="network.subnetIds", got=got, allowed=allowed, hint=hint)


def _open(situation: Situation, services: tuple[str, ...]) -> str:
    groups = dict.fromkeys(
        group["GroupId"]
        for service in services
        for each in _endpoints_for(situation, service)
        for group in each.get("Groups", [])
    )
    named = ", ".join(groups) or "their security group"
    return f"open TCP 443 in {named} to the block of the subnet: aws ec2 authorize-security-group-ingress"


def _make_endpoints(
    situation: Situation, vpc: Description, services: tuple[str, ...], subnets: list[str]
) -> str:
    """The commands that make what lacks, one for S3 and one for all others."""
    create = f"aws ec2 create-vpc-endpoint --region {situation.region} --vpc-id {vpc['VpcId']}"
    prefix = f"com.amazonaws.{situation.region}"
    tables = dict.fromkeys(
        str(table_of(each, route_tables(situation)).get("RouteTableId")) for each in subnets
    )
    commands = []
    if "s3" in services:
        commands.append(f"{create} --service-name {prefix}.s3 --route-table-ids {' '.join(tables)}")
    others = [each for each in services if each != "s3"]
    if others:
        commands.append(
            f"{create} --vpc-endpoint-type Interface --private-dns-enabled --subnet-ids {' '.join(subnets)} "
            f"--service-name {prefix}.NAME for each NAME of {', '.join(others)}"
        )
    return "a NAT gateway; or " + "; and ".join(commands)


def _isolated(subnets: list[str], source: str) -> Iterator[Finding]:
    where = ", ".join(subnets)
    if source.startswith("https://"):
        yield Problem(
            path="release.source",
            got=f"an address of the internet, to which {where} has no route",
            allowed="an s3:// address, which an S3 endpoint leads to, or a route to the internet",
            hint="copy the archive to a bucket of this region, or give the subnets a NAT gateway",
        )
    yield Remark(
        f"{where} has no route to the internet: the image has to bring Docker, NVIDIA's container toolkit and "
        "amazon-efs-utils, as nothing can be installed there"
    )
