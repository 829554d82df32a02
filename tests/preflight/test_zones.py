"""Whether nodes and data could follow a stack file to other zones, asked of moto."""

from __future__ import annotations

from typing import Any

import pytest
from moto import mock_aws

from model.tags import CLUSTER_TAG
from preflight.offerings import placement_problems
from tests.model.examples import SMALLEST, changed
from tests.preflight.situations import CLUSTER, aws_client, machine, situation


@pytest.fixture(autouse=True)
def _aws() -> Any:
    with mock_aws():
        yield


def in_zones(*letters: str, **more: Any) -> dict[str, Any]:
    zones = [f"us-east-1{letter}" for letter in letters]
    return changed(SMALLEST, {"network": {"availabilityZones": zones}, **more})


def data_volume(letter: str, cluster: str = CLUSTER) -> str:
    """A data volume of the cluster's leader, which no machine has."""
    tags = [
        {"Key": CLUSTER_TAG, "Value": cluster},
        {"Key": "Name", "Value": "graphistry-prod-leader-data"},
    ]
    made = aws_client("ec2").create_volume(
        AvailabilityZone=f"us-east-1{letter}",
        Size=10,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
    )
    return str(made["VolumeId"])


def test_another_order_of_the_zones_does_not_move_what_belongs_to_the_leader() -> None:
    runs = machine("leader", "g4dn.2xlarge", "us-east-1a")
    assert placement_problems(situation(in_zones("a", "b"), runs)) == ()
    (problem,) = placement_problems(situation(in_zones("b", "a"), runs))
    assert problem.path == "leader.availabilityZone"
    assert problem.got == (
        "nothing, which means us-east-1b now, and the leader's data volume is in us-east-1a"
    )
    assert problem.hint == "write leader.availabilityZone: us-east-1a"
    written = in_zones("b", "a", **{"leader.availabilityZone": "us-east-1a"})
    assert placement_problems(situation(written, runs)) == ()


def test_a_data_volume_without_a_machine_is_known_by_its_tags() -> None:
    data_volume("c", cluster="graphistry-cluster/other")
    assert placement_problems(situation(in_zones("b", "a"))) == ()
    data_volume("a")
    (problem,) = placement_problems(situation(in_zones("b", "a")))
    assert problem.hint == "write leader.availabilityZone: us-east-1a"
    # As before its machine was lost: the other one was given up by name, and AWS keeps it.
    data_volume("b")
    assert placement_problems(situation(in_zones("b", "a"))) == ()


def test_of_two_data_volumes_the_one_with_a_machine_counts() -> None:
    ec2 = aws_client("ec2")
    data_volume("b")
    mine = data_volume("a")
    stopped = ec2.run_instances(
        ImageId="ami-12c6146b",
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": "us-east-1a"},
    )["Instances"][0]["InstanceId"]
    ec2.attach_volume(VolumeId=mine, InstanceId=stopped, Device="/dev/sdf")
    ec2.stop_instances(InstanceIds=[stopped])
    (problem,) = placement_problems(situation(in_zones("b", "a")))
    assert problem.hint == "write leader.availabilityZone: us-east-1a"


def test_a_zone_that_the_stack_file_names_is_left_to_the_plan() -> None:
    raw = in_zones("a", "b", **{"leader.availabilityZone": "us-east-1b"})
    assert placement_problems(situation(raw, machine("leader", "g4dn.2xlarge", "us-east-1a"))) == ()


def test_zones_with_a_node_in_them_stay_in_the_network() -> None:
    followers = {name: {"profile": "t4"} for name in ("small", "other", "third")}
    raw = in_zones("b", "c", followers=followers)
    nodes = [
        machine("leader", "g4dn.2xlarge", "us-east-1a"),
        machine("small", "g4dn.2xlarge", "us-east-1a"),
        machine("other", "g4dn.2xlarge", "us-east-1d"),
        machine("third", "g4dn.2xlarge", "us-east-1c"),
        machine("gone", "g4dn.2xlarge", "us-east-1f"),
    ]
    first, second = placement_problems(situation(raw, *nodes))
    assert {first.path, second.path} == {"network.availabilityZones"}
    assert first.got == "a network without us-east-1a, in which small, leader are"
    assert first.hint == "put us-east-1a back; the leader's data volume cannot leave its zone"
    assert second.got == "a network without us-east-1d, in which other is"
    assert "followers.other.availabilityZones without it, and `./cluster up`" in second.hint


def test_a_subnet_with_a_node_in_it_stays_too() -> None:
    subnets = aws_client("ec2").describe_subnets()["Subnets"]
    chosen = [each for each in subnets if each["AvailabilityZone"][-1] in "bc"]
    network = {"vpcId": chosen[0]["VpcId"], "subnetIds": [each["SubnetId"] for each in chosen]}
    nodes = machine("leader", "g4dn.2xlarge", "us-east-1a")
    (problem,) = placement_problems(situation({**SMALLEST, "network": network}, nodes))
    assert problem.path == "network.subnetIds"
    assert problem.hint.startswith("put the subnet in us-east-1a back; ")


def test_existing_subnets_are_preferred_in_the_order_of_the_stack_file() -> None:
    subnets = aws_client("ec2").describe_subnets()["Subnets"]
    zones = {each["AvailabilityZone"]: each for each in subnets}
    chosen = [zones["us-east-1b"], zones["us-east-1a"]]
    network = {"vpcId": chosen[0]["VpcId"], "subnetIds": [each["SubnetId"] for each in chosen]}
    nodes = machine("leader", "g4dn.2xlarge", "us-east-1a")
    (problem,) = placement_problems(situation({**SMALLEST, "network": network}, nodes))
    assert problem.got.startswith("nothing, which means us-east-1b now")
