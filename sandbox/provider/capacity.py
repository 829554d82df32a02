"""What moto does not know of Auto Scaling: launches that AWS refuses, and the activities that tell of them.

A file says which instance types are refused and why, for example {"g6.12xlarge":
"InsufficientInstanceCapacity"}; without it AWS has everything. As on AWS a group tries again by itself.
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
"""After a refused launch, before the next one. AWS takes longer."""
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
}
"""What AWS says in an activity's status message, by code."""


def mend(file: Path) -> None:
    """Let groups be refused what *file* says; call it once, before moto serves."""
    first_type = FakeAutoScalingGroup.instance_type.fget
    made = FakeAutoScalingGroup.__init__
    launch = FakeAutoScalingGroup.replace_autoscaling_group_instances
    describe = AutoScalingBackend.describe_auto_scaling_groups

    def make(group: Any, *arguments: Any, **named: Any) -> None:
        group.activities = []
        made(group, *arguments, **named)
        group.created_time = datetime.now(UTC).isoformat()  # moto's has no time zone

    def type_to_launch(group: Any) -> str | None:
        """The first that is not refused, as AWS falls back along the list."""
        policy = (group.mixed_instances_policy or {}).get("LaunchTemplate", {})
        listed = [each["InstanceType"] for each in policy.get("Overrides", [])]
        refused = shortages(file)
        found: str | None = next((each for each in listed if each not in refused), None)
        return found or first_type(group)

    def launch_if_there_is(group: Any, count: int, tags: dict[str, str]) -> None:
        code = shortages(file).get(group.instance_type)
        if code is None:
            launch(group, count, tags)
            record(group, "Successful", "")
            return
        zone = group.availability_zones[0]
        record(group, "Failed", WORDS[code].format(type=group.instance_type, zone=zone))

    def describe_and_try_again(backend: Any, *arguments: Any, **named: Any) -> Any:
        for group in backend.autoscaling_groups.values():
            _try_again(group)
        return describe(backend, *arguments, **named)

    FakeAutoScalingGroup.__init__ = make
    FakeAutoScalingGroup.instance_type = property(type_to_launch)
    FakeAutoScalingGroup.replace_autoscaling_group_instances = launch_if_there_is
    AutoScalingBackend.describe_auto_scaling_groups = describe_and_try_again
    AutoScalingResponse.describe_scaling_activities = _answer


def shortages(file: Path) -> dict[str, str]:
    """Instance type -> code of the refusal. Raises ValueError for a code that has no words here."""
    try:
        found: dict[str, str] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    unknown = sorted({code for code in found.values() if code not in WORDS})
    if unknown:
        raise ValueError(f"{file}: got {', '.join(unknown)}; allowed are {', '.join(WORDS)}")
    return found


def record(group: Any, status: str, message: str) -> None:
    """Note what came of a launch as an activity of the group."""
    now = datetime.now(UTC)
    activity = {
        "ActivityId": str(uuid.uuid4()),
        "AutoScalingGroupName": group.name,
        "Description": "Launching a new EC2 instance",
        "Cause": f"At {now:%Y-%m-%dT%H:%M:%SZ} an instance was started in response to a difference"
        " between desired and actual capacity.",
        "StartTime": now,
        "EndTime": now,
        "StatusCode": status,
        "StatusMessage": message,
        "Progress": 100,
    }
    group.activities = [activity, *group.activities][:KEPT]


def _try_again(group: Any) -> None:
    if not group.activities or group.activities[0]["StatusCode"] != "Failed":
        return
    age = time.time() - group.activities[0]["StartTime"].timestamp()
    if age > AGAIN_SECONDS and len(group.active_instances()) < group.desired_capacity:
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
