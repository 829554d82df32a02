"""Whether a reservation can hold the node that names it: the answer to each state that AWS can tell of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from preflight.reservations import reservations
from tests.preflight.situations import machine, situation

RESERVATION = "cr-0123456789abcdef0"
SOON = datetime.now(UTC) + timedelta(minutes=10)
LATER = datetime.now(UTC) + timedelta(days=10)


class Ec2:
    """EC2 that has one reservation."""

    def __init__(self, **changes: Any) -> None:
        self.calls = 0
        self._reservation = {
            "CapacityReservationId": RESERVATION,
            "InstanceType": "g5.xlarge",
            "AvailabilityZone": "us-east-1b",
            "State": "active",
            "ReservationType": "default",
            "TotalInstanceCount": 1,
            "AvailableInstanceCount": 1,
            **changes,
        }

    def get_paginator(self, _: str) -> Ec2:
        return self

    def paginate(self) -> list[dict[str, Any]]:
        self.calls += 1
        return [{"CapacityReservations": [self._reservation]}]


def stack(**follower: Any) -> dict[str, Any]:
    one = {
        "profile": "a10g",
        "availabilityZones": ["us-east-1b"],
        "capacityReservation": RESERVATION,
        **follower,
    }
    return {
        "gpuProfiles": {
            "a10g": {"instanceTypes": ["g5.xlarge"]},
            "t4": {"instanceTypes": ["g4dn.xlarge"]},
        },
        "leader": {"profile": "t4"},
        "followers": {"one": one},
    }


def test_a_reservation_with_a_free_place_of_type_and_zone_has_no_problem() -> None:
    assert reservations(situation(stack(), client=Ec2())) == ()


@pytest.mark.parametrize(
    ("reservation", "follower", "path", "words"),
    [
        ({"State": "expired"}, {}, "capacityReservation", "which is expired"),
        ({"CapacityReservationId": "cr-0aaaaaaa"}, {}, "capacityReservation", "AWS does not show"),
        ({"InstanceType": "g6.xlarge"}, {}, "capacityReservation", "which holds g6.xlarge"),
        ({"AvailabilityZone": "us-east-1c"}, {}, "availabilityZones", "us-east-1b"),
        ({}, {"availabilityZones": []}, "availabilityZones", "nothing"),
        (
            {"AvailableInstanceCount": 0},
            {},
            "capacityReservation",
            "all of whose 1 places are taken",
        ),
        ({"ReservationType": "capacity-block"}, {}, "market", "is a capacity block"),
        ({}, {"market": "capacity-block"}, "market", "is no capacity block"),
        (
            {"State": "scheduled", "StartDate": LATER},
            {},
            "capacityReservation",
            "scheduled and starts",
        ),
        ({"EndDate": SOON}, {}, "capacityReservation", "which ends"),
    ],
)
def test_each_reason_against_a_reservation_is_told(
    reservation: dict[str, Any], follower: dict[str, Any], path: str, words: str
) -> None:
    (problem,) = reservations(situation(stack(**follower), client=Ec2(**reservation)))
    assert problem.path == f"followers.one.{path}"
    assert words in problem.got


def test_a_place_that_the_cluster_itself_has_taken_is_no_problem() -> None:
    full = Ec2(AvailableInstanceCount=0)
    running = machine("one", "g5.xlarge", "us-east-1b")
    assert reservations(situation(stack(), running, client=full)) == ()


def test_aws_is_asked_once_for_all_and_not_at_all_without_a_reservation() -> None:
    ec2 = Ec2(TotalInstanceCount=3, AvailableInstanceCount=3)
    raw = stack()
    raw["followers"] = dict.fromkeys(("one", "two", "three"), raw["followers"]["one"])
    assert reservations(situation(raw, client=ec2)) == ()
    assert ec2.calls == 1
    without = Ec2()
    assert reservations(situation({**raw, "followers": {}}, client=without)) == ()
    assert without.calls == 0
