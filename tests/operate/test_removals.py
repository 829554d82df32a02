"""What hosts say as they leave a stack is shown again when a terminal has forgotten it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from operate.stack.removals import removal_lines

KIND = "graphistry-cluster:index:FollowerNode$command:local:Command"


def event(message: str, *, kind: str = KIND, end: str = "removal", **more: Any) -> str:
    urn = f"urn:pulumi:lab::graphistry-cluster::{kind}::graphistry-lab-small-{end}"
    shown = {"urn": urn, "message": message, "severity": "info", "ephemeral": True, **more}
    return json.dumps({"sequence": 7, "diagnosticEvent": shown}) + "\n"


def shown(folder: Path, *events: str) -> list[str]:
    file = folder / "events"
    file.write_text("".join(events))
    return list(removal_lines(file, "lab"))


def test_every_line_of_a_removal_is_shown_once_with_its_node(tmp_path: Path) -> None:
    kept = event("\x1b[0mkept: 10.0.0.2:/mnt (shared folder)\x1b[0m\n")
    lines = shown(tmp_path, event("<{%reset%}>ends\n"), kept, kept, '{"cut')
    assert lines == ["small: ends", "small: kept: 10.0.0.2:/mnt (shared folder)"]


def test_a_leader_of_another_stack_that_was_not_reached_is_shown(tmp_path: Path) -> None:
    gone = event("the leader (ubuntu@10.0.0.1): does not answer", end="admission")
    lines = shown(tmp_path, gone.replace("lab-small-", "lab-"))
    assert lines == ["lab: the leader (ubuntu@10.0.0.1): does not answer"]


@pytest.mark.parametrize(
    "other",
    [
        event("waiting", end="ready"),
        event("kept", kind="command:remote:Command"),
        event("it failed", ephemeral=False, severity="error"),
        event("nothing was installed"),
        event("\n"),
        json.dumps({"sequence": 1, "preludeEvent": {}}) + "\n",
    ],
)
def test_nothing_else_is_repeated(tmp_path: Path, other: str) -> None:
    assert shown(tmp_path, other) == []


def test_without_a_log_nothing_is_shown(tmp_path: Path) -> None:
    assert list(removal_lines(tmp_path / "none", "lab")) == []
