"""WireGuard between the leader and each follower on hosts: which address a node has inside the tunnel.

It follows from the node's private address, so that no node, of this stack or of one that joins it, ever gets another
one because some node came or went. `agent/phases/tunnel.py` reckons in the same way; a test holds the two together.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

NETWORK = IPv4Network("198.18.0.0/15")
"""Where the addresses inside are. IANA's registry of special-purpose addresses (RFC 6890) has it for tests between
networks (RFC 2544): it is routed nowhere and nobody's own, so it meets neither a site's private networks (RFC 1918),
nor those of Docker, nor Tailscale's (RFC 6598), whose firewall drops what others send from there."""

PORT = 51820
"""UDP, of every node: the one that WireGuard's documentation uses."""


def inside(address: str) -> str:
    """The address inside of the node whose private address is *address*: its last 17 bits in NETWORK."""
    return str(NETWORK[int(IPv4Address(address)) & int(NETWORK.hostmask)])
