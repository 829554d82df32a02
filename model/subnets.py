"""Which block of the VPC each subnet gets.

A subnet's block cannot change while machines live in it, so a block depends on nothing but the
VPC's own block and the letter of its zone: adding or removing a zone never moves another zone's
subnets.

The VPC is cut in sixteen equal parts. Parts 0 to 7 are the private subnets of zones a to h; part 8
holds their eight small public subnets; the upper seven parts stay free for what comes later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

ZONE_LETTERS = "abcdefgh"
PREFIX_LENGTHS = range(16, 21)
"""VPC prefix lengths that work: AWS allows no VPC larger than /16; below /20 a slot gets too
small."""

_PART_BITS = 4
# A load balancer asks AWS for at least a /27; a NAT gateway would do with a /28.
_PUBLIC_PREFIX_LENGTH = 27


@dataclass(frozen=True)
class SubnetBlocks:
    """The IPv4 blocks of one zone: `private` for nodes, `public` for a NAT gateway."""

    private: str
    public: str


def subnet_blocks(cidr_block: str, zones: Sequence[str]) -> dict[str, SubnetBlocks]:
    """The blocks of every zone, in the order given.

    `cidr_block` is an IPv4 block of /16 to /20; `zones` are names that end in a letter from a to h,
    as "us-east-1a". Raises `ValueError` for anything else, and for two zones with one letter.
    """
    network = IPv4Network(cidr_block)
    if network.prefixlen not in PREFIX_LENGTHS:
        raise ValueError(f"{cidr_block} is not a block of /16 to /20")
    slots = [_slot(zone) for zone in zones]
    if len(set(slots)) != len(slots):
        raise ValueError(f"two of the zones {', '.join(zones)} have the same letter")
    parts = list(network.subnets(prefixlen_diff=_PART_BITS))
    public = list(parts[len(ZONE_LETTERS)].subnets(new_prefix=_PUBLIC_PREFIX_LENGTH))
    return {
        zone: SubnetBlocks(private=str(parts[slot]), public=str(public[slot]))
        for zone, slot in zip(zones, slots, strict=True)
    }


def _slot(zone: str) -> int:
    slot = ZONE_LETTERS.find(zone[-1:]) if zone else -1
    if slot < 0:
        raise ValueError(f'"{zone}" does not end in a zone letter from a to h')
    return slot
