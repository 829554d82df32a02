"""Pulumi's own download, as a script.

In a process of its own it can be stopped at a deadline, and its noise goes to a log.
Usage: official_download.py ROOT VERSION, with the engine in ROOT/bin afterwards.
"""

from __future__ import annotations

import socket
import subprocess
import sys

from pulumi.automation import PulumiCommand
from semver import VersionInfo

ANSWER_SECONDS = 5
"""How long the download site may take to answer; there is no second try."""


def main(root: str, version: str) -> None:
    """Install one version of the engine under a root, or exit with a message."""
    socket.setdefaulttimeout(ANSWER_SECONDS)
    try:
        PulumiCommand.install(root=root, version=VersionInfo.parse(version))
    except subprocess.CalledProcessError as error:
        sys.exit(f"Pulumi's installer failed: {error.output.decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"Pulumi's download site cannot be reached: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
