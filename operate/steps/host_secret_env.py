"""Brings a host the stack file's secret variables: a resource of the deployment runs it.

They are on standard input, pass through this process's memory, and are on no disk, command line or state in plain of
this computer. What is printed is a random id, by which the host's specification says that there are others now.
"""

from __future__ import annotations

import os
import sys
import uuid

from components.agent_archive import build_archive
from operate.hosts.sent_agent import run_once
from operate.hosts.ssh import Access, SshError, connected
from operate.steps import step_output
from operate.steps.host_secret import failed, last_line


def main() -> int:
    """The exit status: 1 if the host cannot be used, which it says."""
    access, archive = Access.read(os.environ["HOST"]), build_archive().read_bytes()
    # A host that becomes a node has no agent yet.
    command = run_once("accept-secret-env", archive)
    try:
        with connected(access) as connection:
            done = connection.run(command, stdin=archive + sys.stdin.buffer.read())
    except SshError as error:
        return failed("the host", access, str(error), error.hint)
    if not done.succeeded:
        hint = (
            "the agent needs sudo without a password, Python 3.8 or newer, and room below /var/lib"
        )
        return failed("the host", access, last_line(done.error), hint)
    step_output.show(str(uuid.uuid4()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
