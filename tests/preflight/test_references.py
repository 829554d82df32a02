"""Whether what a stack file names is there, asked of moto."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from moto import mock_aws

from model.problems import Problem
from preflight.offerings import offerings
from preflight.references import _named, references
from preflight.situation import Situation, UnansweredError
from tests.model.examples import SMALLEST
from tests.preflight.existing_network import ExistingNetwork
from tests.preflight.situations import aws_client, situation

UNKNOWN_VPC = "vpc-0123456789abcdef0"
UNKNOWN_SUBNETS = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]


@pytest.fixture(autouse=True)
def _aws() -> Any:
    with mock_aws():
        yield


def subnets() -> list[dict[str, Any]]:
    """The subnets that an account has from the beginning, one a zone."""
    found: list[dict[str, Any]] = aws_client("ec2").describe_subnets()["Subnets"]
    return found


def network(vpc_id: str, *subnet_ids: str) -> dict[str, Any]:
    return {**SMALLEST, "network": {"vpcId": vpc_id, "subnetIds": list(subnet_ids)}}


def named(made: Situation) -> tuple[Problem, ...]:
    """Problems of names and ids; the other parts have tests of their own."""
    return tuple(_named(made))


def test_what_is_there_and_works_has_no_problem() -> None:
    assert references(situation(ExistingNetwork().with_folder())) == ()


def test_a_stack_file_that_names_nothing_costs_no_call() -> None:
    assert references(situation(SMALLEST, client=SimpleNamespace())) == ()


def test_everything_that_is_not_there_is_told_at_once() -> None:
    raw = network(UNKNOWN_VPC, *UNKNOWN_SUBNETS)
    raw["sharedFolder"] = {"fileSystemId": "fs-0123456789abcdef0"}
    vpc, first, second, folder = named(situation(raw))
    assert (vpc.path, folder.path) == ("network.vpcId", "sharedFolder.fileSystemId")
    assert vpc.got == f"{UNKNOWN_VPC}, which AWS does not show in this account in us-east-1"
    assert vpc.allowed == subnets()[0]["VpcId"]
    assert [first.got.split(",")[0], second.got.split(",")[0]] == UNKNOWN_SUBNETS
    assert "Name=vpc-id" in first.hint
    assert folder.allowed == "none: there is no EFS file system in this account here"


def test_subnets_are_of_that_vpc_and_each_in_a_zone_of_its_own() -> None:
    ec2 = aws_client("ec2")
    mine, other, *_ = subnets()
    vpc = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
    strange, own, twin = (
        ec2.create_subnet(VpcId=each, CidrBlock=block, AvailabilityZone=other["AvailabilityZone"])[
            "Subnet"
        ]["SubnetId"]
        for each, block in (
            (mine["VpcId"], "172.31.128.0/20"),
            (vpc, "10.40.0.0/24"),
            (vpc, "10.40.1.0/24"),
        )
    )
    first, second = named(situation(network(vpc, strange, own, twin)))
    assert first.got == f"{strange}, a subnet of {mine['VpcId']}"
    assert second.got == f"{twin} and {own}, both in {other['AvailabilityZone']}"


def test_zones_that_the_region_has_not_are_told_but_not_a_closed_one_with_the_cluster_in_it() -> (
    None
):
    zones = ["us-east-1a", "us-east-1g", "us-east-1h"]
    raw = {**SMALLEST, "network": {"availabilityZones": zones}}
    assert [each.got.split(",")[0] for each in named(situation(raw))] == zones[1:]
    ours = SimpleNamespace(
        describe_subnets=lambda **_: {"Subnets": [{"AvailabilityZone": "us-east-1g"}]},
        describe_availability_zones=aws_client("ec2").describe_availability_zones,
    )
    (problem,) = named(situation(raw, client=ours))
    assert problem.got.startswith("us-east-1h, ")
    assert "us-east-1a, us-east-1b" in problem.allowed


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        (
            {"network": {"availabilityZones": ["eu-west-1a", "eu-west-1b"]}},
            "network.availabilityZones[0]",
        ),
        (
            {"leader": {"profile": "t4", "availabilityZone": "eu-west-1a"}},
            "leader.availabilityZone",
        ),
        (
            {"followers": {"a": {"profile": "t4", "availabilityZones": ["eu-west-1a"]}}},
            "followers.a.availabilityZones[0]",
        ),
    ],
)
def test_a_zone_of_another_region_is_said_to_be_one_whoever_names_it(
    changes: dict[str, Any], path: str
) -> None:
    made = situation({**SMALLEST, **changes})
    problem, *_ = named(made)
    assert (problem.path, problem.got) == (path, "eu-west-1a, which is not a zone of us-east-1")
    assert "aws:region to eu-west-1" in problem.hint
    with pytest.raises(UnansweredError, match="a zone that is not of us-east-1"):
        offerings(made)


def test_a_file_system_that_goes_away_is_told() -> None:
    folders = [{"FileSystemId": "fs-0123456789abcdef0", "LifeCycleState": "deleting"}]
    pages = [{"FileSystems": folders}]
    efs = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=lambda: pages))
    raw = {**SMALLEST, "sharedFolder": {"fileSystemId": "fs-0123456789abcdef0"}}
    (problem,) = named(situation(raw, client=efs))
    assert problem.got == "fs-0123456789abcdef0, which is deleting"


def test_machines_are_not_placed_in_subnets_that_are_not_there() -> None:
    with pytest.raises(UnansweredError, match="does not show every subnet"):
        offerings(situation(network(UNKNOWN_VPC, *UNKNOWN_SUBNETS)))
