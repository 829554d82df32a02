"""Two clusters of one network block cannot both boot in one sandbox, and the second one is told before anything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from model.problems import UserError
from model.settings.read import parse
from model.tags import CLUSTER_TAG
from operate.commands.preparation import refuse_a_shared_block
from tests.model.examples import EXISTING_VPC, SMALLEST


def deployment(network: dict[str, Any], other: str, block: str) -> Any:
    """The stack prod beside another cluster that has *block*."""
    settings = parse({**SMALLEST, "network": network})
    vpc = {"CidrBlock": block, "Tags": [{"Key": CLUSTER_TAG, "Value": other}]}
    default = {"CidrBlock": "172.31.0.0/16"}
    ec2 = SimpleNamespace(describe_vpcs=lambda: {"Vpcs": [default, vpc]})
    return SimpleNamespace(
        cluster="graphistry-cluster/prod",
        settings=settings,
        client=lambda _: ec2,
        choice=" prod --target sandbox",
    )


@pytest.mark.parametrize("block", ["10.40.0.0/16", "10.40.128.0/20"])
def test_another_cluster_with_the_same_block_is_named(block: str) -> None:
    with pytest.raises(
        UserError,
        match=r"stack sandbox .*`./cluster down sandbox`.*`./cluster down prod --target sandbox`",
    ):
        refuse_a_shared_block(deployment({}, "graphistry-cluster/sandbox", block))


@pytest.mark.parametrize(
    ("network", "other"),
    [
        ({"cidrBlock": "10.41.0.0/16"}, "graphistry-cluster/sandbox"),
        ({}, "graphistry-cluster/prod"),
        (EXISTING_VPC, "graphistry-cluster/sandbox"),
    ],
)
def test_another_block_or_the_same_cluster_is_no_reason(
    network: dict[str, Any], other: str
) -> None:
    refuse_a_shared_block(deployment(network, other, "10.40.0.0/16"))
