"""Command line of the agent.

agent.pyz install REGION BUCKET PREFIX   install the systemd unit and start it
agent.pyz run REGION BUCKET PREFIX       converge to the specification, once
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agent.bootstrap import Bucket
from agent.converge import converge

UNITS = Path("/etc/systemd/system")
UNIT_NAME = "graphistry-cluster-agent.service"
UNIT = """[Unit]
Description=Graphistry cluster node agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={python} {archive} run {region} {bucket} {prefix}
Restart=on-failure
RestartSec=30

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
    for arguments in (["daemon-reload"], ["enable", "--now", UNIT_NAME]):
        subprocess.check_call(["systemctl", *arguments])


def main() -> None:
    """Run the command that the arguments name."""
    command, region, bucket, prefix = sys.argv[1:]
    if command == "install":
        install(region, bucket, prefix)
    else:
        converge(Bucket(region, bucket), prefix)


if __name__ == "__main__":
    main()
