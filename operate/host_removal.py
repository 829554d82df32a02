"""Makes a node a plain host again, and keeps its data: the deployment runs it for a host that leaves.

A host that is gone must not keep others from being removed: that it was not reached is said, and no failure.
"""

from __future__ import annotations

import os
import sys

from model.specification import INSTALLED_AGENT, RUN_AGENT
from operate.ssh import Access, SshError, connected

REMOVE = f"sudo -n sh -c 'test ! -e {INSTALLED_AGENT} || exec {RUN_AGENT} remove'"


def main() -> int:
    """The exit status: 1 where the host is there and the removal failed."""
    access = Access.read(os.environ["HOST"])
    try:
        with connected(access) as connection:
            done = connection.run(REMOVE, seconds=900)
    except SshError as error:
        print(
            f"{access.named} was not reached, and what was installed there stays: {error}\n"
            f"  hint     when it is back: {REMOVE}"
        )
        return 0
    print(done.output.strip() or "nothing was installed")
    if not done.succeeded:
        print(f"{access.named}: {done.error.strip() or 'the removal failed'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
