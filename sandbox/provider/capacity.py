"""What moto does not know of Auto Scaling: launches that AWS refuses, and the activities that tell of them.

A file says which instance types are refused and why, for example {"g6.12xlarge":
"InsufficientInstanceCapacity"}, or in which zones: {"g6.12xlarge": {"us-east-1a": "VcpuLimitExceeded"}}; without it
AWS has everything. As on AWS a group tries one zone after the other, and again, by itself.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

AGAIN_SECONDS = 5
"""After the last zone refused, before the first is tried again. AWS takes longer."""
NEXT_SECONDS = 1
"""After a zone refused, before the next one is tried. AWS takes longer."""
KEPT = 20
"""Activities of a group that are kept; AWS keeps those of six weeks."""

WORDS: Mapping[str, str] = {
    "InsufficientInstanceCapacity": (
        "We currently do not have sufficient {type} capacity in the Availability Zone you requested"
        " ({zone}). Our system will be working on provisioning additional capacity. You can currently"
        " get {type} capacity by not specifying an Availability Zone in your request. Launching EC2"
        " instance failed."
    ),
    "VcpuLimitExceeded": (
        "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the"
        " instance bucket that the specified instance type belongs to. Please visit"
        " http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
        " Launching EC2 instance failed."
    ),
    "InsufficientFreeAddressesInSubnet": (
        "There are not enough free addresses in subnet '{subnet}' to satisfy the requested number of"
        " instances. Launching EC2 instance failed."
    ),
    "InvalidParameterValue": (
        "Value (graphistry-family) for parameter iamInstanceProfile.name is invalid. Invalid IAM"
        " Instance Profile name. Launching EC2 instance failed."
    ),
}
"""What AWS says in an activity's status message, by code."""

SPOT_WORDS: Mapping[str, tuple[str, str]] = {
    "InsufficientInstanceCapacity": (
        "InsufficientInstanceCapacity",
        "There is no Spot capacity available that matches your request. Launching EC2 instance failed.",
    ),
    "VcpuLimitExceeded": (
        "MaxSpotInstanceCountExceeded",
        "Max spot instance count exceeded. Launching EC2 instance failed.",
    ),
}
"""The same of spot where it has other words there, with the code that it has there."""


def mend(file: Path) -> None:
    """Let groups be refused what *file* says; call it once, before moto serves."""
    first_type = FakeAutoScalingGroup.instance_type.fget
    made = FakeAutoScalingGroup.__init__
    launch = FakeAutoScalingGroup.replace_autoscaling_group_instances
    describe = AutoScalingBackend.describe_auto_scaling_groups

    def make(group: Any, *arguments: Any, **named: Any) -> None:
        group.activities = []
        group.refused_zones = 0
        made(group, *arguments, **named)
        group.created_time = datetime.now(UTC).isoformat()  # moto's has no time zone

    def type_to_launch(group: Any) -> str | None:
        """The first that its zone does not refuse, as AWS falls back along the list."""
        policy = (group.mixed_instances_policy or {}).get("LaunchTemplate", {})
        listed = [each["InstanceType"] for each in policy.get("Overrides", [])]
        refused = shortages(file, _place(group)[0])
        found: str | None = next((each for each in listed if each not in refused), None)
        return found or first_type(group)

    def launch_if_there_is(group: Any, count: int, tags: dict[str, str]) -> None:
        zone, subnet = _place(group)
        code = shortages(file, zone).get(group.instance_type)
        if code is not None:
            record(group, "Failed", _words(group, code, zone))
            group.refused_zones += 1
            return
        everywhere = group.availability_zones, group.vpc_zone_identifier
        group.availability_zones, group.vpc_zone_identifier = [zone], subnet
        try:
            launch(group, count, tags)
        finally:
            group.availability_zones, group.vpc_zone_identifier = everywhere
        record(group, "Successful", "")
        group.refused_zones = 0

    def describe_and_try_again(backend: Any, *arguments: Any, **named: Any) -> Any:
        for group in backend.autoscaling_groups.values():
            _try_again(group)
        return describe(backend, *arguments, **named)

    FakeAutoScalingGroup.__init__ = make
    FakeAutoScalingGroup.instance_type = property(type_to_launch)
    FakeAutoScalingGroup.replace_autoscaling_group_instances = launch_if_there_is
    AutoScalingBackend.describe_auto_scaling_groups = describe_and_try_again
    AutoScalingResponse.describe_scaling_activities = _answer


def shortages(file: Path, zone: str) -> dict[str, str]:
    """Instance type -> code of the refusal in *zone*. Raises ValueError for a code that has no words here."""
    try:
        found: dict[str, str | dict[str, str]] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    by_zone = {
        instance_type: {zone: told} if isinstance(told, str) else told
        for instance_type, told in found.items()
    }
    unknown = {code for codes in by_zone.values() for code in codes.values()} - set(WORDS)
    if unknown:
        shown = ", ".join(sorted(unknown))
        raise ValueError(f"{file}: got {shown}; allowed are {', '.join(WORDS)}")
    return {each: codes[zone] for each, codes in by_zone.items() if zone in codes}


def _places(group: Any) -> list[tuple[str, str | None]]:
    """Zone and subnet of each place where a group may launch, in the order in which it tries them."""
    if not group.vpc_zone_identifier:
        return [(zone, None) for zone in group.availability_zones]
    listed = group.vpc_zone_identifier.split(",")
    found = group.autoscaling_backend.ec2_backend.describe_subnets(subnet_ids=listed)
    zones = {subnet.id: subnet.availability_zone for subnet in found}
    return [(zones[each], each) for each in listed]


def _place(group: Any) -> tuple[str, str | None]:
    """Where a group launches next."""
    places = _places(group)
    return places[int(group.refused_zones) % len(places)]


def _words(group: Any, code: str, zone: str) -> str:
    """A group with several types begins with market and code, another tells the message alone."""
    subnet = _place(group)[1]
    on_demand = WORDS[code].format(type=group.instance_type, zone=zone, subnet=subnet)
    if not group.mixed_instances_policy:
        return on_demand
    distribution = group.mixed_instances_policy.get("InstancesDistribution", {})
    if int(distribution.get("OnDemandPercentageAboveBaseCapacity", 100)) == 0:
        told = SPOT_WORDS.get(code, (code, on_demand))
        return "Could not launch Spot Instances. " + " - ".join(told)
    return f"Could not launch On-Demand Instances. {code} - {on_demand}"


def record(group: Any, status: str, message: str) -> None:
    """Note what came of a launch as an activity of the group."""
    now = datetime.now(UTC)
    zone, subnet = _place(group)
    details = {"Subnet ID": subnet, "Availability Zone": zone}
    activity = {
        "ActivityId": str(uuid.uuid4()),
        "AutoScalingGroupName": group.name,
        "Description": "Launching a new EC2 instance"
        + (f".  Status Reason: {message}" if message else ""),
        "Cause": f"At {now:%Y-%m-%dT%H:%M:%SZ} an instance was started in response to a difference"
        " between desired and actual capacity.",
        "StartTime": now,
        "EndTime": now,
        "StatusCode": status,
        "StatusMessage": message,
        "Progress": 100,
        "Details": json.dumps({name: told for name, told in details.items() if told}),
    }
    group.activities = [activity, *group.activities][:KEPT]


def _try_again(group: Any) -> None:
    if not group.activities or group.activities[0]["StatusCode"] != "Failed":
        return
    age = time.time() - group.activities[0]["StartTime"].timestamp()
    between = NEXT_SECONDS if group.refused_zones % len(_places(group)) else AGAIN_SECONDS
    if age > between and len(group.active_instances()) < group.desired_capacity:
        group.set_desired_capacity(group.desired_capacity)


def _answer(request: Any) -> ActionResult:
    """DescribeScalingActivities: those of one group, or of all; the newest first."""
    name = request._get_param("AutoScalingGroupName")
    groups = request.autoscaling_backend.autoscaling_groups.values()
    found = [
        activity for group in groups if name in (None, group.name) for activity in group.activities
    ]
    found.sort(key=lambda activity: activity["StartTime"], reverse=True)
    limit = int(request._get_param("MaxRecords") or 100)
    return ActionResult({"Activities": found[:limit]})
