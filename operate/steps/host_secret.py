"""Carries what followers get of the cluster's secret from the leader to one: a resource of the deployment runs it.

It passes through this process's memory, and is on no disk, command line or state of this computer.
"""

from __future__ import annotations

import os
import sys

from model.specification import RUN_AGENT
from operate.hosts.ssh import Access, SshError, connected
from operate.steps import step_output

AGENT = f"sudo -n {RUN_AGENT}"


def main() -> int:
    """The exit status: 1 where one of the two hosts cannot be used, which it says."""
    leader, follower = Access.read(os.environ["LEADER"]), Access.read(os.environ["HOST"])
    try:
        with connected(leader) as connection:
            secret = connection.run(f"{AGENT} secret")
    except SshError as error:
        return failed("the leader", leader, str(error), error.hint)
    if not secret.succeeded:
        return failed("the leader", leader, last_line(secret.error), "bring the leader up first")
    try:
        with connected(follower) as connection:
            taken = connection.run(f"{AGENT} accept-secret", stdin=secret.output)
    except SshError as error:
        return failed("the follower", follower, str(error), error.hint)
    if not taken.succeeded:
        return failed(
            "the follower", follower, last_line(taken.error), "the reason is the agent's own"
        )
    step_output.show("the follower has the cluster's secret")
    return 0


def failed(who: str, access: Access, reason: str, hint: str) -> int:
    """Say why, and what to do."""
    step_output.complain(f"{who} ({access.named}): {reason}\n  hint     {hint}")
    return 1


def last_line(text: str) -> str:
    """What a command said at the end."""
    return (text.strip().splitlines() or ["it said nothing"])[-1]


if __name__ == "__main__":
    sys.exit(main())
