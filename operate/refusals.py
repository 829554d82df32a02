"""Launches of a group that AWS refused: its code for the reason, which no activity has, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REFUSALS = {
    "InsufficientInstanceCapacity": (
        ("sufficient", "capacity"),
        "AWS has no such machine free in these zones now: add instance types to the profile, or zones to the "
        "network; a capacity reservation makes sure",
    ),
    "VcpuLimitExceeded": (
        ("vcpu", "limit"),
        "the account's quota is used up: request a higher one (Service Quotas, EC2, Running On-Demand or All Spot "
        "Instance Requests of the family), or remove a node",
    ),
    "MaxSpotInstanceCountExceeded": (
        ("spot", "count"),
        "the account's spot quota is used up: request a higher one, or set market to on-demand",
    ),
    "Unsupported": (
        ("not supported",),
        "the zone does not offer the type, or the image does not run on it",
    ),
    "InvalidAMI": (
        ("ami",),
        "the image is gone or not yours to use: `make image-refresh` locks another",
    ),
}
"""Code of a refused launch to the words by which AWS tells it, and what to do. Activities carry no code."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A launch that AWS refused."""

    message: str
    age_seconds: float
    spot: bool
    of_new_group: bool = False
    """Whether this deployment made the group, so that nothing was mended since."""
    tried: str = ""
    """Instance types and zones that the group may launch in, all of which AWS has tried."""

    @property
    def code(self) -> str:
        """AWS's name of the reason, ``LaunchRefused`` when its words are new to us."""
        return code_of(self.message)

    @property
    def hint(self) -> str:
        """What to do."""
        return REFUSALS[self.code][1] if self.code in REFUSALS else "the message is AWS's own"


def code_of(message: str) -> str:
    """AWS's name of the reason that an activity's *message* tells, ``LaunchRefused`` when its words are new to us."""
    text = message.lower()
    for code, (words, _) in REFUSALS.items():
        if code.lower() in text or all(word in text for word in words):
            return code
    return "LaunchRefused"


def refused_launch(autoscaling: Any, group: str) -> Mapping[str, Any] | None:
    """The activity of the group's last launch, when AWS refused it; one call. Raises the errors of boto3."""
    activities = autoscaling.describe_scaling_activities(AutoScalingGroupName=group, MaxRecords=1)[
        "Activities"
    ]
    if not activities or activities[0]["StatusCode"] not in ("Failed", "Cancelled"):
        return None
    last: Mapping[str, Any] = activities[0]
    return last


def choices(group: dict[str, Any]) -> str:
    """What a group may launch, and where."""
    overrides = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("Overrides", [])
    types = ", ".join(each["InstanceType"] for each in overrides)
    return f"{types or 'the type of its template'} in {', '.join(group['AvailabilityZones'])}"
