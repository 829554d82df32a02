"""Capacity reservations, and those that machines and groups name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..aws import Aws
from ..table import ResourceType, created, deleted
from ..values import Properties
from .network import ec2_tags


def require_reservation(aws: Aws, specification: Mapping[str, Any]) -> None:
    """Refuse what AWS refuses: a reservation that is not there. Whether the machine fits into it is not modelled."""
    target = specification.get("capacityReservationTarget")
    if target is None:  # any that is open
        return
    wanted = target.get("capacityReservationIds") or [target["capacityReservationId"]]
    aws.call("ec2.describe_capacity_reservations", CapacityReservationIds=wanted)


def reservation_changed(aws: Aws, identifier: str, inputs: Properties) -> None:
    """Nothing to do but look: see `moto_gaps.REMEMBERED`."""
    if "capacityReservationSpecification" in inputs:
        require_reservation(aws, inputs["capacityReservationSpecification"])


def _reservation(aws: Aws, identifier: str, inputs: Properties) -> Mapping[str, Any] | None:
    answer = aws.call("ec2.describe_capacity_reservations", CapacityReservationIds=[identifier])
    found = answer["CapacityReservations"][0]
    if found["State"] != "active":
        return None
    return {**found, "instanceCount": found["TotalInstanceCount"]}


TYPES = {
    "aws:ec2/capacityReservation:CapacityReservation": ResourceType(
        fixed="instanceType instancePlatform availabilityZone instanceMatchCriteria ebsOptimized"
        " tenancy instanceCount",
        defaults={"tenancy": "default", "ebsOptimized": False, "instanceMatchCriteria": "open"},
        create=created(
            "ec2.create_capacity_reservation", "CapacityReservation.CapacityReservationId"
        ),
        read=_reservation,
        delete=deleted("ec2.cancel_capacity_reservation", "CapacityReservationId"),
        tagger=ec2_tags,
        arn="ec2:capacity-reservation/{id}",
    ),
}
