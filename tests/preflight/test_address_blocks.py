"""Blocks of addresses that clash with the own VPC or with Docker's networks."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest
from moto import mock_aws

from model.docker_networks import LATER, TAKEN, overlaps, shared_network
from model.problems import Problem
from preflight.address_blocks import blocks
from preflight.situation import Remark
from tests.model.examples import SMALLEST
from tests.preflight.existing_network import ExistingNetwork
from tests.preflight.situations import situation


@pytest.fixture(autouse=True)
def _aws() -> Any:
    with mock_aws():
        yield


def remarks(*cidrs: str, **network: Any) -> list[str]:
    """What is said of these blocks in a new VPC."""
    raw = {**SMALLEST, "access": {"allowedCidrs": list(cidrs)}, "network": network}
    found = list(blocks(situation(raw, client=object())))
    assert all(isinstance(each, Remark) for each in found)
    return [each.text for each in found if isinstance(each, Remark)]


def test_blocks_of_others_need_no_word_and_no_call() -> None:
    assert remarks("10.8.0.0/16", "203.0.113.7/32", "172.16.0.0/16", "172.32.0.0/16") == []


def test_a_block_in_the_own_vpc_admits_its_machines_alone() -> None:
    (said,) = remarks("10.40.128.0/20")
    assert "is in the VPC's own block 10.40.0.0/16" in said
    (said,) = remarks("10.60.0.0/16", cidrBlock="10.60.0.0/16")
    assert "is in the VPC's own block" in said


def test_a_block_that_holds_the_vpc_is_common_and_remarked() -> None:
    (said,) = remarks("10.0.0.0/8")
    assert "holds the VPC's own block 10.40.0.0/16" in said


@pytest.mark.parametrize(
    ("cidr", "shown"),
    [
        ("172.16.0.0/12", "172.17.0.0/16, 172.18.0.0/16, 172.19.0.0/16 …"),
        ("172.20.5.0/24", "172.20.0.0/16"),
        ("192.168.1.0/24", "192.168.0.0/20"),
    ],
)
def test_addresses_of_dockers_networks_are_remarked(cidr: str, shown: str) -> None:
    (said,) = remarks(cidr)
    assert f"has addresses of Docker's networks ({shown})" in said


@pytest.mark.parametrize(
    ("second", "hidden"),
    [("172.18.0.0/24", True), ("172.19.0.0/24", False), ("172.17.9.0/24", True)],
)
def test_subnets_that_docker_hides_from_each_other_are_a_problem(
    second: str, *, hidden: bool
) -> None:
    made = ExistingNetwork("172.16.0.0/24", "172.16.1.0/24", block="172.16.0.0/16")
    made.ec2.associate_vpc_cidr_block(VpcId=made.vpc, CidrBlock=f"{second[:6]}.0.0/16")
    made.subnets[1] = made.ec2.create_subnet(
        VpcId=made.vpc, CidrBlock=second, AvailabilityZone="us-east-1b"
    )["Subnet"]["SubnetId"]
    found = list(blocks(situation(made.stack())))
    assert len(found) == hidden
    if hidden:
        (problem,) = found
        assert isinstance(problem, Problem)
        assert f"{made.subnets[1]} ({second}), in Docker's network" in problem.got
        assert made.subnets[0] in problem.got


def test_subnets_of_one_of_dockers_networks_keep_docker_away() -> None:
    made = ExistingNetwork("172.18.0.0/24", "172.18.1.0/24", block="172.18.0.0/16")
    assert list(blocks(situation(made.stack()))) == []


def test_the_blocks_of_an_existing_vpc_are_all_looked_at() -> None:
    made = ExistingNetwork()
    made.ec2.associate_vpc_cidr_block(VpcId=made.vpc, CidrBlock="10.41.0.0/16")
    (found,) = blocks(situation(made.stack(access={"allowedCidrs": ["10.41.7.0/24"]})))
    assert isinstance(found, Remark)
    assert "10.41.0.0/16" in found.text


def test_dockers_networks_are_the_ones_that_moby_lists() -> None:
    """31 networks (moby: ipamutils.localScopeDefaultNetworks)."""
    assert len(TAKEN + LATER) == 31
    assert [str(each) for each in LATER[:2]] == ["172.19.0.0/16", "172.20.0.0/16"]
    assert str(LATER[-1]) == "192.168.240.0/20"
    assert overlaps(IPv4Network("172.32.0.0/16")) == ()


def test_a_machine_in_a_network_of_dockers_keeps_that_network_from_docker() -> None:
    inside, outside = IPv4Network("172.17.3.0/24"), IPv4Network("10.0.0.0/24")
    assert shared_network(outside, inside) == TAKEN[0]
    assert shared_network(inside, inside) is None
    assert shared_network(inside, outside) is None
