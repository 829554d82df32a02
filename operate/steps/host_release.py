"""Sends a host a release of this computer, for hosts without internet: a resource of the deployment runs it.

    python -m operate.steps.host_release ARCHIVE SHA256

The agent takes it from SENT_RELEASE when the specification is delivered, and verifies it as it unpacks.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from model.specification import SENT_RELEASE
from operate.hosts.ssh import Access, SshError, connected
from operate.steps import step_output
from operate.steps.host_secret import failed, last_line

CHUNK_BYTES = 1024 * 1024
INCOMING = str(Path(SENT_RELEASE).with_name("incoming"))
"""Where the agent keeps a release that it has taken, under its checksum."""
SECONDS = 3600
"""Longest wait for the next bytes to be taken: nothing is printed meanwhile."""
STILL_SECONDS = 15.0
"""How often it is shown how far the copy is."""

TAKE = (
    "sudo -n sh -c 'umask 077; mkdir -p ${0%/*}; chmod 700 ${0%/*}; cat > $0.partial && "
    "test $(stat -c %s $0.partial) = $1 && mv -f $0.partial $0'"
)
"""Whole or not at all; a connection that is cut looks like the end of the file."""


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 if the host cannot be used or has no room, which is shown."""
    archive, sha256 = Path(arguments[0]), arguments[1]
    access = Access.read(os.environ["HOST"])
    try:
        size = archive.stat().st_size
        with connected(access) as connection:
            if connection.run(f"sudo -n test -e {quote(f'{INCOMING}/{sha256}')}").succeeded:
                step_output.show(f"the release is there already ({sha256[:12]})")
                return 0
            take = f"{TAKE} {SENT_RELEASE} {size}"
            done = connection.run(take, stdin=_parts(archive, size), seconds=SECONDS)
    except OSError as error:
        return failed("this computer", access, f"{archive}: {error.strerror}", "correct the path")
    except SshError as error:
        return failed("the host", access, str(error), error.hint)
    if not done.succeeded:
        hint = (
            f"free space below {Path(SENT_RELEASE).parent} on the host, or look at the connection"
        )
        return failed("the host", access, last_line(done.error), hint)
    step_output.show(f"the release is there ({sha256[:12]})")
    return 0


def _parts(archive: Path, size: int) -> Iterator[bytes]:
    """The file's content, and at times how much of it is sent."""
    sent, shown = 0, time.monotonic()
    with archive.open("rb") as file:
        while part := file.read(CHUNK_BYTES):
            yield part
            sent += len(part)
            if time.monotonic() - shown > STILL_SECONDS:
                step_output.show(f"release: {sent / 2**30:.1f} of {size / 2**30:.1f} GiB sent")
                shown = time.monotonic()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
