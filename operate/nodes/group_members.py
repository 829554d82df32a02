"""Which machine of a follower's group is the node, and the end of one whose type is listed no more.

AWS would start an instance refresh itself at every changed policy, as the provider offers it; but what such a refresh
skips must have the present version of the launch template too, so it would replace a machine for a tag that was changed
months before. Here it is started for a type that is gone from the list, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

WARM_UP_SECONDS = 1800
"""How long AWS leaves the old machine after the new one was launched: a first boot loads 10 to 20 GB of images
(graphistry-cli, hardware)."""

SERVING = ("Pending", "InService")
"""Lifecycle states of the members that are or become the node."""


def members(group: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The machines of a group, those aside that AWS is ending."""
    return [each for each in group["Instances"] if each["LifecycleState"] in SERVING]


def stays(group: Mapping[str, Any], member: Mapping[str, Any], types: Sequence[str]) -> bool:
    """Whether *member* stays: its zone is one of the group's and its type one of *types*, or these are empty."""
    return member["AvailabilityZone"] in group["AvailabilityZones"] and (
        not types or member["InstanceType"] in types
    )


def node_of(group: Mapping[str, Any], types: Sequence[str]) -> Mapping[str, Any] | None:
    """The machine of *group* that is the node: one that stays, else one that leaves; ``None`` without any."""
    found = members(group)
    return next((each for each in found if stays(group, each, types)), next(iter(found), None))


def replace_delisted(
    autoscaling: Any, group: Mapping[str, Any], types: Sequence[str]
) -> Mapping[str, Any] | None:
    """The machine of *group* that is to leave while no other is there; ``None`` where there is none.

    If that is for its type, AWS is asked to replace it, the new machine first. A machine outside the group's zones it
    moves by itself. Raises the errors of boto3, except that a replacement is under way already.
    """
    leaving = node_of(group, types)
    if leaving is None or stays(group, leaving, types):
        return None
    if types and leaving["InstanceType"] not in types:
        try:
            autoscaling.start_instance_refresh(
                AutoScalingGroupName=group["AutoScalingGroupName"],
                Preferences={
                    "MinHealthyPercentage": 100,
                    "MaxHealthyPercentage": 200,
                    "InstanceWarmup": WARM_UP_SECONDS,
                    "SkipMatching": False,
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "InstanceRefreshInProgress":
                raise
    return leaving
