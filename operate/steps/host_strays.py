"""Takes away the containers that a cluster of before has left on the leader's host: the deployment runs it.

A leader that did not answer at `down` comes back with them, and no state knows of them any more: containers of
the same names could not be made. It runs once, when the host joins the stack, before anything of the stack is on it.
"""

from __future__ import annotations

import os
import sys

from components.agent_archive import build_archive
from operate.hosts.sent_agent import run_once
from operate.hosts.ssh import Access, SshError, connected
from operate.steps import step_output
from operate.steps.host_secret import failed, last_line


def main() -> int:
    """The exit status: 1 if the host cannot be used."""
    access, archive = Access.read(os.environ["HOST"]), build_archive().read_bytes()
    try:
        with connected(access) as connection:
            done = connection.run(run_once("strays", archive), stdin=archive)
    except SshError as error:
        return failed("the leader", access, str(error), error.hint)
    if not done.succeeded:
        return failed(
            "the leader", access, last_line(done.error), "`./cluster up` looks at it first"
        )
    step_output.show(done.output.strip() or "nothing was left here")
    return 0


if __name__ == "__main__":
    sys.exit(main())
