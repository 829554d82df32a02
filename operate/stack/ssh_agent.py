"""The operator's SSH agent, which may be long gone while the variable still names it."""

from __future__ import annotations

import os
import socket

VARIABLE = "SSH_AUTH_SOCK"
SECONDS = 3.0
"""Longest wait for its answer, which takes a millisecond."""
_REQUEST_IDENTITIES = b"\x00\x00\x00\x01\x0b"
"""Length and number of the message (draft-ietf-sshm-ssh-agent, 3.2)."""


def without_dead_agent() -> str | None:
    """Forget, for this process and what it starts, an agent that does not answer; its socket if it was forgotten.

    Pulumi's plugins take a dead one for an error even if they have a key, and a silent one makes `ssh` wait for ever.
    """
    path = os.environ.get(VARIABLE)
    if not path or _answers(path):
        return None
    del os.environ[VARIABLE]
    return path


def _answers(path: str) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(SECONDS)
            agent.connect(path)
            agent.sendall(_REQUEST_IDENTITIES)
            return bool(agent.recv(1))
    except OSError:
        return False
