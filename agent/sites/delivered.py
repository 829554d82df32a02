"""What `deliver` has left on this host's disk."""

from __future__ import annotations

from agent.failures import Failure
from agent.node import HOME
from agent.specification import Specification, read

AGENT = HOME / "agent.pyz"
WANTED = HOME / "wanted.json"
"""The specification, which the agent reads again and again."""


def specification() -> Specification | None:
    """What this host should be; None where it is no node, or nothing that can be read."""
    try:
        return read(WANTED.read_bytes())
    except (OSError, Failure):
        return None


def last_known() -> Specification | None:
    """The same; where what was delivered is lost, what the agent has read of it last."""
    found = specification()
    if found is not None:
        return found
    try:
        return read((HOME / "specification.json").read_bytes())
    except (OSError, Failure):
        return None


def is_leader() -> bool:
    """Whether this host is a cluster's leader."""
    found = specification()
    return found is not None and found.is_leader
