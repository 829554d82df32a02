"""Blocks of addresses that Docker takes for its bridge networks, on AWS and on hosts.

A node answers an address in such a block into the bridge, so whoever has it elsewhere gets no answer. Docker takes no
network that its machine is in itself (moby: ``netutils.InferReservedNetworks``, on-link routes).
"""

from __future__ import annotations

from ipaddress import IPv4Network

TAKEN = (IPv4Network("172.17.0.0/16"), IPv4Network("172.18.0.0/16"))
"""The default bridge, and the first network of Compose, which every release makes."""

_SPLIT = (
    *((f"172.{second}.0.0/16", 16) for second in range(19, 32)),
    ("192.168.0.0/16", 20),
)
LATER = tuple(
    part for block, length in _SPLIT for part in IPv4Network(block).subnets(new_prefix=length)
)
"""What Docker takes for further networks, in that order (moby: ``ipamutils.localScopeDefaultNetworks``)."""


def taken_by_docker(block: IPv4Network) -> IPv4Network | None:
    """The network of Docker's that is on every node and holds the whole block."""
    return next((each for each in TAKEN if block.subnet_of(each)), None)


def overlaps(block: IPv4Network) -> tuple[IPv4Network, ...]:
    """The networks that Docker has or may take and that have addresses of the block, in Docker's order."""
    return tuple(each for each in (*TAKEN, *LATER) if each.overlaps(block))


def shared_network(one: IPv4Network, other: IPv4Network) -> IPv4Network | None:
    """The network of Docker's, on every node, that hides *other* from a machine in *one*."""
    taken = taken_by_docker(other)
    return None if taken is None or one.overlaps(taken) else taken
