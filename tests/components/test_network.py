"""Mistakes in a network that the stack file names by ids."""

import pulumi
import pytest

from tests.conftest import Deploy, deployed
from tests.harness import ANSWERS

VPC = "vpc-0123456789abcdef0"


def test_every_wrong_subnet_is_told(deploy_stack: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    zones = {"subnet-0000000000000000a": "a", "subnet-0000000000000000b": "a"}
    elsewhere = "subnet-0000000000000000c"
    monkeypatch.setitem(
        ANSWERS,
        "aws:ec2/getSubnet:getSubnet",
        lambda args: {
            "id": args["id"],
            "vpcId": "vpc-99999999" if args["id"] == elsewhere else VPC,
            "availabilityZone": f"us-east-1{zones.get(args['id'], 'b')}",
        },
    )
    with pytest.raises(pulumi.RunError) as raised:
        deploy_stack(network={"vpcId": VPC, "subnetIds": [*zones, elsewhere]})
    assert "2 problems" in str(raised.value)
    assert "both in us-east-1a" in str(raised.value)
    assert "a subnet of vpc-99999999" in str(raised.value)


def test_a_nat_gateway_waits_until_the_network_has_its_way_out() -> None:
    """AWS refuses one, with Gateway.NotAttached, in a network whose internet gateway is not attached yet."""
    recorder = deployed("prod")
    (internet,) = recorder.of("InternetGateway")
    for each in (*recorder.of("NatGateway"), *recorder.of("Eip")):
        assert internet.urn in each.dependencies, each.name
