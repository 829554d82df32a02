"""What moto does not know of EC2: on-demand capacity reservations. AWS refuses one of a type that it is short of.

A capacity block is one, too: a group whose template is of that market launches into the one the template names, or not.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.autoscaling.models import FakeAutoScalingGroup
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response
from moto.ec2.utils import (
    EC2_PREFIX_TO_RESOURCE,
    EC2_RESOURCE_TO_PREFIX,
    add_tag_specification,
)

from .capacity import WORDS, record, shortages

ASKED = (
    "InstanceType",
    "InstancePlatform",
    "AvailabilityZone",
    "InstanceMatchCriteria",
    "Tenancy",
    "EbsOptimized",
)


def mend(file: Path) -> None:
    """Let EC2 have reservations, and refuse those of the types that *file* says; call it once, before moto serves."""

    def create(request: Any) -> ActionResult:
        instance_type = str(request._get_param("InstanceType"))
        zone = str(request._get_param("AvailabilityZone"))
        code = shortages(file, zone).get(instance_type)
        if code is not None:
            message = WORDS[code].format(type=instance_type, zone=zone, subnet="")
            raise EC2ClientError(code, message.removesuffix(" Launching EC2 instance failed."))
        identifier = f"cr-{uuid.uuid4().hex[:17]}"
        tags = add_tag_specification(request._get_param("TagSpecifications", []))
        request.ec2_backend.create_tags([identifier], tags)
        asked = {name: request._get_param(name) for name in ASKED}
        _reservations(request.ec2_backend)[identifier] = {
            "InstanceMatchCriteria": "open",
            "Tenancy": "default",
            **{name: value for name, value in asked.items() if value is not None},
            "CapacityReservationId": identifier,
            "ReservationType": "default",
            "TotalInstanceCount": int(request._get_param("InstanceCount")),
            "EndDateType": "unlimited",
            "State": "active",
            "CreateDate": datetime.now(UTC),
        }
        return ActionResult({"CapacityReservation": _described(request.ec2_backend, identifier)})

    EC2_RESOURCE_TO_PREFIX["capacity-reservation"] = "cr"
    EC2_PREFIX_TO_RESOURCE["cr"] = "capacity-reservation"
    EC2Response.create_capacity_reservation = create
    EC2Response.cancel_capacity_reservation = _cancel
    EC2Response.describe_capacity_reservations = _describe
    launch = FakeAutoScalingGroup.replace_autoscaling_group_instances

    def launch_into_its_reservation(group: Any, count: int, tags: dict[str, str]) -> None:
        refused = _refused(group)
        if refused is None:
            launch(group, count, tags)
        else:
            record(group, "Failed", f"{refused}. Launching EC2 instance failed.")

    FakeAutoScalingGroup.replace_autoscaling_group_instances = launch_into_its_reservation


def _refused(group: Any) -> str | None:
    """Why EC2 does not launch from the template of a group, by the reservation that the template names."""
    if group.ec2_launch_template is None:
        return None
    data = group.ec2_launch_template.get_version(group.launch_template_version).data
    target = data.get("CapacityReservationSpecification", {}).get("CapacityReservationTarget", {})
    identifier = target.get("CapacityReservationId")
    if identifier is None:
        if data.get("InstanceMarketOptions", {}).get("MarketType") != "capacity-block":
            return None
        return "A capacity reservation ID must be specified for the market type capacity-block"
    try:
        kept = _known(group.autoscaling_backend.ec2_backend, identifier)
    except EC2ClientError as error:
        return str(error.message)
    return None if kept["State"] == "active" else f"The capacity reservation '{identifier}' is over"


def _cancel(request: Any) -> ActionResult:
    identifier = str(request._get_param("CapacityReservationId"))
    _known(request.ec2_backend, identifier)["State"] = "cancelled"
    return ActionResult({"Return": True})


def _describe(request: Any) -> ActionResult:
    backend = request.ec2_backend
    wanted = request._get_param("CapacityReservationIds", []) or list(_reservations(backend))
    return ActionResult({"CapacityReservations": [_described(backend, each) for each in wanted]})


def _described(backend: Any, identifier: str) -> dict[str, Any]:
    """A reservation as AWS tells it: machines of its type in its zone are in it, as far as it goes."""
    kept = _known(backend, identifier)
    inside = sum(
        instance.instance_type == kept["InstanceType"]
        and instance.placement == kept["AvailabilityZone"]
        and instance.state_code == 16  # running
        for instance in backend.all_instances()
    )
    return {
        **kept,
        "AvailableInstanceCount": max(0, kept["TotalInstanceCount"] - inside),
        "Tags": [
            {"Key": each["key"], "Value": each["value"]}
            for each in backend.describe_tags({"resource-id": [identifier]})
        ],
    }


def _known(backend: Any, identifier: str) -> dict[str, Any]:
    found = _reservations(backend).get(identifier)
    if found is None:
        raise EC2ClientError(
            "InvalidCapacityReservationId.NotFound",
            f"The capacity reservation '{identifier}' does not exist",
        )
    return found


def _reservations(backend: Any) -> dict[str, dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = backend.__dict__.setdefault("capacity_reservations", {})
    return kept
