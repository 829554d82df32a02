"""Launches of groups that the sandbox's AWS refuses."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from operate.nodes.refusals import Refusal, refusal_of, refused_launches
from operate.steps import node_ready
from operate.steps.node_ready import Watcher, judge, judge_recorded, wait
from sandbox.lifecycle import start, stop
from sandbox.provider.capacity import AGAIN_SECONDS, WORDS, shortages
from tests.deployment.checkout import aws_client


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[Any]:
    endpoint = start(tmp_path).aws_endpoint
    yield lambda service: aws_client(service, endpoint)
    stop(tmp_path)


ZONES = ["us-east-1a", "us-east-1b"]
SCARCE = '{"g6.12xlarge": "InsufficientInstanceCapacity"}'


def make_group(
    clients: Any, *types: str, zones: list[str] = ZONES[:1], on_demand: int = 100
) -> None:
    ec2 = clients("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 200, "VolumeType": "gp3"}}
    template = ec2.create_launch_template(
        LaunchTemplateName="template",
        LaunchTemplateData={"ImageId": image, "BlockDeviceMappings": [disk]},
    )["LaunchTemplate"]["LaunchTemplateId"]
    subnets = {
        each["AvailabilityZone"]: each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]
    }
    clients("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="group",
        MinSize=1,
        MaxSize=1,
        VPCZoneIdentifier=",".join(subnets[zone] for zone in zones),
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": template},
                "Overrides": [{"InstanceType": each} for each in types],
            },
            "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": on_demand},
        },
    )


def activities(clients: Any) -> list[dict[str, Any]]:
    """What AWS tells of the group, the newest first."""
    told: list[dict[str, Any]] = clients("autoscaling").describe_scaling_activities(
        AutoScalingGroupName="group"
    )["Activities"]
    return told


def zones_of(told: list[dict[str, Any]]) -> list[str]:
    """Where each activity was."""
    return [json.loads(each["Details"])["Availability Zone"] for each in told]


@pytest.fixture
def watcher(clients: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watcher:
    """Waits for the group's machine, as a deployment does."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", start(tmp_path).aws_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(node_ready, "POLL_SECONDS", 0.2)
    clients("s3").create_bucket(Bucket="cluster")
    return Watcher("us-east-1", "cluster", "large", group="group", types=("g6.12xlarge",))


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
    (activity,) = activities(clients)
    assert activity["StatusCode"] == "Failed"
    assert zones_of([activity]) == ["us-east-1a"]
    refusal = Refusal(message=activity["StatusMessage"], age_seconds=0, spot=False)
    assert refusal.code == code
    file.unlink()
    end = time.monotonic() + 2 * AGAIN_SECONDS
    while not launched(clients):
        assert time.monotonic() < end
        time.sleep(0.2)
    last = activities(clients)[0]
    assert last["StatusCode"] == "Successful"
    assert len(clients("ec2").describe_volumes()["Volumes"]) == 1  # moto makes another


def test_a_group_takes_the_next_type_that_is_there(clients: Any, tmp_path: Path) -> None:
    (tmp_path / "shortages.json").write_text(SCARCE)
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
    assert activities(clients)[0]["StatusCode"] == "Successful"


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
    activity = activities(clients)[0]
    assert activity["StatusCode"] == "Failed"
    assert told in activity["StatusMessage"]


def test_an_unknown_code_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "shortages.json"
    file.write_text('{"g6.12xlarge": "NoMore"}')
    with pytest.raises(ValueError, match="got NoMore; allowed are Insufficient"):
        shortages(file, "us-east-1a")
    file.write_text('{"g6.12xlarge": {"us-east-1b": "NoMore"}}')
    with pytest.raises(ValueError, match="got NoMore"):
        shortages(file, "us-east-1a")


BOOTED = partial(judge, specification="a" * 64)


def test_a_wait_ends_when_every_zone_has_refused(
    clients: Any, tmp_path: Path, watcher: Watcher
) -> None:
    (tmp_path / "shortages.json").write_text(SCARCE)
    make_group(clients, "g6.12xlarge", zones=ZONES)
    verdict = wait(watcher, "large", BOOTED)
    assert verdict.line == "AWS gives it no machine"
    assert verdict.details["tried"] == "g6.12xlarge in us-east-1a, us-east-1b"
    assert zones_of(activities(clients))[-2:] == ["us-east-1b", "us-east-1a"]


def test_a_zone_that_refuses_is_followed_by_one_that_does_not(
    clients: Any, tmp_path: Path, watcher: Watcher
) -> None:
    told = {"g6.12xlarge": {"us-east-1a": "InsufficientInstanceCapacity"}}
    (tmp_path / "shortages.json").write_text(json.dumps(told))
    make_group(clients, "g6.12xlarge", zones=ZONES)
    assert wait(watcher, "large", judge_recorded).outcome == "ready"
    assert watcher.look().refused_seconds == 0
    assert zones_of(activities(clients)) == ["us-east-1b", "us-east-1a"]
    (group,) = clients("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    (machine,) = group["Instances"]
    assert machine["AvailabilityZone"] == "us-east-1b"
    assert group["AvailabilityZones"] == ZONES


def test_a_wait_goes_on_while_spot_falls_back_and_ends_when_on_demand_is_refused(
    clients: Any, tmp_path: Path, watcher: Watcher
) -> None:
    (tmp_path / "shortages.json").write_text(SCARCE)
    make_group(clients, "g6.12xlarge", on_demand=0)
    (group,) = clients("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    policy = group["MixedInstancesPolicy"]
    del policy["LaunchTemplate"]["LaunchTemplateSpecification"]["LaunchTemplateName"]  # or the id
    policy["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] = 100
    clients("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName="group", MixedInstancesPolicy=policy
    )
    switched = refusal_of(
        group,
        refused_launches(clients("autoscaling"), "group"),
        now=time.time(),
        waited_seconds=0,
        of_new_group=True,
    )
    assert switched.spot
    assert "There is no Spot capacity available" in switched.message
    verdict = wait(watcher, "large", BOOTED)
    assert verdict.details["reason"].startswith("Could not launch On-Demand Instances.")
    assert watcher.look().refused_seconds > 0


def member(clients: Any) -> dict[str, Any]:
    """The only machine of the group."""
    (group,) = clients("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    (found,) = group["Instances"]
    return dict(found)


def lifecycle(clients: Any, machine: str) -> str | None:
    """How a machine was bought: ``spot``, or ``None`` for on-demand."""
    (found,) = clients("ec2").describe_instances(InstanceIds=[machine])["Reservations"]
    told: str | None = found["Instances"][0].get("InstanceLifecycle")
    return told


def buy(clients: Any, percentage: int) -> None:
    """Change nothing but the percentage, as the automation of the spot fallback does."""
    clients("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName="group",
        MixedInstancesPolicy={
            "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": percentage}
        },
    )


def test_a_changed_percentage_replaces_the_running_machine(clients: Any) -> None:
    make_group(clients, "g6.12xlarge", on_demand=0)
    before = member(clients)["InstanceId"]
    assert lifecycle(clients, before) == "spot"
    buy(clients, 0)
    assert member(clients)["InstanceId"] == before
    buy(clients, 100)
    after = member(clients)["InstanceId"]
    assert after != before
    assert lifecycle(clients, after) is None
    assert launched(clients) == ["g6.12xlarge"]
    assert len(clients("ec2").describe_volumes()["Volumes"]) == 1


def test_a_machine_that_is_to_be_replaced_stays_while_aws_has_no_other(
    clients: Any, tmp_path: Path
) -> None:
    make_group(clients, "g6.12xlarge", on_demand=100)
    before = member(clients)["InstanceId"]
    (tmp_path / "shortages.json").write_text(SCARCE)
    buy(clients, 0)
    assert member(clients)["InstanceId"] == before
    assert activities(clients)[0]["StatusCode"] == "Failed"


def test_a_machine_outside_the_subnets_of_its_group_is_moved(clients: Any) -> None:
    make_group(clients, "g6.12xlarge", zones=ZONES)
    before = member(clients)
    assert before["AvailabilityZone"] == ZONES[0]
    subnets = {
        each["AvailabilityZone"]: each["SubnetId"]
        for each in clients("ec2").describe_subnets()["Subnets"]
    }
    for zones, moved in ((ZONES, False), (ZONES[1:], True)):
        clients("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName="group",
            VPCZoneIdentifier=",".join(subnets[zone] for zone in zones),
        )
        assert (member(clients)["InstanceId"] != before["InstanceId"]) == moved
    assert member(clients)["AvailabilityZone"] == ZONES[1]


def refresh(clients: Any, *, skip_matching: bool) -> None:
    clients("autoscaling").start_instance_refresh(
        AutoScalingGroupName="group", Preferences={"SkipMatching": skip_matching}
    )


def test_skip_matching_compares_the_version_of_the_launch_template_too(clients: Any) -> None:
    make_group(clients, "g6.12xlarge", "g5.12xlarge")
    before = member(clients)
    assert before["LaunchTemplate"]["Version"] == "1"
    refresh(clients, skip_matching=True)
    assert member(clients) == before
    ec2, name = clients("ec2"), "template"
    ec2.create_launch_template_version(
        LaunchTemplateName=name, SourceVersion="1", LaunchTemplateData={"EbsOptimized": True}
    )
    refresh(clients, skip_matching=True)
    assert member(clients) == before
    ec2.modify_launch_template(LaunchTemplateName=name, DefaultVersion="2")
    assert member(clients) == before
    refresh(clients, skip_matching=True)
    after = member(clients)
    assert after["InstanceId"] != before["InstanceId"]
    assert after["LaunchTemplate"]["Version"] == "2"
    refresh(clients, skip_matching=False)
    assert member(clients)["InstanceId"] != after["InstanceId"]
