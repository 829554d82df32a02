"""TCP ports, as this machine sees those of others and its own."""

from __future__ import annotations

import socket

TRIES = 3
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


def udp_state(address: str, port: int) -> str:
    """The same of a UDP port where `agent.sites.reach` listens: it sends back what it gets."""
    answers = (_echo(address, port) for _ in range(TRIES))  # a packet may be lost
    return next((each for each in answers if each != "filtered"), "filtered")


def _echo(address: str, port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(SECONDS / TRIES)
        try:
            probe.connect((address, port))
            probe.send(b"?")
            return "open" if probe.recv(1) == b"?" else "filtered"
        except ConnectionRefusedError:
            return "refused"
        except OSError:
            return "filtered"


def is_own(address: str) -> bool:
    """Whether an address is one of this machine's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
