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
        ("`make host-keys STACK=name` shows it", "`make host-keys STACK=lab` shows it"),
        (
            "`make host-keys STACK=name NODE=name` takes it",
            "`make host-keys STACK=lab NODE=small` takes it",
        ),
        ("run `make up` again", "run `make up STACK=lab` again"),
        ("`make up NAME=x` forgets it", "`make up STACK=lab NAME=x` forgets it"),
        (
            "`make up STACK=prod` and `make up TARGET=aws`",
            "`make up STACK=prod` and `make up TARGET=aws`",
        ),
        ("make it `makefile`", "make it `makefile`"),
    ],
)
def test_commands_name_the_stack_and_the_node(text: str, shown: str) -> None:
    assert for_stack(text, " STACK=lab", "small") == shown


def test_the_table_of_what_is_wrong_with_hosts_names_both() -> None:
    hint = "`make host-keys STACK=name NODE=name` takes its new key, then `make up`"
    trouble = Trouble(node="small", what="another key", hint=hint)
    shown = " ".join(as_text(trouble_table([trouble], " STACK=lab")).split())
    assert (
        "`make host-keys STACK=lab NODE=small` takes its new key, then `make up STACK=lab`" in shown
    )


def test_the_hint_of_an_agent_names_the_stack(capsys: pytest.CaptureFixture[str]) -> None:
    failed = dataclasses.replace(node("failed"), hint=HINTS["AgentUnavailable"])
    opened: Any = SimpleNamespace(sandbox=None, choice=" STACK=lab")
    show_unready(opened, [failed])
    assert "run `make up STACK=lab` again" in capsys.readouterr().err
