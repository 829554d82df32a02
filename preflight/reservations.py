"""The check ``reservations``: whether the capacity reservations and blocks that nodes name can hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from model.plan import PlannedNode
from model.problems import Problem
from preflight.situation import Situation

ENDS_EARLY = timedelta(minutes=30)
"""How long before its end AWS takes the machines of a capacity block (AWS: Capacity Blocks)."""


def reservations(situation: Situation) -> tuple[Problem, ...]:
    """Problems of every node that names a reservation. One paginated call of AWS, none without such a node."""
    reserved = [node for node in situation.nodes if node.capacity_reservation]
    if not reserved:
        return ()
    pages = situation.client("ec2").get_paginator("describe_capacity_reservations").paginate()
    known = {
        each["CapacityReservationId"]: each
        for page in pages
        for each in page["CapacityReservations"]
    }
    inside = {
        (each.instance_type, each.zone)
        for each in situation.machines()
        if each.cluster == situation.cluster
    }
    return tuple(
        problem
        for node in reserved
        for problem in problems_of(node, known, inside, datetime.now(UTC))
    )


def problems_of(
    node: PlannedNode,
    known: Mapping[str, Any],
    inside: set[tuple[str, str]],
    now: datetime,
) -> Iterator[Problem]:
    """What keeps a node out of the reservation it names.

    *known* maps ids to what DescribeCapacityReservations says, *inside* has type and zone of the cluster's machines:
    one of them may be what fills the reservation.
    """
    section = node.name if node.name == "leader" else f"followers.{node.name}"
    path, wanted = f"{section}.capacityReservation", str(node.capacity_reservation)
    found = known.get(wanted)
    if found is None or found["State"] in ("expired", "cancelled", "failed", "payment-failed"):
        gone = (
            f", which is {found['State']}" if found else ", which AWS does not show in this region"
        )
        active = [name for name, each in known.items() if each["State"] == "active"]
        allowed = ", ".join(sorted(active)) or "none: this account has no active reservation here"
        hint = "aws ec2 create-capacity-reservation makes one; or leave the key out"
        yield Problem(path, f"{wanted}{gone}", allowed, hint)
        return
    block = found.get("ReservationType") == "capacity-block"
    if node.name != "leader" and block != (node.market == "capacity-block"):
        kind = "a capacity block" if block else "no capacity block"
        right = "capacity-block" if block else "on-demand"
        yield Problem(f"{section}.market", f"{node.market}, and {wanted} is {kind}", right)
    if found["InstanceType"] not in node.instance_types:
        got = f"{wanted}, which holds {found['InstanceType']}"
        yield Problem(
            path, got, f"a reservation of {node.instance_types[0]}", "or change the profile"
        )
    zone = found["AvailabilityZone"]
    if node.zones != (zone,):
        key = "availabilityZone" if node.name == "leader" else "availabilityZones"
        value = zone if node.name == "leader" else f"[{zone}]"
        got = ", ".join(node.zones) or "nothing"
        yield Problem(f"{section}.{key}", got, value, f"{wanted} is in that zone and no other")
    starts, ends = found.get("StartDate"), found.get("EndDate")
    if found["State"] in ("scheduled", "pending") or (starts and starts > now):
        when = f" and starts {starts:%Y-%m-%d %H:%M} UTC" if starts else ""
        yield Problem(
            path, f"{wanted}, which is {found['State']}{when}", "an active one", "wait for it"
        )
    elif ends and ends - now < ENDS_EARLY:
        got = f"{wanted}, which ends {ends:%Y-%m-%d %H:%M} UTC"
        yield Problem(
            path, got, "one with more than 30 minutes left", "AWS takes its machines before"
        )
    elif not found["AvailableInstanceCount"] and (found["InstanceType"], zone) not in inside:
        got = f"{wanted}, all of whose {found['TotalInstanceCount']} places are taken"
        hint = (
            f"aws ec2 modify-capacity-reservation --capacity-reservation-id {wanted} "
            f"--instance-count {found['TotalInstanceCount'] + 1}"
        )
        yield Problem(path, got, "one with a free place", hint)
