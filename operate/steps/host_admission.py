"""Tells the leader of another stack which followers of this one to let in: the deployment runs it.

    python -m operate.steps.host_admission [ADDRESS...]

Without an address none is let in any more. A leader that is gone is no reason not to be removed: that is said.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from shlex import quote

from operate.hosts.ssh import Access, SshError, connected
from operate.steps import step_output
from operate.steps.host_secret import AGENT, failed, last_line


def main(addresses: Sequence[str]) -> int:
    """The exit status: 1 where the leader does not let in the followers."""
    leader, stack = Access.read(os.environ["LEADER"]), os.environ["STACK"]
    try:
        with connected(leader) as connection:
            done = connection.run(
                f"{AGENT} admit {quote(stack)}", stdin=json.dumps(list(addresses))
            )
    except SshError as error:
        failed("the leader", leader, str(error), error.hint)
        return 1 if addresses else 0
    if not done.succeeded:
        step_output.complain(f"the leader ({leader.named}): {last_line(done.error)}")
        return 1 if addresses else 0
    step_output.show(done.output.strip())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
