"""Whether nodes in existing subnets reach what they call, asked of moto."""

from __future__ import annotations

from typing import Any

import pytest
from moto import mock_aws

from model.problems import Problem
from preflight.network_routes import Way, routes, way_out
from preflight.situation import Remark
from tests.model.examples import SMALLEST
from tests.preflight.existing_network import OPEN, ExistingNetwork
from tests.preflight.situations import situation

INTERFACES = ("secretsmanager", "ssm", "ssmmessages", "autoscaling")


@pytest.fixture(autouse=True)
def _aws() -> Any:
    with mock_aws():
        yield


def found(made: ExistingNetwork, **keys: Any) -> tuple[list[Problem], list[str]]:
    """Problems, and the texts of remarks."""
    every = list(routes(situation(made.stack(**keys))))
    problems = [each for each in every if isinstance(each, Problem)]
    return problems, [each.text for each in every if isinstance(each, Remark)]


def test_a_nat_gateway_leads_everywhere() -> None:
    assert found(ExistingNetwork()) == ([], [])


def test_no_existing_vpc_costs_no_call() -> None:
    assert list(routes(situation(SMALLEST, client=object()))) == []


def test_subnets_without_any_way_are_one_problem_with_the_commands() -> None:
    made = ExistingNetwork(nat=False, s3=False)
    (problem,), remarks = found(made)
    assert problem.path == "network.subnetIds"
    assert problem.got == (
        f"{', '.join(made.subnets)}, without a route to Amazon S3, Secrets Manager, Systems Manager, Session Manager, "
        "Auto Scaling: the default route leads nowhere"
    )
    assert (
        f"--service-name com.amazonaws.us-east-1.s3 --route-table-ids {made.table}" in problem.hint
    )
    assert "for each NAME of secretsmanager, ssm, ssmmessages, autoscaling" in problem.hint
    assert len(remarks) == 1
    assert "amazon-efs-utils" in remarks[0]


def test_an_s3_endpoint_is_of_the_route_tables_that_it_is_in() -> None:
    made = ExistingNetwork(nat=False)
    (problem,), _ = found(made)
    assert "without a route to Secrets Manager, " in problem.got
    other = made.ec2.create_route_table(VpcId=made.vpc)["RouteTable"]["RouteTableId"]
    made.ec2.associate_route_table(RouteTableId=other, SubnetId=made.subnets[1])
    problems, _ = found(made)
    assert [each.got.partition(", without a route to ")[::2] for each in problems] == [
        (made.subnets[0], problem.got.partition(" to ")[2]),
        (made.subnets[1], "Amazon S3, " + problem.got.partition(" to ")[2]),
    ]


def test_endpoints_of_every_service_do_without_a_route() -> None:
    made = ExistingNetwork(nat=False)
    for service in INTERFACES:
        made.endpoint(service, OPEN)
    problems, remarks = found(made)
    assert problems == []
    assert len(remarks) == 1
    assert "has no route to the internet" in remarks[0]


def test_without_systems_manager_nodes_are_ready_and_have_no_shell() -> None:
    made = ExistingNetwork(nat=False)
    made.endpoint("secretsmanager", OPEN)
    problems, remarks = found(made)
    assert problems == []
    assert "without a route to Systems Manager, Session Manager, Auto Scaling" in remarks[0]
    assert "`./cluster shell` is not" in remarks[0]


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [{**OPEN[0], "FromPort": 80, "ToPort": 80}],
        [{**OPEN[0], "IpRanges": [{"CidrIp": "10.99.0.0/16"}]}],
    ],
)
def test_a_closed_endpoint_takes_the_name_and_no_nat_gateway_helps(
    rules: list[dict[str, Any]],
) -> None:
    made = ExistingNetwork()
    made.endpoint("secretsmanager", rules)
    (problem,), _ = found(made)
    assert problem.got == (
        f"{', '.join(made.subnets)}, which the endpoints of {made.vpc} for Secrets Manager do not admit"
    )
    assert "open TCP 443 in sg-" in problem.hint


@pytest.mark.parametrize("private_dns", [True, False])
def test_an_endpoint_without_a_private_name_is_no_way_and_closes_none(*, private_dns: bool) -> None:
    made = ExistingNetwork(nat=False)
    made.endpoint("secretsmanager", OPEN, PrivateDnsEnabled=private_dns)
    problems, _ = found(made)
    assert (problems == []) is private_dns
    made.route("NatGatewayId", made.nat())
    assert found(made) == ([], [])


def test_an_endpoint_for_another_region_is_none_for_this_one() -> None:
    made = ExistingNetwork(nat=False)
    made.endpoint("secretsmanager", OPEN, ServiceName="com.amazonaws.eu-west-1.secretsmanager")
    problems, _ = found(made)
    assert "without a route to Secrets Manager" in problems[0].got


def test_a_part_of_the_subnet_that_is_let_in_is_remarked() -> None:
    made = ExistingNetwork()
    made.endpoint("secretsmanager", [{**OPEN[0], "IpRanges": [{"CidrIp": "10.40.0.0/25"}]}])
    problems, remarks = found(made)
    assert [each.got.partition(",")[0] for each in problems] == [made.subnets[1]]
    assert remarks[0].startswith(
        f"whether {made.subnets[0]} reaches Secrets Manager cannot be known"
    )


def test_an_internet_gateway_is_no_way_for_private_addresses() -> None:
    made = ExistingNetwork(nat=False)
    gateway = made.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    made.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=made.vpc)
    made.route("GatewayId", gateway)
    (problem,), _ = found(made)
    assert problem.got.endswith("leads to an internet gateway, which needs public addresses")


def test_routes_to_other_networks_may_lead_to_endpoints_there() -> None:
    made = ExistingNetwork(nat=False)
    hub = made.ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    made.route("TransitGatewayId", hub, "10.0.0.0/9")
    problems, remarks = found(made)
    assert problems == []
    assert "its routes lead to other networks only" in remarks[0]


def test_a_release_of_the_internet_needs_a_way_there() -> None:
    release = {
        "version": "2.50.1",
        "cuda": "12",
        "source": "https://example.com/graphistry.tar.gz",
        "sha256": "0" * 64,
    }
    made = ExistingNetwork(nat=False)
    for service in INTERFACES:
        made.endpoint(service, OPEN)
    (problem,), _ = found(made, release=release)
    assert problem.path == "release.source"
    assert found(made, release={**release, "source": "s3://releases/graphistry.tar.gz"})[0] == []
    assert found(ExistingNetwork(), release=release)[0] == []


@pytest.mark.parametrize(
    ("route", "way"),
    [
        ({"DestinationCidrBlock": "10.40.0.0/16", "GatewayId": "local"}, Way.NOWHERE),
        ({"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1"}, Way.EVERYWHERE),
        (
            {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1", "State": "blackhole"},
            Way.NOWHERE,
        ),
        ({"DestinationCidrBlock": "0.0.0.0/1", "NetworkInterfaceId": "eni-1"}, Way.EVERYWHERE),
        ({"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "vpce-firewall"}, Way.EVERYWHERE),
        ({"DestinationPrefixListId": "pl-s3", "GatewayId": "vpce-s3"}, Way.NOWHERE),
        ({"DestinationPrefixListId": "pl-all", "TransitGatewayId": "tgw-1"}, Way.EVERYWHERE),
        ({"DestinationCidrBlock": "10.0.0.0/8", "GatewayId": "vgw-1"}, Way.OTHER_NETWORKS),
        (
            {"DestinationIpv6CidrBlock": "::/0", "EgressOnlyInternetGatewayId": "eigw-1"},
            Way.NOWHERE,
        ),
    ],
)
def test_each_kind_of_route_leads_where_aws_says(route: dict[str, str], way: Way) -> None:
    assert way_out({"Routes": [route]}) is way
