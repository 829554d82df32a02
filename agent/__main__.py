"""Command line of the agent.

agent.pyz install REGION BUCKET PREFIX   install the systemd unit and start it
agent.pyz run REGION BUCKET PREFIX       converge to the specification and keep the node so, for ever
agent.pyz exercise NAME [ARGUMENT...]    use this node as its users do; one JSON object on standard output
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agent.exercise import exercise
from agent.watch import run

UNITS = Path("/etc/systemd/system")
UNIT_NAME = "graphistry-cluster-agent.service"
UNIT = """# graphistry-cluster
[Unit]
Description=Graphistry cluster node agent
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart={python} {archive} run {region} {bucket} {prefix}
Restart=always
RestartSec=5
# What a phase has started, as a package's installation, may end by itself.
KillMode=process
TimeoutStopSec=20

[Install]
WantedBy=multi-user.target
"""


def install(region: str, bucket: str, prefix: str) -> None:
    """Run at every boot from now on, whatever becomes of the user data."""
    unit = UNIT.format(
        python=sys.executable,
        archive=Path(sys.argv[0]).resolve(),
        region=region,
        bucket=bucket,
        prefix=prefix,
    )
    (UNITS / UNIT_NAME).write_text(unit)
    for arguments in (
        ["daemon-reload"],
        ["enable", UNIT_NAME],
        # Of another agent than this one, as when the user data run again.
        ["restart", "--no-block", UNIT_NAME],
    ):
        subprocess.check_call(["systemctl", *arguments])


def main(arguments: list[str]) -> int:
    """Run the command that the arguments name."""
    command, *rest = arguments or [""]
    if command == "install" and len(rest) == 3:
        install(*rest)
    elif command == "run" and len(rest) == 3:
        run(*rest)
    elif command == "exercise" and rest:
        return exercise(rest[0], rest[1:])
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
