"""Versions as distributions and vendors write them: numbers among epochs, letters, revisions and backports."""

from __future__ import annotations

import re
from typing import Tuple

Key = Tuple[Tuple[int, ...], bool]

_VERSION = re.compile(
    r"(?<![\w.])(?:\d+:)?v?(?P<numbers>\d+(?:\.\d+)*)"
    r"(?P<early>[-~.]?(?:alpha|beta|rc|pre|dev)(?![a-z]))?",
    re.IGNORECASE,
)
"""`early` is a pre-release, right behind the numbers; a tilde later on marks a backport (Debian policy, 5.6.12)."""


def is_at_least(found: str, needed: str) -> bool:
    """Whether a version that a program printed is *needed* or newer; False for text without a version.

    What a distribution adds (`+dfsg1`, `-0ubuntu1~22.04.1`, `-azure`, `-server`) changes nothing; a pre-release of
    *needed* is older than it.
    """
    version = _key(found)
    wanted = _key(needed)
    if wanted is None:
        raise ValueError(f"{needed!r} is no version")
    return version is not None and version >= wanted


def _key(text: str) -> Key | None:
    """What versions are compared by: numbers without zeros at the end, then a release after its pre-releases."""
    found = _VERSION.search(text)
    if found is None:
        return None
    numbers = [int(part) for part in found["numbers"].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), found["early"] is None
