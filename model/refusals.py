"""What AWS says when whoever asks may not ask, in whichever of its services' words."""

from __future__ import annotations

import re

DENIED = re.compile(r"\b(?:AccessDenied|Unauthorized|AuthorizationError)\w*")
"""The codes by which AWS denies a call."""

_RIGHT = re.compile(r"perform: ([\w-]+:\w+)")


def missing_right(message: str) -> str | None:
    """The right that a message of AWS names, ``ec2:DescribeVpcs``; None where it names none."""
    named = _RIGHT.search(message)
    return named.group(1) if named else None
