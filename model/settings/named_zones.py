"""Availability zones that a stack file names, and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.settings.aws import FollowersOnAws


def named_zones(settings: FollowersOnAws) -> Iterator[tuple[str, str]]:
    """Path and name of every zone in a stack file, those of the network first."""
    network = getattr(settings, "network", None)
    if network is not None:
        for index, zone in enumerate(network.availability_zones):
            yield f"network.availabilityZones[{index}]", zone
    yield from zones_of_nodes(settings)


def zones_of_nodes(settings: FollowersOnAws) -> Iterator[tuple[str, str]]:
    """Path and name of every zone that a node asks for."""
    leader = getattr(settings, "leader", None)  # another stack may have it
    if leader is not None and leader.availability_zone is not None:
        yield "leader.availabilityZone", leader.availability_zone
    for name, follower in settings.followers.items():
        for index, zone in enumerate(follower.availability_zones):
            yield f"followers.{name}.availabilityZones[{index}]", zone
