"""Carries the public keys of WireGuard between the leader and a follower: a resource of the deployment runs it.

    python -m operate.steps.host_tunnel LEADER FOLLOWER

The words are the private addresses of the two. Private keys are born on the hosts and stay there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from shlex import quote

from operate.hosts.ssh import Access, SshError, connected
from operate.steps import step_output
from operate.steps.host_secret import AGENT, failed, last_line

SECONDS = 900
"""Longest silence: a host without WireGuard's tools installs them first."""
HINTS = {
    "the leader": "bring the leader up first, with this version of the program",
    "the follower": "the reason is the agent's own",
}


class _RefusedError(Exception):
    """A host's agent does not do as it was asked; the message is its own."""


def main(addresses: Sequence[str]) -> int:
    """The exit status: 1 where one of the two hosts cannot be used, which it says."""
    of_leader, of_follower = addresses
    leader, follower = Access.read(os.environ["LEADER"]), Access.read(os.environ["HOST"])
    who, access = "the follower", follower
    try:
        followers_key = _ask(follower, "tunnel-key")
        who, access = "the leader", leader
        leaders_key = _ask(leader, "tunnel-key")
        _ask(leader, f"tunnel-peer {quote(of_follower)} {quote(followers_key)}")
        who, access = "the follower", follower
        _ask(follower, f"tunnel-peer {quote(of_leader)} {quote(leaders_key)}")
    except SshError as error:
        return failed(who, access, str(error), error.hint)
    except _RefusedError as error:
        return failed(who, access, str(error), HINTS[who])
    step_output.show("leader and follower know each other's public keys")
    return 0


def _ask(access: Access, words: str) -> str:
    """What the agent of a host answers, one line."""
    with connected(access) as connection:
        done = connection.run(f"{AGENT} {words}", seconds=SECONDS)
    if not done.succeeded:
        raise _RefusedError(last_line(done.error))
    return last_line(done.output)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
