"""User data: the same few lines for every node of every release.

All that changes in the life of a node is in its specification. User data therefore never changes, and a changed
setting never stops or replaces a machine.
"""

from pathlib import Path
from shlex import quote

BOOTSTRAP = Path(__file__).resolve().parents[2] / "agent" / "bootstrap.py"

RETRY_SECONDS = 30
"""Between two runs of a boot program that failed."""

MAXIMUM_BYTES = 16 * 1024
"""Limit before base64 (Amazon EC2 user guide, user data)."""


def user_data(*, region: str, bucket: str, prefix: str) -> str:
    """The boot script: run ``agent/bootstrap.py`` for the node whose documents are below *prefix*.

    Raises :class:`ValueError` when the script outgrows what EC2 takes.
    """
    script = "\n".join(
        [
            "#!/bin/sh -e",
            "# What keeps it from its agent may be mended from outside, so it never gives up.",
            f"until /usr/bin/python3 - {quote(region)} {quote(bucket)} {quote(prefix)} <<'BOOTSTRAP'",
            BOOTSTRAP.read_text().rstrip("\n"),
            "BOOTSTRAP",
            f"do sleep {RETRY_SECONDS}; done",
            "",
        ]
    )
    if len(script.encode()) > MAXIMUM_BYTES:
        raise ValueError(
            f"user data is {len(script.encode())} bytes; EC2 takes {MAXIMUM_BYTES}: shorten {BOOTSTRAP}"
        )
    return script
