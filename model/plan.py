"""The machines that a stack file asks for, whatever already runs: what quota, capacity and cost are reckoned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from model.settings.aws import DataVolume, FollowersOnAws, Settings

Market = Literal["on-demand", "spot", "capacity-block"]


@dataclass(frozen=True, kw_only=True)
class PlannedNode:
    """One node as the stack file wants it."""

    name: str
    """``leader``, or the follower's name."""

    instance_types: tuple[str, ...]
    """Types it may run on, in order of preference; for the leader the first alone."""

    zones: tuple[str, ...]
    """Zones its machine may be in; empty where the stack file leaves the choice to the program."""

    market: Market
    """What its machine is bought as. Spot falls back to on-demand."""

    capacity_reservation: str | None
    """The reservation or block that its machine runs in."""

    overlaps: bool
    """Whether the old machine still runs when another one is got for it: a follower's does until the new one is ready,
    a leader's where the capacity of its new type is reserved first."""

    root_volume_gib: int
    """Root disk."""

    data_volume: DataVolume | None
    """The leader's own disk; None for a follower."""


def planned_nodes(settings: FollowersOnAws) -> tuple[PlannedNode, ...]:
    """Every node of a stack on AWS, the leader first; followers alone where another stack has the leader."""
    nodes = []
    if isinstance(settings, Settings):
        zone, profile = settings.leader.availability_zone, settings.profile_of("leader")
        nodes.append(
            PlannedNode(
                name="leader",
                instance_types=profile.instance_types[:1],
                zones=(zone,) if zone else (),
                market="on-demand",
                capacity_reservation=settings.leader.capacity_reservation,
                overlaps=settings.leader.reserve_capacity
                and settings.leader.capacity_reservation is None,
                root_volume_gib=profile.root_volume_gib,
                data_volume=settings.leader.data_volume,
            )
        )
    for name, follower in settings.followers.items():
        profile = settings.profile_of(name)
        nodes.append(
            PlannedNode(
                name=name,
                instance_types=profile.instance_types,
                zones=follower.availability_zones,
                market=follower.market,
                capacity_reservation=follower.capacity_reservation,
                overlaps=True,
                root_volume_gib=profile.root_volume_gib,
                data_volume=None,
            )
        )
    return tuple(nodes)
