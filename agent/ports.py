"""TCP ports, as this machine sees those of others and its own."""

from __future__ import annotations

import socket

SECONDS = 3.0
"""A host that drops packets says nothing: this long is waited for its answer."""


def state(address: str, port: int) -> str:
    """`open`, `refused` by the host, or `filtered`: no answer, or no way there."""
    try:
        socket.create_connection((address, port), timeout=SECONDS).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "filtered"
    return "open"


def is_own(address: str) -> bool:
    """Whether an address is one of this machine's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
