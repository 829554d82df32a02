"""Hints of what knows no stack, as a command shows them."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from agent.failures import HINTS
from operate.commands.screen import show_unready
from operate.hosts.preflight import Trouble, trouble_table
from operate.terminal.messages import for_stack
from preflight.tables import as_text
from tests.operate.test_settled import node


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("`./cluster host-keys STACK` shows it", "`./cluster host-keys lab` shows it"),
        (
            "`./cluster host-keys STACK NODE` takes it",
            "`./cluster host-keys lab small` takes it",
        ),
        ("run `./cluster up` again", "run `./cluster up lab` again"),
        ("`./cluster up STACK --name x` forgets it", "`./cluster up lab --name x` forgets it"),
        (
            "`./cluster up prod` and `./cluster down prod --yes`",
            "`./cluster up prod` and `./cluster down prod --yes`",
        ),
        ("make it `makefile`", "make it `makefile`"),
    ],
)
def test_commands_name_the_stack_and_the_node(text: str, shown: str) -> None:
    assert for_stack(text, " lab", "small") == shown


def test_the_table_of_what_is_wrong_with_hosts_names_both() -> None:
    hint = "`./cluster host-keys STACK NODE` takes its new key, then `./cluster up`"
    trouble = Trouble(node="small", what="another key", hint=hint)
    shown = " ".join(as_text(trouble_table([trouble], " lab")).split())
    assert "`./cluster host-keys lab small` takes its new key, then `./cluster up lab`" in shown


def test_the_hint_of_an_agent_names_the_stack(capsys: pytest.CaptureFixture[str]) -> None:
    failed = dataclasses.replace(node("failed"), hint=HINTS["AgentUnavailable"])
    opened: Any = SimpleNamespace(sandbox=None, choice=" lab")
    show_unready(opened, [failed])
    assert "run `./cluster up lab` again" in capsys.readouterr().err
