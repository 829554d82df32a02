"""Whether the machines are offered where they should be, asked of moto, which has AWS's real offerings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from moto import mock_aws

from model.gpu_catalogue import CATALOGUE
from model.tags import CLUSTER_TAG
from preflight.offerings import offerings, placement_problems
from preflight.situation import Remark
from tests.model.examples import SMALLEST
from tests.preflight.situations import CLUSTER, aws_client, machine, situation


@pytest.fixture(autouse=True)
def _aws() -> Any:
    with mock_aws():
        yield


def profiles(**types: str) -> dict[str, Any]:
    return {name: {"instanceTypes": [each]} for name, each in types.items()}


def test_a_stack_whose_types_are_offered_has_no_problem() -> None:
    assert placement_problems(situation(SMALLEST)) == ()


def test_types_that_send_plain_text_between_nodes_are_named_and_refused_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = replace(CATALOGUE["g4dn.2xlarge"], encrypts_traffic=False)
    monkeypatch.setitem(CATALOGUE, "g4dn.2xlarge", plain)
    alone = {**SMALLEST, "gpuProfiles": profiles(t4="g4dn.2xlarge")}
    assert offerings(situation(alone)) == ()  # a leader alone speaks to nobody
    (remark,) = offerings(situation({**alone, "followers": {"one": {"profile": "t4"}}}))
    assert isinstance(remark, Remark)
    assert "what g4dn.2xlarge exchange with other nodes is not encrypted" in remark.text


def test_a_region_without_the_type_is_told_for_every_node() -> None:
    raw = {
        "gpuProfiles": profiles(h100="p5.48xlarge"),
        "leader": {"profile": "h100"},
        "followers": {"big": {"profile": "h100"}},
    }
    found = placement_problems(situation(raw, region="eu-west-3"))
    assert [each.path for each in found] == ["leader", "followers.big"]
    assert all("no zone of this region offers p5.48xlarge" in each.allowed for each in found)


def test_the_zones_of_existing_subnets_are_looked_up() -> None:
    ec2 = aws_client("ec2")
    subnets = ec2.describe_subnets()["Subnets"]
    chosen = [each for each in subnets if each["AvailabilityZone"][-1] in "ab"]
    network = {
        "vpcId": chosen[0]["VpcId"],
        "subnetIds": [each["SubnetId"] for each in chosen],
    }
    raw = {"gpuProfiles": profiles(b200="p6-b200.48xlarge"), "leader": {"profile": "b200"}}
    (problem,) = placement_problems(situation({**raw, "network": network}))
    assert problem.got == "p6-b200.48xlarge in us-east-1a, us-east-1b"


def test_a_zone_that_aws_closed_is_a_message_with_the_way_to_stay() -> None:
    ec2 = aws_client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
    tags = [{"Key": CLUSTER_TAG, "Value": CLUSTER}]
    ec2.create_subnet(
        VpcId=vpc,
        CidrBlock="10.40.0.0/24",
        AvailabilityZone="us-east-1e",
        TagSpecifications=[{"ResourceType": "subnet", "Tags": tags}],
    )
    every = ec2.describe_availability_zones

    class Closed:
        """EC2, in which a zone is not open any more."""

        def __getattr__(self, name: str) -> Any:
            return getattr(ec2, name)

        def describe_availability_zones(self, **asked: Any) -> Any:
            zones = every(**asked)["AvailabilityZones"]
            open_ones = [each for each in zones if each["ZoneName"] != "us-east-1e"]
            return {"AvailabilityZones": open_ones}

    (problem,) = placement_problems(situation(SMALLEST, client=Closed()))
    assert problem.path == "network.availabilityZones"
    assert "us-east-1e is closed now" in problem.got
    assert "us-east-1d, us-east-1e, us-east-1f]" in problem.hint
    named = {"network": {"availabilityZones": ["us-east-1a", "us-east-1e"]}}
    assert placement_problems(situation({**SMALLEST, **named}, client=Closed())) == ()


def test_a_leader_whose_new_type_is_not_in_the_zone_of_its_data_is_told_before_it_stops() -> None:
    raw = {"gpuProfiles": profiles(l40s="g6e.xlarge"), "leader": {"profile": "l40s"}}
    (problem,) = placement_problems(situation(raw, machine("leader", "g4dn.xlarge", "us-east-1f")))
    assert problem.path == "leader.profile"
    assert "g6e.xlarge, which us-east-1f does not offer" in problem.got
    assert "Values=us-east-1f" in problem.hint
    assert placement_problems(situation(raw, machine("leader", "g4dn.xlarge", "us-east-1a"))) == ()
