"""Makes a node a plain host again, and keeps its data: the deployment runs it for a host that leaves.

A host that is gone must not keep others from being removed: that it was not reached is said, and no failure. A
follower's copy of the cluster's secret goes only where the leader shows that it has the same: it might be the last one.
"""

from __future__ import annotations

import os
import shlex
import sys

from model.specification import INSTALLED_AGENT, RUN_AGENT, STORE
from operate.hosts.ssh import Access, SshError, connect, connected
from operate.stack.removals import NOTHING
from operate.steps import step_output
from operate.steps.host_secret import failed

REMOVE = (
    f"sudo -n sh -c 'if test -e {INSTALLED_AGENT}; then exec {RUN_AGENT} remove \"$@\"; fi' remove"
)
_DIGEST = (
    f'import hashlib, json; found = json.load(open("{STORE}/secret.json")); found.pop("adminPassword", None); '
    "print(hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest())"
)
LEADERS_SECRET = f"sudo -n /usr/bin/python3 -c {shlex.quote(_DIGEST)}"
"""As agent/sites/host_secret.py says it of a follower's copy; the leader's agent may be gone already."""


def main() -> int:
    """The exit status: 1 where the host is there and the removal failed."""
    access = Access.read(os.environ["HOST"])
    try:
        connection = connect(access)
    except SshError as error:
        step_output.show(
            f"{access.named} was not reached, and what was installed there stays: {error}\n"
            f"  hint     when it is back: {REMOVE}"
        )
        return 0
    try:
        done = connection.run(f"{REMOVE} {leaders_secret()}".rstrip(), seconds=900)
    except SshError as error:
        # It is there: the next try finds out whether it still is.
        return failed("the host", access, str(error), error.hint)
    finally:
        connection.close()
    step_output.show(done.output.strip() or NOTHING)
    if not done.succeeded:
        step_output.complain(f"{access.named}: {done.error.strip() or 'the removal failed'}")
        return 1
    return 0


def leaders_secret() -> str:
    """The hash of what followers get of the leader's secret; empty where the leader shows none, and for the leader."""
    if "LEADER" not in os.environ:
        return ""
    leader = Access.read(os.environ["LEADER"])
    try:
        with connected(leader) as connection:
            shown = connection.run(LEADERS_SECRET)
    except SshError as error:
        step_output.show(
            f"the secret is kept here: the leader ({leader.named}) was not asked: {error}"
        )
        return ""
    if not shown.succeeded:
        step_output.show(f"the secret is kept here: the leader ({leader.named}) has none")
        return ""
    return shown.output.split()[0]


if __name__ == "__main__":
    sys.exit(main())
