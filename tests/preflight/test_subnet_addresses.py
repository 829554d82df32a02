"""Whether existing subnets have free addresses for the plan, asked of moto."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from model.problems import Problem
from model.tags import CLUSTER_TAG
from preflight.situation import Remark
from preflight.subnet_addresses import addresses, without_place
from tests.model.examples import SMALLEST
from tests.preflight.existing_network import ExistingNetwork
from tests.preflight.situations import CLUSTER, situation

SMALL = ("10.40.0.0/28", "10.40.0.16/28")
FREE = 11
"""Addresses of a /28 but for the five that AWS keeps."""


@pytest.fixture(autouse=True)
def _aws() -> Any:
    with mock_aws():
        yield


def small(first: int, second: int) -> ExistingNetwork:
    """Two /28 with so many free addresses."""
    made = ExistingNetwork(*SMALL, nat=False)
    for subnet, free in zip(made.subnets, (first, second), strict=True):
        for _ in range(FREE - free):
            made.ec2.create_network_interface(SubnetId=subnet)
    return made


def owns(made: ExistingNetwork, subnet: str, name: str) -> None:
    """An interface of the cluster's."""
    tags = [{"Key": CLUSTER_TAG, "Value": CLUSTER}, {"Key": "Name", "Value": name}]
    made.ec2.create_network_interface(
        SubnetId=subnet,
        TagSpecifications=[{"ResourceType": "network-interface", "Tags": tags}],
    )


def followers(count: int, **other: Any) -> dict[str, Any]:
    return {f"f{number}": {"profile": "t4", **other} for number in range(count)}


def found(made: ExistingNetwork, **keys: Any) -> list[Any]:
    return list(addresses(situation(made.stack(**keys))))


def test_what_fits_is_no_problem() -> None:
    # leader, its mount target and eleven followers; one mount target and eight of them
    assert found(small(FREE, FREE), followers=followers(19)) == []


def test_no_existing_vpc_costs_no_call() -> None:
    assert list(addresses(situation(SMALLEST, client=object()))) == []


def test_a_follower_that_fits_nowhere_is_a_problem() -> None:
    made = small(FREE, FREE)
    (problem,) = found(made, followers=followers(21))
    assert isinstance(problem, Problem)
    assert (
        problem.got
        == f"no free address for followers.f19, followers.f20 in {', '.join(sorted(made.subnets))}"
    )
    assert "describe-network-interfaces" in problem.hint


def test_the_leader_and_mount_targets_have_to_be_where_they_are() -> None:
    made = small(1, FREE)
    (problem,) = found(made, followers=followers(1))
    assert isinstance(problem, Problem)
    assert problem.got == f"{made.subnets[0]} (10.40.0.0/28), whose free addresses are 1"
    assert problem.allowed == "2 free, for the leader's interface and the mount target of EFS"


def test_a_full_subnet_is_remarked_while_another_has_room() -> None:
    made = small(2, FREE)
    (remark,) = found(made, followers=followers(3))
    assert isinstance(remark, Remark)
    assert remark.text.startswith(f"{made.subnets[0]} has no address left for a follower")


def test_what_is_there_does_not_count_twice() -> None:
    made = small(3, 1)
    folder = made.efs.create_file_system(
        CreationToken="own", Tags=[{"Key": CLUSTER_TAG, "Value": CLUSTER}]
    )["FileSystemId"]
    for subnet in made.subnets:
        made.efs.create_mount_target(FileSystemId=folder, SubnetId=subnet)
    owns(made, made.subnets[0], "graphistry-prod-leader-interface")
    owns(made, made.subnets[0], "graphistry-prod-f0")
    shown = made.ec2.describe_subnets(SubnetIds=made.subnets)["Subnets"]
    assert [each["AvailableIpAddressCount"] for each in shown] == [0, 0]
    assert found(made, followers=followers(1)) == []
    (problem,) = found(made, followers=followers(2))
    assert "followers.f1 in" in problem.got


def test_followers_are_put_where_the_others_leave_room() -> None:
    made = small(3, 2)
    pinned = followers(1, availabilityZones=["us-east-1a"])
    free = {"g": {"profile": "t4"}}
    # f0 has to be in the first subnet, so g goes to the second, in whichever order they come
    assert found(made, followers={**free, **pinned}) == []


@given(
    st.dictionaries(
        st.sampled_from("abcdefg"), st.lists(st.sampled_from("xyz"), min_size=1, unique=True)
    ),
    st.fixed_dictionaries({each: st.integers(-1, 3) for each in "xyz"}),
)
def test_no_more_than_needed_are_without_a_place(
    nodes: dict[str, list[str]], free: dict[str, int]
) -> None:
    """By Hall's theorem: the most that any set of subnets lacks."""
    sets = [{each for bit, each in enumerate("xyz") if mask >> bit & 1} for mask in range(8)]
    least = max(
        sum(set(subnets) <= chosen for subnets in nodes.values())
        - sum(max(0, free[each]) for each in chosen)
        for chosen in sets
    )
    assert len(without_place(nodes, free)) == max(0, least)
