"""Tables in a terminal: whatever is there to be copied is never cut in two, and no line is too wide."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.table import Table

from operate.commands import screen
from operate.commands.proofs import Proof
from operate.commands.screen import show_proof
from operate.nodes.on_aws import Machine, Node, kept_table, node_table
from preflight.tables import plain_table, show

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:graphistry-prod-secret-AbCdEf"
KEPT = {"dataVolume": "vol-0abcdef0123456789", "bucket": "graphistry-prod-documents-1234567"}


def printed(table: Table, width: int = 80) -> list[str]:
    console = Console(width=width, emoji=False, color_system=None)
    with console.capture() as shown:
        show(table, console)
    return [line.rstrip() for line in shown.get().splitlines()]


def node(name: str, instance_type: str, address: str, state: str = "ready") -> Node:
    machine = Machine(
        instance_id="i-0abcdef0123456789",
        instance_type=instance_type,
        availability_zone="us-east-1a",
        address=address,
        state="running",
    )
    return Node(
        name=name,
        role="follower",
        profile="l4-quad",
        market="spot",
        gpus_used=4,
        gpus="4 x NVIDIA L4",
        machine=machine,
        state=state,
    )


def test_the_nodes_fit_into_a_terminal_with_every_word_whole() -> None:
    nodes = [
        node("leader", "g6.12xlarge", "10.0.144.101"),
        node("large", "g4dn.2xlarge", "10.0.128.23", "starting: waiting for the leader"),
    ]
    lines = printed(node_table(nodes))
    assert max(map(len, lines)) <= 80
    for whole in ("g6.12xlarge", "us-east-1a", "10.0.144.101", "g4dn.2xlarge", "(on-demand)"):
        assert any(whole in line for line in lines), whole


def test_a_terminal_that_is_too_narrow_gets_row_by_row_and_nothing_is_cut() -> None:
    lines = printed(kept_table({"secret": SECRET}))
    assert lines == [
        "secret",
        f"  where  {SECRET}",
        "  why    passwords and keys; without them the database cannot be read",
    ]


def test_a_table_that_fits_stays_one() -> None:
    heading, *rows = printed(kept_table(KEPT), 120)
    assert heading.split() == ["kept", "where", "why"]
    assert len(rows) == len(KEPT)
    assert "vol-0abcdef0123456789" in rows[0]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 140])
def test_no_word_is_lost_at_any_width(width: int) -> None:
    table = plain_table("id", "why", "number", prose=("why",))
    table.add_row("[green]i-0abcdef0123456789[/]", "because of what was said before", "12,345.67")
    words = " ".join(printed(table, width)).split()
    assert {"i-0abcdef0123456789", "because", "before", "12,345.67"} <= set(words)


@pytest.mark.parametrize(("width", "lines"), [(80, 2), (140, 1)])
def test_what_a_proof_has_seen_goes_below_it_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int, lines: int
) -> None:
    terminal = Console(width=width, force_terminal=True, color_system=None, emoji=False)
    monkeypatch.setattr(screen, "Console", lambda **_: terminal)
    seen = "1 of 1 row of the leader's table, in 0.3 s"
    proof = Proof(
        promise="a dataset of one node is seen by all", node="large", kept=True, seen=seen
    )
    with terminal.capture() as shown:
        show_proof(proof)
    printed = shown.get().splitlines()
    assert len(printed) == lines
    assert max(map(len, printed)) <= width
    assert seen in printed[-1]
