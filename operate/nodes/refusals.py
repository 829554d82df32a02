"""Launches of a group that AWS refused: the reason, where it tried, and whether it tries something that may help."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from model.refusals import Helps, named_code, reason_of

REMEMBERED = 20
"""Activities that are read: each zone that AWS tries is one."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A launch that AWS refused, and those before it that it refused for the same wait."""

    message: str
    age_seconds: float
    spot: bool
    """Whether this was spot, or the next one will be: after it AWS goes on with on-demand."""
    of_new_group: bool = False
    """Whether this deployment made the group, so that nothing was mended since."""
    types: str = ""
    """Instance types that AWS tries in each zone."""
    tried: tuple[str, ...] = ()
    """Zones that refused, since the wait began or the group was made."""
    untried: tuple[str, ...] = ()
    """The group's other zones."""

    @property
    def code(self) -> str:
        """AWS's name of the reason, ``LaunchRefused`` when its words are new to us."""
        return code_of(self.message)

    @property
    def hint(self) -> str:
        """What to do."""
        reason = reason_of(self.message)
        return (
            reason.hint
            if reason
            else "the reason is in AWS's own words, which are all that is known"
        )

    @property
    def passes(self) -> bool:
        """Whether the same launch may succeed later; AWS tries it again by itself."""
        reason = reason_of(self.message)
        return reason is not None and reason.helps is Helps.TIME

    @property
    def next_zones(self) -> tuple[str, ...]:
        """Zones that AWS tries by itself, and that may have what this one has not."""
        reason = reason_of(self.message)
        return self.untried if reason and reason.helps is Helps.ZONE else ()

    @property
    def where(self) -> str:
        """The reason and the zones that gave it."""
        return f"{self.code} in {', '.join(self.tried)}" if self.tried else self.code

    @property
    def tries(self) -> str:
        """What AWS has tried, and where it has not; empty where it does not say."""
        if not self.tried:
            return ""
        rest = f"; not in {', '.join(self.untried)}" if self.untried else ""
        return f"{self.types} in {', '.join(self.tried)}{rest}"


def code_of(message: str) -> str:
    """AWS's name of the reason that an activity's *message* tells, ``LaunchRefused`` when its words are new to us."""
    reason = reason_of(message)
    return reason.code if reason else named_code(message) or "LaunchRefused"


def refused_launches(autoscaling: Any, group: str) -> list[Mapping[str, Any]]:
    """The activities of the group's last launches that AWS refused, the newest first; one call.

    None while a launch is under way, and none before one that succeeded. Raises the errors of boto3.
    """
    activities = autoscaling.describe_scaling_activities(
        AutoScalingGroupName=group, MaxRecords=REMEMBERED
    )["Activities"]
    launches = (each for each in activities if each.get("Description", "").startswith("Launching"))
    return list(takewhile(lambda each: each["StatusCode"] in ("Failed", "Cancelled"), launches))


def refusal_of(
    group: Mapping[str, Any],
    launches: Sequence[Mapping[str, Any]],
    *,
    now: float,
    waited_seconds: float,
    of_new_group: bool,
) -> Refusal:
    """What *launches* of *group*, refused and the newest first, mean to who waits since *waited_seconds*.

    The group may have been switched to on-demand since the newest, so its market is that of its own words too; an
    on-demand try says nothing of where spot was tried.
    """
    newest, spot = launches[0], _is_spot(launches[0])
    counted = takewhile(
        lambda each: _is_spot(each) == spot and (of_new_group or _age(each, now) <= waited_seconds),
        launches,
    )
    zones: list[str] = group["AvailabilityZones"]
    told = [zone for each in counted if (zone := _zone(each, zones))]
    policy = group.get("MixedInstancesPolicy", {})
    listed = policy.get("LaunchTemplate", {}).get("Overrides", [])
    distribution = policy.get("InstancesDistribution", {})
    return Refusal(
        message=str(newest.get("StatusMessage", "")),
        age_seconds=_age(newest, now),
        spot=spot or distribution.get("OnDemandPercentageAboveBaseCapacity") == 0,
        of_new_group=of_new_group,
        types=", ".join(each["InstanceType"] for each in listed) or "the type of its template",
        tried=tuple(dict.fromkeys(reversed(told))),
        untried=tuple(zone for zone in zones if zone not in told),
    )


def _age(launch: Mapping[str, Any], now: float) -> float:
    return now - float(launch["StartTime"].timestamp())


def _is_spot(launch: Mapping[str, Any]) -> bool:
    return "spot" in str(launch.get("StatusMessage", "")).lower()


def _zone(launch: Mapping[str, Any], zones: Sequence[str]) -> str | None:
    """Where a launch was tried; ``None`` where AWS does not say, for not every activity has it."""
    try:
        details = json.loads(launch.get("Details") or "{}")
    except ValueError:
        details = {}
    told = details.get("Availability Zone") if isinstance(details, dict) else None
    if told:
        return str(told)
    return zones[0] if len(zones) == 1 else None
