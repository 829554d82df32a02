"""Subnet blocks: inside the VPC, apart from each other, and never moved by another zone."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.subnets import ZONE_LETTERS, SubnetBlocks, subnet_blocks

VPCS = st.builds(
    lambda prefix, number: str(IPv4Network(((10 << 24) | (number << (32 - prefix)), prefix))),
    st.shared(st.integers(16, 20), key="prefix"),
    st.shared(st.integers(16, 20), key="prefix").flatmap(
        lambda prefix: st.integers(0, 2 ** (prefix - 8) - 1)
    ),
)
ZONES = st.lists(st.sampled_from([f"us-east-1{letter}" for letter in ZONE_LETTERS]), unique=True)


def test_the_blocks_of_the_default_vpc() -> None:
    assert subnet_blocks("10.40.0.0/16", ["us-east-1a", "us-east-1f"]) == {
        "us-east-1a": SubnetBlocks("10.40.0.0/20", "10.40.128.0/27"),
        "us-east-1f": SubnetBlocks("10.40.80.0/20", "10.40.128.160/27"),
    }


@given(VPCS, ZONES)
def test_all_blocks_are_inside_the_vpc_and_none_overlap(vpc: str, zones: list[str]) -> None:
    blocks = [
        IPv4Network(block)
        for each in subnet_blocks(vpc, zones).values()
        for block in (each.private, each.public)
    ]
    assert all(block.subnet_of(IPv4Network(vpc)) for block in blocks)
    assert not any(one.overlaps(other) for one, other in combinations(blocks, 2))


@given(VPCS, ZONES, st.data())
def test_zones_that_come_and_go_move_no_other(
    vpc: str, zones: list[str], data: st.DataObject
) -> None:
    kept = data.draw(st.permutations(zones))[: len(zones) // 2]
    every = subnet_blocks(vpc, zones)
    assert subnet_blocks(vpc, kept) == {zone: every[zone] for zone in kept}


@given(VPCS, ZONES)
def test_private_blocks_have_room_for_nodes_and_public_ones_for_a_load_balancer(
    vpc: str, zones: list[str]
) -> None:
    for blocks in subnet_blocks(vpc, zones).values():
        assert IPv4Network(blocks.private).num_addresses >= 256
        assert IPv4Network(blocks.public).prefixlen == 27


@pytest.mark.parametrize(
    ("vpc", "zones", "message"),
    [
        ("10.0.0.0/15", ["us-east-1a"], "not a block of /16 to /20"),
        ("10.0.0.0/21", ["us-east-1a"], "not a block of /16 to /20"),
        ("10.0.0.1/16", ["us-east-1a"], "host bits"),
        ("10.0.0.0/16", ["us-east-1z"], "does not end in a zone letter"),
        ("10.0.0.0/16", [""], "does not end in a zone letter"),
        ("10.0.0.0/16", ["us-east-1a", "us-west-2a"], "have the same letter"),
    ],
)
def test_what_has_no_blocks_is_refused(vpc: str, zones: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        subnet_blocks(vpc, zones)
