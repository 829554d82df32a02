"""One word for what a machine is as a node."""

from datetime import UTC, datetime
from typing import Any

import pytest

from model.node_report import NodeReport
from operate.nodes import Machine, state_of
from operate.reports import Read

MACHINE = Machine(
    instance_id="i-1",
    instance_type="g5.xlarge",
    availability_zone="us-east-1a",
    address="10.0.0.1",
    state="running",
)


@pytest.mark.parametrize(
    ("replacement", "end"),
    [
        (None, ""),
        ({"state": "asked", "reason": "the group replaces this machine"}, ""),
        ({"state": "held", "reason": "large asks already"}, ", replacement held"),
    ],
)
def test_a_node_that_may_not_ask_for_another_machine_says_so(
    replacement: dict[str, Any] | None, end: str
) -> None:
    failure = {"phase": "verify", "code": "GpuMissing", "message": "0 of 1 GPUs are there"}
    report = NodeReport.model_validate(
        {
            "state": "degraded",
            "phase": "verify",
            "failure": failure,
            "replacement": replacement,
            "heartbeat": datetime.now(UTC).isoformat(),
        }
    )
    assert state_of(MACHINE, Read(report=report, age_seconds=1)) == f"degraded: GpuMissing{end}"
