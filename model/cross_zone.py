"""What nodes say to each other from zone to zone, which AWS bills: told beside a cost, as its amount depends on use."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from model.cost import Item, named
from model.plan import PlannedNode
from model.settings.aws import FollowersOnAws, Settings

USD_PER_GIB = Decimal("0.01")
"""In each direction. AWS's page of EC2 on-demand prices: data transfer between zones of a region; some differ."""


def cross_zone_traffic(settings: FollowersOnAws, nodes: Iterable[PlannedNode]) -> tuple[Item, ...]:
    """One part without an amount that names the followers that may be in another zone than the leader; or none.

    The shared folder is not in it: a file system of the cluster's own has an address in every zone.
    """
    outside = [
        node.name for node in nodes if node.name != "leader" and _may_be_outside(settings, node)
    ]
    if not outside:
        return ()
    return (
        Item(
            of="network",
            what="traffic between zones",
            hourly_usd=Decimal(0),
            highest_usd=Decimal(0),
            lists=(),
            missing=(),
            estimate=(
                f"grows by {USD_PER_GIB} USD a GiB each way between the leader and {named(outside)}, where they are in "
                "another zone; placement: packed keeps those without zones of their own in the leader's"
            ),
        ),
    )


def _may_be_outside(settings: FollowersOnAws, node: PlannedNode) -> bool:
    if not isinstance(settings, Settings):
        return True  # another stack has the leader, and its zone is not in this file
    network = settings.network.availability_zones
    leader = settings.leader.availability_zone or (network[0] if network else None)
    if node.zones:
        return any(zone != leader for zone in node.zones)
    return settings.placement == "spread"
