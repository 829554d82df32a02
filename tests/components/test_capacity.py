"""How nodes hold or use capacity: the leader's own reservation, and reservations and blocks by id."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.conftest import Deploy, deployed
from tests.harness import Recorder

LEADER = "graphistry-sandbox-leader"
RESERVATION = "cr-0123456789abcdef0"
ANY_OPEN = {"capacityReservationPreference": "open"}
"""AWS's default, said: with nothing said, the provider leaves a machine in the reservation that it names no more."""

AS_THE_TEMPLATE_SAYS = {"capacityReservationPreference": "default"}
"""AWS's default of a group, said for the same reason."""

IN_NONE = {"capacityReservationPreference": "none"}
"""Not in an open one either, which may be the leader's own."""


def group(recorder: Recorder, follower: str) -> Mapping[str, object]:
    return recorder["Group", f"graphistry-sandbox-{follower}-group"].inputs


def test_the_leaders_type_is_reserved_in_its_zone_before_its_machine() -> None:
    recorder = deployed()
    reserved = recorder["CapacityReservation", f"{LEADER}-capacity"].inputs
    machine = recorder["Instance", LEADER]
    assert reserved["instanceType"] == machine.inputs["instanceType"]
    assert (
        reserved["availabilityZone"]
        == recorder["Volume", f"{LEADER}-data"].inputs["availabilityZone"]
    )
    assert reserved["instanceCount"] == 1
    # A targeted one would be full until the old machine is gone.
    assert reserved["instanceMatchCriteria"] == "open"
    assert machine.inputs["capacityReservationSpecification"] == ANY_OPEN


@pytest.mark.parametrize("key", [{"reserveCapacity": False}, {"capacityReservation": RESERVATION}])
def test_no_capacity_is_reserved_for_a_leader_that_wants_none(
    deploy_stack: Deploy, key: dict[str, object]
) -> None:
    recorder = deploy_stack(leader={"profile": "t4", **key})
    assert not recorder.of("CapacityReservation")


def test_a_leader_that_names_no_reservation_leaves_the_one_it_named(deploy_stack: Deploy) -> None:
    recorder = deploy_stack(leader={"profile": "t4", "reserveCapacity": False})
    assert recorder["Instance", LEADER].inputs["capacityReservationSpecification"] == ANY_OPEN


def test_a_leader_runs_in_the_reservation_it_names(deploy_stack: Deploy) -> None:
    recorder = deploy_stack(leader={"profile": "t4", "capacityReservation": RESERVATION})
    target = {"capacityReservationTarget": {"capacityReservationId": RESERVATION}}
    assert recorder["Instance", LEADER].inputs["capacityReservationSpecification"] == target


def test_a_follower_prefers_the_reservation_it_names(deploy_stack: Deploy) -> None:
    follower = {"profile": "t4", "capacityReservation": RESERVATION}
    recorder = deploy_stack(followers={"one": follower})
    inputs = group(recorder, "one")
    assert inputs["capacityReservationSpecification"] == {
        "capacityReservationPreference": "capacity-reservations-first",
        "capacityReservationTarget": {"capacityReservationIds": [RESERVATION]},
    }
    assert "mixedInstancesPolicy" in inputs
    template = recorder["LaunchTemplate", "graphistry-sandbox-one-template"].inputs
    assert "capacityReservationSpecification" not in template


def test_a_follower_in_a_capacity_block_runs_nowhere_else(deploy_stack: Deploy) -> None:
    follower = {
        "profile": "t4",
        "market": "capacity-block",
        "capacityReservation": RESERVATION,
    }
    recorder = deploy_stack(followers={"one": follower})
    template = recorder["LaunchTemplate", "graphistry-sandbox-one-template"].inputs
    assert template["instanceMarketOptions"] == {"marketType": "capacity-block"}
    assert template["instanceType"] == recorder["Instance", LEADER].inputs["instanceType"]
    # EC2 takes a launch of that market only with the block's id beside it.
    assert template["capacityReservationSpecification"] == {
        "capacityReservationTarget": {"capacityReservationId": RESERVATION}
    }
    inputs = group(recorder, "one")
    assert inputs["capacityReservationSpecification"] == AS_THE_TEMPLATE_SAYS
    assert "mixedInstancesPolicy" not in inputs


def test_a_follower_that_names_no_reservation_leaves_the_one_it_named(deploy_stack: Deploy) -> None:
    for follower in ({"profile": "t4"}, {"profile": "t4", "market": "spot"}):
        recorder = deploy_stack(followers={"one": follower})
        inputs = group(recorder, "one")
        assert inputs["capacityReservationSpecification"] == IN_NONE
        template = recorder["LaunchTemplate", "graphistry-sandbox-one-template"].inputs
        assert "capacityReservationSpecification" not in template
