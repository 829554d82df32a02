"""The table of nodes: how a machine was bought, and one word for what it is as a node."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from model.node_report import NodeReport
from operate.commands.screen import show_nodes
from operate.nodes.on_aws import Machine, Node, node_table, state_of
from operate.nodes.reports import Read

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


@pytest.mark.parametrize(
    ("market", "spot", "told"),
    [
        ("on-demand", False, "g6.xlarge"),
        ("spot", True, "g6.xlarge (spot)"),
        ("spot", False, "g6.xlarge (on-demand)"),
        ("spot", None, "none (spot)"),
    ],
    ids=["on-demand", "spot", "fell back", "no machine"],
)
def test_a_machine_is_told_as_it_was_bought(
    market: Literal["on-demand", "spot"], spot: bool | None, told: str
) -> None:
    machine = Machine(
        instance_id="i-1",
        instance_type="g6.xlarge",
        availability_zone="us-east-1a",
        address="10.0.0.9",
        state="running",
        spot=bool(spot),
    )
    node = Node(
        name="small",
        role="follower",
        profile="l4",
        market=market,
        gpus_used=1,
        machine=None if spot is None else machine,
        state="ready",
    )
    (column,) = [each for each in node_table([node]).columns if each.header == "machine"]
    assert list(column.cells) == [told]


def test_a_warning_is_shown_as_the_node_wrote_it(capsys: pytest.CaptureFixture[str]) -> None:
    """It is no markup: nothing of it is a link, or ends the table of all other nodes."""
    node = Node(
        name="small",
        role="follower",
        profile="l4",
        market="on-demand",
        gpus_used=1,
        machine=None,
        state="ready",
        warnings=("[/] [link=http://evil]sign in[/link]",),
    )
    show_nodes([node], as_json=False)
    assert "small: [/] [link=http://evil]sign in[/link]" in "".join(capsys.readouterr())
