"""Whether machines of an existing VPC can resolve the cluster's private names, asked of moto."""

from __future__ import annotations

from typing import Any

import pytest
from moto import mock_aws

from model.problems import Problem
from preflight.network_names import names
from preflight.situation import Remark
from tests.model.examples import SMALLEST
from tests.preflight.existing_network import ExistingNetwork
from tests.preflight.situations import situation


@pytest.fixture(autouse=True)
def _aws() -> Any:
    with mock_aws():
        yield


def test_a_vpc_with_amazons_resolver_has_no_problem() -> None:
    assert list(names(situation(ExistingNetwork().stack()))) == []


def test_no_existing_vpc_costs_no_call() -> None:
    assert list(names(situation(SMALLEST, client=object()))) == []


@pytest.mark.parametrize(
    ("attribute", "option"),
    [
        ("EnableDnsSupport", "--enable-dns-support"),
        ("EnableDnsHostnames", "--enable-dns-hostnames"),
    ],
)
def test_a_vpc_without_private_names_is_a_problem_with_the_command(
    attribute: str, option: str
) -> None:
    made = ExistingNetwork()
    made.ec2.modify_vpc_attribute(VpcId=made.vpc, **{attribute: {"Value": False}})
    (problem,) = names(situation(made.stack()))
    assert isinstance(problem, Problem)
    assert problem.path == "network.vpcId"
    assert problem.got.startswith(f"{made.vpc}, in which DNS ")
    assert f"--vpc-id {made.vpc} {option} '{{\"Value\":true}}'" in problem.hint


def resolvers(made: ExistingNetwork, *servers: str) -> str:
    """DHCP options of the VPC that name these resolvers."""
    named = [{"Key": "domain-name-servers", "Values": list(servers)}] if servers else []
    options: str = made.ec2.create_dhcp_options(
        DhcpConfigurations=[*named, {"Key": "domain-name", "Values": ["corp.example"]}]
    )["DhcpOptions"]["DhcpOptionsId"]
    made.ec2.associate_dhcp_options(DhcpOptionsId=options, VpcId=made.vpc)
    return options


@pytest.mark.parametrize("server", ["AmazonProvidedDNS", "10.40.0.2", "169.254.169.253"])
def test_amazons_resolver_is_known_by_name_and_address(server: str) -> None:
    made = ExistingNetwork()
    resolvers(made, server, "10.1.1.1")
    assert list(names(situation(made.stack()))) == []


def test_another_resolver_is_remarked_with_what_it_must_forward() -> None:
    made = ExistingNetwork()
    options = resolvers(made, "10.1.1.1", "10.1.1.2")
    (found,) = names(situation(made.stack()))
    assert isinstance(found, Remark)
    assert f"10.1.1.1, 10.1.1.2 ({options})" in found.text
    assert "graphistry-prod.internal" in found.text


def test_options_without_a_resolver_are_a_problem() -> None:
    made = ExistingNetwork()
    options = resolvers(made)
    (problem,) = names(situation(made.stack()))
    assert isinstance(problem, Problem)
    assert problem.got == f"{made.vpc}, whose DHCP options {options} name no resolver"
    assert "associate-dhcp-options" in problem.hint
