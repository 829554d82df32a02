"""Launches of groups that the sandbox's AWS refuses."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from operate.refusals import Refusal
from sandbox.lifecycle import start, stop
from sandbox.provider.capacity import AGAIN_SECONDS, WORDS, shortages


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[Any]:
    endpoint = start(tmp_path).aws_endpoint

    def client(service: str) -> Any:
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    yield client
    stop(tmp_path)


def make_group(clients: Any, *types: str) -> None:
    ec2 = clients("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 200, "VolumeType": "gp3"}}
    template = ec2.create_launch_template(
        LaunchTemplateName="template",
        LaunchTemplateData={"ImageId": image, "BlockDeviceMappings": [disk]},
    )["LaunchTemplate"]["LaunchTemplateId"]
    clients("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="group",
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=["us-east-1a"],
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": template},
                "Overrides": [{"InstanceType": each} for each in types],
            }
        },
    )


def make_block_group(clients: Any, **reservation: Any) -> None:
    """A group whose template launches into a capacity block, as AWS has it: market, type and block in the template."""
    ec2 = clients("ec2")
    template = ec2.create_launch_template(
        LaunchTemplateName="block",
        LaunchTemplateData={
            "ImageId": ec2.describe_images()["Images"][0]["ImageId"],
            "InstanceType": "p5.48xlarge",
            "InstanceMarketOptions": {"MarketType": "capacity-block"},
            **reservation,
        },
    )["LaunchTemplate"]["LaunchTemplateId"]
    clients("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="group",
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=["us-east-1a"],
        LaunchTemplate={"LaunchTemplateId": template},
    )


def into(identifier: str) -> dict[str, Any]:
    target = {"CapacityReservationTarget": {"CapacityReservationId": identifier}}
    return {"CapacityReservationSpecification": target}


def last_activity(clients: Any) -> dict[str, Any]:
    found = clients("autoscaling").describe_scaling_activities(AutoScalingGroupName="group")
    return dict(found["Activities"][0])


def launched(clients: Any) -> list[str]:
    """The types of the group's instances."""
    (group,) = clients("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return [each["InstanceType"] for each in group["Instances"]]


@pytest.mark.parametrize("code", WORDS)
def test_a_refused_launch_is_an_activity_and_is_tried_again(
    clients: Any, tmp_path: Path, code: str
) -> None:
    file = tmp_path / "shortages.json"
    file.write_text(json.dumps({"g6.12xlarge": code}))
    make_group(clients, "g6.12xlarge")
    assert launched(clients) == []
    (activity,) = clients("autoscaling").describe_scaling_activities(AutoScalingGroupName="group")[
        "Activities"
    ]
    assert activity["StatusCode"] == "Failed"
    refusal = Refusal(message=activity["StatusMessage"], age_seconds=0, spot=False)
    assert refusal.code == code
    file.unlink()
    end = time.monotonic() + 2 * AGAIN_SECONDS
    while not launched(clients):
        assert time.monotonic() < end
        time.sleep(0.2)
    last = clients("autoscaling").describe_scaling_activities(MaxRecords=1)["Activities"][0]
    assert last["StatusCode"] == "Successful"
    assert len(clients("ec2").describe_volumes()["Volumes"]) == 1  # moto makes another


def test_a_group_takes_the_next_type_that_is_there(clients: Any, tmp_path: Path) -> None:
    file = tmp_path / "shortages.json"
    file.write_text('{"g6.12xlarge": "InsufficientInstanceCapacity"}')
    make_group(clients, "g6.12xlarge", "g5.12xlarge")
    assert launched(clients) == ["g5.12xlarge"]


def test_a_group_launches_into_the_block_that_its_template_names(clients: Any) -> None:
    reserved = clients("ec2").create_capacity_reservation(
        InstanceType="p5.48xlarge",
        InstancePlatform="Linux/UNIX",
        AvailabilityZone="us-east-1a",
        InstanceCount=1,
    )["CapacityReservation"]["CapacityReservationId"]
    make_block_group(clients, **into(reserved))
    assert launched(clients) == ["p5.48xlarge"]
    assert last_activity(clients)["StatusCode"] == "Successful"


@pytest.mark.parametrize(
    ("reservation", "told"),
    [({}, "must be specified"), (into("cr-0123456789abcdef0"), "does not exist")],
    ids=["no block", "an unknown one"],
)
def test_a_launch_into_no_block_is_refused(
    clients: Any, reservation: dict[str, Any], told: str
) -> None:
    make_block_group(clients, **reservation)
    assert launched(clients) == []
    activity = last_activity(clients)
    assert activity["StatusCode"] == "Failed"
    assert told in activity["StatusMessage"]


def test_an_unknown_code_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "shortages.json"
    file.write_text('{"g6.12xlarge": "NoMore"}')
    with pytest.raises(ValueError, match="got NoMore; allowed are Insufficient"):
        shortages(file)
