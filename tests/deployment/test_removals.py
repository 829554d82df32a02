"""What hosts say as they leave a stack, in the log of the real engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from operate.stack.deployment import Deployment, Target
from operate.stack.engine import ensure
from sandbox.provider import command


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
    monkeypatch.setattr("operate.stack.deployment.ROOT", tmp_path)
    monkeypatch.setenv("PATH", environment["PATH"])
    opened = Deployment(stack="lab", target=Target.AWS, environment=environment, config_file=config)
    subprocess.run(["pulumi", "stack", "init", "lab"], cwd=tmp_path, env=environment, check=True)
    options = ("--yes", "--skip-preview", "--non-interactive")
    assert opened.up(*options) == (0, [])
    assert "kept" not in capsys.readouterr().err
    assert opened.destroy(*options) == 0
    assert capsys.readouterr().err.endswith("small: kept: here\n")
    running.stop(None)
