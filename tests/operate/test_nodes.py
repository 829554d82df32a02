"""The table of nodes says how a machine was bought, not how the stack file would have it."""

from __future__ import annotations

from typing import Literal

import pytest

from operate.nodes import Machine, Node, node_table


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
