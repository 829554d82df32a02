"""Waits until a host is what its specification says, and shows how far it is: a resource of the deployment runs it.

    python -m operate.steps.host_ready SHA256

From this computer: Pulumi kills a local command at Ctrl-C, and would wait for one on the host to its end, an hour at
most, without a word. The agent there notices by its next line that nobody listens any more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from shlex import quote

from agent.verdict import STILL_SECONDS
from operate.hosts.ssh import Access, SshError, connected
from operate.steps import step_output
from operate.steps.host_secret import AGENT, failed

SILENCE_SECONDS = STILL_SECONDS * 10
"""Longest silence of an agent that shows a line at least every STILL_SECONDS."""


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 if the node is not ready, or cannot be asked."""
    (specification,) = arguments
    access = Access.read(os.environ["HOST"])
    try:
        with connected(access) as connection:
            done = connection.run(
                f"{AGENT} wait {quote(specification)}",
                seconds=SILENCE_SECONDS,
                show=step_output.show,
            )
    except SshError as error:
        return failed("the host", access, str(error), error.hint)
    step_output.complain(done.error.strip())
    return 0 if done.succeeded else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
