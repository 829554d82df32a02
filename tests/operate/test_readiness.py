"""What the wait for a node makes of what it sees: ready only for this document from this machine, red in seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model.node_report import NodeReport
from operate.readiness import (
    BOOT_SECONDS,
    DEGRADED_SECONDS,
    REFUSED_SECONDS,
    RETRY_SECONDS,
    SILENT_SECONDS,
    Observation,
    judge,
    judge_recorded,
)
from operate.refusals import Refusal
from operate.reports import Read

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


def failure(seconds_ago: float = 0.0) -> dict[str, Any]:
    return {
        "phase": "preflight",
        "code": "GpuMissing",
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
    message: str, *, age: float = 1.0, spot: bool = False, of_new_group: bool = False
) -> Refusal:
    return Refusal(message=message, age_seconds=age, spot=spot, of_new_group=of_new_group)


NO_CAPACITY = "We currently do not have sufficient g4dn.xlarge capacity in the Availability Zone"

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
            "elapsed_seconds": REFUSED_SECONDS + 1,
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
        (
            "You have requested more vCPU capacity than your current vCPU limit of 0 allows",
            "VcpuLimitExceeded",
        ),
        ("Max spot instance count exceeded", "MaxSpotInstanceCountExceeded"),
        ("The image id '[ami-1]' does not exist", "InvalidAMI"),
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


def test_a_refused_launch_tells_what_was_tried() -> None:
    refused = Refusal(
        message=NO_CAPACITY, age_seconds=1.0, spot=False, tried="g4dn.xlarge in us-east-1a"
    )
    told = judge(seen(machine=None, refusal=refused), WANTED).details
    assert told["tried"] == "g4dn.xlarge in us-east-1a"


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


def test_a_recorded_node_with_a_machine_is_said_not_to_be_booted() -> None:
    verdict = judge_recorded(seen(report=None))
    assert (verdict.outcome, verdict.line.split(";")[0]) == ("ready", "not booted")
