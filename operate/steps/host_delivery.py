"""Hands a host the agent and its specification: a resource of the deployment runs it.

    python -m operate.steps.host_delivery SHA256 [RELEASE]

SHA256 is the agent's, RELEASE where the host has a release that was sent. The specification is on standard input. From
this computer: Pulumi ends a command of its own on another one at no Ctrl-C, and copies no file past a ~/.bashrc that
prints something.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from shlex import quote

from agent.own_archive import digest
from components.agent_archive import build_archive
from operate.hosts.sent_agent import NO_PYTHON, NO_SUDO, run_once
from operate.hosts.ssh import Access, SshError, connected
from operate.steps import step_output
from operate.steps.host_secret import failed, last_line

SECONDS = 900
"""Longest silence: the agent may wait for another delivery, and for a Docker that restarts."""


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 if the host cannot be used or its agent refuses, which is shown."""
    sha256, *release = arguments
    access, archive = Access.read(os.environ["HOST"]), build_archive().read_bytes()
    if digest(archive) != sha256:
        return failed("the host", access, "the agent's sources changed meanwhile", "run it again")
    option = f" --release {quote(release[0])}" if release else ""
    content = archive + sys.stdin.buffer.read()
    try:
        with connected(access) as connection:
            done = connection.run(
                run_once(f"deliver{option}", archive),
                stdin=content,
                seconds=SECONDS,
                show=step_output.show,
            )
    except SshError as error:
        return failed("the host", access, str(error), error.hint)
    if done.succeeded:
        return 0
    if NO_SUDO in done.error or NO_PYTHON in done.error:
        needed = "sudo without a password, and Python 3.8 or newer at /usr/bin/python3"
        return failed("the host", access, last_line(done.error), f"the agent needs {needed}")
    step_output.complain(done.error.strip())
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
