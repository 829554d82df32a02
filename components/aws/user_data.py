"""User data: the same few lines for every node of every release.

All that changes in the life of a node is in its specification. User data therefore never changes, and a changed
setting never stops or replaces a machine.
"""

from pathlib import Path
from shlex import quote

BOOTSTRAP = Path(__file__).resolve().parents[2] / "agent" / "bootstrap.py"

MAXIMUM_BYTES = 16 * 1024
"""Limit before base64 (Amazon EC2 user guide, user data)."""


def user_data(*, region: str, bucket: str, prefix: str) -> str:
    """The boot script: run ``agent/bootstrap.py`` for the node whose documents are below *prefix*.

    Raises :class:`ValueError` when the script outgrows what EC2 takes.
    """
    script = "\n".join(
        [
            "#!/bin/sh",
            f"exec /usr/bin/python3 - {quote(region)} {quote(bucket)} {quote(prefix)} <<'BOOTSTRAP'",
            BOOTSTRAP.read_text(),
            "BOOTSTRAP",
            "",
        ]
    )
    if len(script.encode()) > MAXIMUM_BYTES:
        raise ValueError(
            f"user data is {len(script.encode())} bytes; EC2 takes {MAXIMUM_BYTES}: shorten {BOOTSTRAP}"
        )
    return script
