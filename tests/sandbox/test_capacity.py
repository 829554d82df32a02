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


def test_an_unknown_code_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "shortages.json"
    file.write_text('{"g6.12xlarge": "NoMore"}')
    with pytest.raises(ValueError, match="got NoMore; allowed are Insufficient"):
        shortages(file)
