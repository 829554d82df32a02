"""The agent's own unit of systemd."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Sequence

from agent.machine import systemd
from agent.machine.commands import require, run
from agent.node import UNITS

UNIT_NAME = "graphistry-cluster-agent.service"
UNIT = """# graphistry-cluster
[Unit]
Description=Graphistry cluster node agent
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart={python} {archive} run {arguments}
Restart=always
RestartSec=5
# What a phase has started, as a package's installation, may end by itself.
KillMode=process
TimeoutStopSec=20

[Install]
WantedBy=multi-user.target
"""


def write(archive: Path, arguments: Sequence[str]) -> bool:
    """Let *archive* run at every boot from now on; True where that changed the unit."""
    text = UNIT.format(python=sys.executable, archive=archive, arguments=" ".join(arguments))
    changed = systemd.write_unit(UNIT_NAME, text)
    systemd.enable(UNIT_NAME)
    return changed


def restart() -> None:
    """Begin anew with the archive that is there now, without waiting for it."""
    words = ["systemctl", "restart", "--no-block", UNIT_NAME]
    require("AgentInstallFailed", "systemd does not start the agent", words)


def state() -> str:
    """`active`, `inactive`, or `absent` where there is no such unit."""
    if not (UNITS / UNIT_NAME).exists():
        return "absent"
    said = run(["systemctl", "is-active", UNIT_NAME]).output.strip()
    return "active" if said in ("active", "activating", "reloading") else "inactive"


def restarts() -> int:
    """How often systemd has started the agent again by itself."""
    said = run(["systemctl", "show", "--property=NRestarts", "--value", UNIT_NAME]).output.strip()
    return int(said) if said.isdigit() else 0


def log(lines: int = 20) -> list[str]:
    """What the agent has printed last."""
    words = ["journalctl", "-u", UNIT_NAME, "-n", str(lines), "--no-pager", "-o", "cat"]
    return run(words).output.splitlines()[-lines:]
