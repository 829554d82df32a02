"""Ctrl-C while Pulumi works: Pulumi decides how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.harness import ROOT

PULUMI = """#!/bin/sh
trap 'cat {folder}/gate > /dev/null; exit 5' INT
echo > {folder}/started
while :; do sleep 0.1; done
"""
"""Works until it is interrupted, and then until it may end."""
UP = """
import os, sys
from pathlib import Path
from operate.stack.deployment import Deployment, Target
environment = {"PATH": sys.argv[1] + os.pathsep + os.environ["PATH"]}
opened = Deployment(stack="dev", target=Target.AWS, environment=environment, config_file=Path("none"))
sys.exit(opened.run("up"))
"""


def test_an_interrupted_pulumi_is_waited_for_and_not_killed(tmp_path: Path) -> None:
    for name in ("started", "gate"):
        os.mkfifo(tmp_path / name)
    pulumi = tmp_path / "pulumi"
    pulumi.write_text(PULUMI.format(folder=tmp_path))
    pulumi.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-c", UP, str(tmp_path)], cwd=ROOT, start_new_session=True
    )
    try:
        (tmp_path / "started").read_bytes()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        # Opens when Pulumi does, which a killed one never would.
        gate = subprocess.run(["sh", "-c", f"echo > {tmp_path}/gate"], timeout=20)
        assert (gate.returncode, process.wait(20)) == (0, 5)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
