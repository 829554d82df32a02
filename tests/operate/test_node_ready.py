"""What the wait for a node makes of what it sees: ready only for this document from this machine, red in seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from agent.data import endpoints
from agent.failures import HINTS
from agent.verdict import BOOT_SECONDS, DEGRADED_SECONDS, RETRY_SECONDS, SILENT_SECONDS
from model.node_report import NodeReport
from operate.nodes.group_members import node_of, replace_delisted
from operate.nodes.refusals import Refusal, refusal_of, refused_launches
from operate.nodes.reports import Read
from operate.steps import node_ready
from operate.steps.node_ready import (
    REFUSED_SECONDS,
    Observation,
    judge,
    judge_recorded,
)

WANTED = "a" * 64
NOW = datetime(2026, 11, 24, tzinfo=UTC)


RUNNING = [{"name": "start", "state": "running", "seconds": 0}]


def report(age: float = 1.0, **changes: Any) -> Read:
    document = {
        "state": "converging",
        "phase": "disks",
        "specification": WANTED,
        "instance": {"id": "i-1"},
        "heartbeat": NOW.isoformat(),
        **changes,
    }
    return Read(report=NodeReport.model_validate(document), age_seconds=age)


def failure(seconds_ago: float = 0.0, code: str = "GpuMissing") -> dict[str, Any]:
    return {
        "phase": "preflight",
        "code": code,
        "message": "3 of 4 GPUs",
        "hint": "stop and start the machine",
        "log": ["nvidia-smi: 3 GPUs"],
        "at": (NOW - timedelta(seconds=seconds_ago)).isoformat(),
    }


def seen(**changes: Any) -> Observation:
    values: dict[str, Any] = {
        "elapsed_seconds": 60.0,
        "machine": "i-1",
        "machine_state": "running",
        "report": report(),
        **changes,
    }
    return Observation(**values)


def refusal(
    message: str,
    *,
    age: float = 1.0,
    spot: bool = False,
    of_new_group: bool = False,
    untried: tuple[str, ...] = (),
) -> Refusal:
    return Refusal(
        message=message,
        age_seconds=age,
        spot=spot,
        of_new_group=of_new_group,
        types="g4dn.xlarge",
        tried=("us-east-1a",),
        untried=untried,
    )


NO_CAPACITY = "We currently do not have sufficient g4dn.xlarge capacity in the Availability Zone"
NO_QUOTA = "You have requested more vCPU capacity than your current vCPU limit of 0 allows"
NO_ADDRESS = (
    "There are not enough free addresses in subnet 'subnet-1' to satisfy the requested number"
)
NO_PROFILE = (
    "Value (graphistry-family) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance"
    " Profile name"
)
OTHERS = ("us-east-1b", "us-east-1c")

OUTCOMES = [
    ("ready", {"report": report(state="ready", phase="verify")}),
    ("waiting", {"report": report()}),
    ("waiting", {"report": None}),
    ("failed", {"report": None, "elapsed_seconds": BOOT_SECONDS + 1}),
    ("waiting", {"machine": None, "report": None}),
    ("failed", {"machine": None, "report": None, "elapsed_seconds": BOOT_SECONDS + 1}),
    # a report about another document, or of another machine, says nothing of this one
    ("waiting", {"report": report(state="ready", specification="b" * 64)}),
    ("waiting", {"report": report(state="ready", instance={"id": "i-0"})}),
    ("failed", {"report": report(state="failed", failure=failure())}),
    # of a boot that died before it knew its own name
    (
        "failed",
        {"report": report(state="failed", failure=failure(), instance=None, specification=None)},
    ),
    # a leader may be slower than its follower's agent waits, which tries again; a leader that failed is not waited for
    (
        "waiting",
        {
            "report": report(state="failed", failure=failure(code="LeaderUnreachable")),
            "leader": report(),
        },
    ),
    (
        "failed",
        {
            "report": report(state="failed", failure=failure(code="LeaderUnreachable")),
            "leader": report(SILENT_SECONDS),
        },
    ),
    (
        "failed",
        {
            "report": report(state="failed", failure=failure(code="LeaderUnreachable")),
            "leader": report(state="ready"),
        },
    ),
    ("failed", {"report": report(state="failed", failure=failure()), "leader": report()}),
    # a failure from before the wait may be mended, and its agent tries again
    ("waiting", {"report": report(state="failed", failure=failure(3600))}),
    (
        "failed",
        {
            "report": report(state="failed", failure=failure(3600)),
            "elapsed_seconds": RETRY_SECONDS + 1,
        },
    ),
    # seconds before the wait is before it: the cure was in between
    ("waiting", {"report": report(state="failed", failure=failure(62))}),
    ("failed", {"report": report(state="failed", failure=failure(55))}),
    # an agent that tries again may take as long as it does
    (
        "waiting",
        {
            "report": report(state="failed", failure=failure(3600), phases=RUNNING),
            "elapsed_seconds": RETRY_SECONDS + 1,
        },
    ),
    (
        "failed",
        {
            "report": report(SILENT_SECONDS, state="failed", failure=failure(60), phases=RUNNING),
            "elapsed_seconds": RETRY_SECONDS + 1,
        },
    ),
    # a failure of another document may be what this one mends
    (
        "waiting",
        {"report": report(state="failed", failure=failure(), specification="b" * 64)},
    ),
    (
        "failed",
        {
            "report": report(state="failed", failure=failure(), specification="b" * 64),
            "elapsed_seconds": SILENT_SECONDS + 1,
        },
    ),
    (
        "waiting",
        {
            "report": report(specification="b" * 64, phases=RUNNING),
            "elapsed_seconds": SILENT_SECONDS + 1,
        },
    ),
    ("waiting", {"report": report(age=SILENT_SECONDS + 1, state="ready")}),
    (
        "failed",
        {"report": report(age=SILENT_SECONDS + 1, state="ready"), "elapsed_seconds": 600.0},
    ),
    ("waiting", {"report": report(state="degraded", phase="verify", failure=failure())}),
    (
        "failed",
        {
            "report": report(state="degraded", phase="verify", failure=failure()),
            "elapsed_seconds": DEGRADED_SECONDS,
        },
    ),
    ("failed", {"machine": None, "refusal": refusal(NO_CAPACITY)}),
    ("waiting", {"machine": None, "refusal": refusal(NO_CAPACITY, spot=True)}),
    (
        "failed",
        {
            "machine": None,
            "refusal": refusal(NO_CAPACITY, spot=True),
            "refused_seconds": REFUSED_SECONDS,
        },
    ),
    # a machine that was lost late in the wait may come back as one that was not there at first
    (
        "waiting",
        {
            "machine": None,
            "refusal": refusal(NO_CAPACITY, spot=True),
            "elapsed_seconds": REFUSED_SECONDS + 1,
        },
    ),
    # AWS tries the group's zones one after the other
    ("waiting", {"machine": None, "refusal": refusal(NO_CAPACITY, untried=OTHERS)}),
    (
        "waiting",
        {"machine": None, "refusal": refusal(NO_CAPACITY, untried=OTHERS, of_new_group=True)},
    ),
    (
        "failed",
        {
            "machine": None,
            "refusal": refusal(NO_CAPACITY, untried=OTHERS),
            "refused_seconds": REFUSED_SECONDS,
        },
    ),
    ("failed", {"machine": None, "refusal": refusal(NO_QUOTA, untried=OTHERS)}),
    ("failed", {"machine": None, "refusal": refusal("something new", untried=OTHERS)}),
    ("waiting", {"machine": None, "refusal": refusal(NO_ADDRESS, untried=OTHERS)}),
    ("failed", {"machine": None, "refusal": refusal(NO_ADDRESS)}),
    ("waiting", {"machine": None, "refusal": refusal(NO_PROFILE)}),
    (
        "failed",
        {
            "machine": None,
            "refusal": refusal(NO_PROFILE),
            "refused_seconds": REFUSED_SECONDS + 1,
        },
    ),
    ("waiting", {"machine": None, "refusal": refusal(NO_CAPACITY, age=3600.0)}),
    ("waiting", {"machine": None, "refusal": refusal(NO_CAPACITY, age=62.0)}),
    ("failed", {"machine": None, "refusal": refusal(NO_CAPACITY, age=62.0, of_new_group=True)}),
    ("waiting", {"machine_state": "stopped"}),
    ("failed", {"machine_state": "terminated", "elapsed_seconds": RETRY_SECONDS + 1}),
    (
        "failed",
        {"report": report(phase="start"), "leader": report(state="failed", failure=failure())},
    ),
    (
        "waiting",
        {"report": report(phase="release"), "leader": report(state="failed", failure=failure())},
    ),
    (
        "waiting",
        {"report": report(phase="start"), "leader": report(state="failed", failure=failure(3600))},
    ),
    (
        "ready",
        {"leader": report(state="failed", failure=failure()), "report": report(state="ready")},
    ),
]


@pytest.mark.parametrize(("outcome", "changes"), OUTCOMES)
def test_every_moment_has_one_meaning(outcome: str, changes: dict[str, Any]) -> None:
    assert judge(seen(**changes), WANTED).outcome == outcome


def test_a_failure_is_told_with_its_code_its_hint_and_its_log() -> None:
    verdict = judge(seen(report=report(state="failed", failure=failure())), WANTED)
    assert verdict.details["code"] == "GpuMissing"
    assert verdict.details["reason"] == "3 of 4 GPUs"
    assert verdict.details["hint"] == "stop and start the machine"
    assert verdict.log == ("nvidia-smi: 3 GPUs",)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (NO_CAPACITY, "InsufficientInstanceCapacity"),
        (NO_QUOTA, "VcpuLimitExceeded"),
        ("There is no Spot capacity available that matches your request.", "UnfulfillableCapacity"),
        # as AWS tells it of a group with several types
        (
            "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to your request",
            "UnfulfillableCapacity",
        ),
        (
            "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more",
            "VcpuLimitExceeded",
        ),
        (
            "Could not launch On-Demand Instances. InvalidParameterCombination - your account's family of types",
            "InvalidParameterCombination",
        ),
        ("Max spot instance count exceeded", "MaxSpotInstanceCountExceeded"),
        ("The image id '[ami-1]' does not exist", "InvalidAMIID.NotFound"),
        ("Your requested instance type (p5.48xlarge) is not supported in your zone", "Unsupported"),
        ("something new", "LaunchRefused"),
    ],
)
def test_a_refused_launch_has_the_code_that_aws_documents(message: str, code: str) -> None:
    assert refusal(message).code == code
    assert refusal(message).hint


def test_a_wait_without_end_says_where_to_look() -> None:
    verdict = judge(seen(report=None, elapsed_seconds=BOOT_SECONDS + 1), WANTED)
    assert "get-console-output" in verdict.details["hint"]
    assert "i-1" in verdict.details["hint"]


def test_a_refused_launch_tells_where_it_was_and_what_follows() -> None:
    def line(**changes: Any) -> str:
        return judge(seen(machine=None, refusal=refusal(NO_CAPACITY, **changes)), WANTED).line

    refused = "no machine yet: InsufficientInstanceCapacity in us-east-1a; "
    assert line(untried=OTHERS) == refused + "next us-east-1b or us-east-1c"
    assert line(untried=OTHERS, spot=True) == refused + "spot falls back to on-demand"
    assert line(untried=OTHERS, age=3600.0) == refused + "AWS tries again"


@pytest.mark.parametrize(
    ("message", "untried", "told"),
    [
        (NO_CAPACITY, (), "g4dn.xlarge in us-east-1a"),
        (NO_QUOTA, OTHERS, "g4dn.xlarge in us-east-1a; not in us-east-1b, us-east-1c"),
    ],
)
def test_a_refused_launch_tells_what_was_tried_alone(
    message: str, untried: tuple[str, ...], told: str
) -> None:
    verdict = judge(seen(machine=None, refusal=refusal(message, untried=untried)), WANTED)
    assert verdict.details["tried"] == told


ZONES = ["us-east-1a", "us-east-1b", "us-east-1c"]
NO_SPOT = (
    "Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot capacity"
    " available that matches your request. Launching EC2 instance failed."
)


def activity(age: float, where: str | None, **changes: Any) -> dict[str, Any]:
    """A launch as AWS tells it, *age* seconds before NOW; without *where*, it has no details."""
    details = f'{{"Subnet ID":"subnet-1","Availability Zone":"us-east-1{where}"}}'
    return {
        "Description": "Launching a new EC2 instance.  Status Reason: it failed.",
        "StartTime": NOW - timedelta(seconds=age),
        "StatusCode": "Failed",
        "StatusMessage": NO_CAPACITY,
        **({"Details": details} if where else {}),
        **changes,
    }


def meant(
    *launches: dict[str, Any], spot: bool = False, new: bool = False, zones: list[str] = ZONES
) -> Refusal:
    """What launches of a group mean to a wait that began a minute ago."""
    group = {
        "AvailabilityZones": zones,
        "MixedInstancesPolicy": {
            "LaunchTemplate": {"Overrides": [{"InstanceType": "g6.xlarge"}]},
            "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 0 if spot else 100},
        },
    }
    return refusal_of(group, launches, now=NOW.timestamp(), waited_seconds=60.0, of_new_group=new)


def test_the_zones_that_refused_since_the_wait_began_are_counted() -> None:
    tries = activity(2, "b"), activity(30, "a"), activity(31, "b"), activity(90, "c")
    found = meant(*tries)
    assert (found.tried, found.untried) == (("us-east-1b", "us-east-1a"), ("us-east-1c",))
    assert meant(*tries, new=True).untried == ()


@pytest.mark.parametrize("details", [{}, {"Details": "{...}"}, {"Details": "[]"}])
def test_a_try_that_does_not_say_where_counts_only_where_there_is_one_zone(
    details: dict[str, str],
) -> None:
    tries = activity(2, None, **details), activity(30, "a")
    assert meant(*tries).untried == ("us-east-1b", "us-east-1c")
    assert meant(tries[0], zones=["us-east-1a"]).tries == "g6.xlarge in us-east-1a"


def test_a_refused_spot_launch_is_one_after_its_group_was_switched_to_on_demand() -> None:
    refused = activity(9, "a", StatusMessage=NO_SPOT)
    assert meant(refused, spot=True).spot
    assert meant(refused).spot
    after = meant(activity(2, "b"), refused)
    assert (after.spot, after.untried) == (False, ("us-east-1a", "us-east-1c"))


class Activities:
    """Auto Scaling, as far as it tells activities."""

    def __init__(self, *told: dict[str, Any]) -> None:
        self.told = told

    def describe_scaling_activities(self, **_: Any) -> dict[str, Any]:
        return {"Activities": self.told}


def test_a_launch_that_succeeded_or_is_under_way_ends_the_refusals_before_it() -> None:
    last, first = activity(2, "b"), activity(90, "a")
    done, begun = (activity(40, "c", StatusCode=code) for code in ("Successful", "InProgress"))
    ended = activity(1, "c", StatusCode="Successful", Description="Terminating EC2 instance: i-1")
    assert refused_launches(Activities(ended, last, done, first), "group") == [last]
    assert refused_launches(Activities(begun, last, first), "group") == []


@pytest.mark.parametrize("changes", [{"spot": True}, {"age": 3600.0}, {}])
def test_a_recorded_node_is_red_at_once_where_aws_refuses_its_machine(
    changes: dict[str, Any],
) -> None:
    verdict = judge_recorded(
        seen(machine=None, report=None, refusal=refusal(NO_CAPACITY, **changes))
    )
    assert verdict.outcome == "failed"
    assert verdict.details["code"] == "InsufficientInstanceCapacity"
    assert "add instance types to the profile" in verdict.details["hint"]


def test_a_recorded_node_waits_for_the_next_zone_too() -> None:
    refused = refusal(NO_CAPACITY, untried=OTHERS)
    assert judge_recorded(seen(machine=None, report=None, refusal=refused)).outcome == "waiting"


def test_a_recorded_node_with_a_machine_is_said_not_to_be_booted() -> None:
    verdict = judge_recorded(seen(report=None))
    assert (verdict.outcome, verdict.line.split(";")[0]) == ("ready", "not booted")


LEAVING = "i-1 (g5.xlarge in us-east-1a)"


def test_a_machine_that_leaves_is_no_node_and_is_told() -> None:
    without = seen(machine=None, report=None, leaving=LEAVING)
    for verdict in (judge(without, WANTED), judge_recorded(without)):
        assert verdict.outcome == "waiting"
        assert verdict.line == f"{LEAVING} leaves when AWS has launched another"
    refused = judge(seen(machine=None, refusal=refusal(NO_QUOTA), leaving=LEAVING), WANTED)
    assert refused.outcome == "failed"
    assert refused.line.endswith(f"to take the place of {LEAVING}, which stays")


def member(instance: str, kind: str, zone: str = "a", state: str = "InService") -> dict[str, str]:
    return {
        "InstanceId": instance,
        "InstanceType": kind,
        "AvailabilityZone": f"us-east-1{zone}",
        "LifecycleState": state,
    }


class Refreshes:
    """Auto Scaling, as far as it starts instance refreshes."""

    def __init__(self, code: str | None = None) -> None:
        self.code, self.started = code, 0

    def start_instance_refresh(self, **_: Any) -> None:
        self.started += 1
        if self.code:
            raise ClientError({"Error": {"Code": self.code}}, "StartInstanceRefresh")


@pytest.mark.parametrize(
    ("instances", "leaving", "node", "started"),
    [
        ([], None, None, 0),
        ([member("i-1", "g6.xlarge")], None, "i-1", 0),
        ([member("i-1", "g5.xlarge")], "i-1", "i-1", 1),
        ([member("i-1", "g5.xlarge"), member("i-2", "g6.xlarge")], None, "i-2", 0),
        ([member("i-1", "g6.xlarge", "c")], "i-1", "i-1", 0),
        ([member("i-1", "g6.xlarge", state="Terminating")], None, None, 0),
    ],
    ids=["none", "as listed", "delisted", "both", "outside the zones", "ending"],
)
def test_only_a_type_that_is_listed_no_more_is_replaced(
    instances: list[dict[str, str]], leaving: str | None, node: str | None, started: int
) -> None:
    group = {
        "AutoScalingGroupName": "group",
        "AvailabilityZones": ["us-east-1a", "us-east-1b"],
        "Instances": instances,
    }
    types = ("g6.xlarge", "g6.2xlarge")
    refreshes = Refreshes()
    left = replace_delisted(refreshes, group, types)
    assert (left and left["InstanceId"]) == leaving
    found = node_of(group, types)
    assert (found and found["InstanceId"]) == node
    assert refreshes.started == started
    # A second look, while AWS is at it.
    replace_delisted(Refreshes("InstanceRefreshInProgress"), group, types)


def test_a_replacement_that_aws_denies_is_told() -> None:
    group = {
        "AutoScalingGroupName": "group",
        "AvailabilityZones": ["us-east-1a"],
        "Instances": [member("i-1", "g5.xlarge")],
    }
    with pytest.raises(ClientError, match="AccessDenied"):
        replace_delisted(Refreshes("AccessDenied"), group, ("g6.xlarge",))


def test_whatever_passes_with_the_leader_is_waited_for_while_that_is_at_work() -> None:
    of_followers = set(endpoints.PASSING) - {"DataServiceDown"}
    assert of_followers < set(node_ready.LEADERS_CODES) <= set(HINTS)
