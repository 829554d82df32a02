"""What hosts say as they leave a stack is shown again when a terminal has forgotten it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from operate.deployment import Deployment, Target
from operate.engine import ensure
from operate.removals import removal_lines
from sandbox.provider import command

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


@pytest.mark.engine
def test_the_engines_log_has_what_a_command_printed_while_it_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real engine, with the stand-in that shows lines as the real plugin does."""
    running, port = command.serve({})
    (tmp_path / "state").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: graphistry-cluster\nruntime: python\n")
    (tmp_path / "__main__.py").write_text(
        "from pulumi_command import local\n"
        'local.Command("graphistry-lab-small-removal", create=":", delete="echo kept: here")\n'
    )
    config = tmp_path / "Pulumi.lab.yaml"
    config.write_text("config: {}\n")
    environment = {
        **os.environ,
        "PATH": f"{ensure(print)}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/state",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        "PULUMI_DEBUG_COMMANDS": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "1",
        "PULUMI_DEBUG_PROVIDERS": f"command:{port}",
    }
    monkeypatch.setattr("operate.deployment.ROOT", tmp_path)
    monkeypatch.setenv("PATH", environment["PATH"])
    opened = Deployment(stack="lab", target=Target.AWS, environment=environment, config_file=config)
    subprocess.run(["pulumi", "stack", "init", "lab"], cwd=tmp_path, env=environment, check=True)
    options = ("--yes", "--skip-preview", "--non-interactive")
    assert opened.up(*options) == (0, [])
    assert "kept" not in capsys.readouterr().err
    assert opened.destroy(*options) == 0
    assert capsys.readouterr().err.endswith("small: kept: here\n")
    running.stop(None)
