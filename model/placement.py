"""Where each node goes: the zones that offer its instance types, out of those the network has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model.problems import Problem, SettingsError
from model.settings.aws import FollowersOnAws, Settings


@dataclass(frozen=True)
class Placement:
    """The zones of every node, all of them zones of the network."""

    leader: str
    """Zone of the leader and its data volume."""

    followers: Mapping[str, tuple[str, ...]]
    """Follower to the zones its machine may be in, at least one each."""

    @property
    def zones(self) -> tuple[str, ...]:
        """Every zone in use, sorted: each needs a mount target of the shared folder."""
        return tuple(sorted({self.leader}.union(*self.followers.values())))


def place(
    settings: Settings, zones: Sequence[str], offerings: Mapping[str, frozenset[str]]
) -> Placement:
    """Choose the zones of every node.

    *zones* are those of the network in order of preference, *offerings* maps an instance type to
    the zones that offer it. The leader takes the first zone that offers its first type; a follower
    takes all that offer any of its types, or the leader's alone where followers are packed and it
    names none. Raises :class:`SettingsError` with a problem for every node that no zone can hold.
    """
    problems: list[Problem] = []
    leader = _zones_of_leader(settings, zones, offerings, problems)
    packed = leader[:1] if settings.placement == "packed" else ()
    followers = _zones_of_followers(settings, zones, offerings, problems, packed)
    if problems:
        raise SettingsError(tuple(problems))
    return Placement(leader=leader[0], followers=followers)


def place_followers(
    settings: FollowersOnAws, zones: Sequence[str], offerings: Mapping[str, frozenset[str]]
) -> Mapping[str, tuple[str, ...]]:
    """The zones of followers alone, whose leader another stack has; see :func:`place`."""
    problems: list[Problem] = []
    followers = _zones_of_followers(settings, zones, offerings, problems)
    if problems:
        raise SettingsError(tuple(problems))
    return followers


def _zones_of_followers(
    settings: FollowersOnAws,
    zones: Sequence[str],
    offerings: Mapping[str, frozenset[str]],
    problems: list[Problem],
    packed: Sequence[str] = (),
) -> dict[str, tuple[str, ...]]:
    followers = {}
    for name, follower in settings.followers.items():
        types = settings.profile_of(name).instance_types
        wanted = follower.availability_zones or tuple(packed) or tuple(zones)
        offered = _where(types, offerings)
        followers[name] = tuple(zone for zone in zones if zone in wanted and zone in offered)
        if not followers[name]:
            spread = (
                bool(packed) and not follower.availability_zones and not offered.isdisjoint(zones)
            )
            problems.append(
                _not_offered(f"followers.{name}", types, wanted, offered, spread=spread)
            )
    return followers


def _zones_of_leader(
    settings: Settings,
    zones: Sequence[str],
    offerings: Mapping[str, frozenset[str]],
    problems: list[Problem],
) -> tuple[str, ...]:
    pinned = settings.leader.availability_zone
    wanted = tuple(zones) if pinned is None else (pinned,)
    first_type = settings.profile_of("leader").instance_types[:1]
    offered = _where(first_type, offerings)
    found = tuple(zone for zone in zones if zone in wanted and zone in offered)
    if not found:
        problems.append(_not_offered("leader", first_type, wanted, offered))
    return found


def _where(types: Sequence[str], offerings: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*(offerings.get(each, frozenset()) for each in types))


def _not_offered(
    path: str,
    types: Sequence[str],
    wanted: Sequence[str],
    offered: frozenset[str],
    *,
    spread: bool = False,
) -> Problem:
    listed = ", ".join(types)
    if not offered:
        hint = "choose another GPU profile or another aws:region"
    elif spread:
        hint = (
            "set placement to spread, or name the zones of this follower in its availabilityZones"
        )
    else:
        hint = "choose another GPU profile, or add such a zone to network.availabilityZones"
    return Problem(
        path=path,
        got=f"{listed} in {', '.join(wanted)}",
        allowed=f"{', '.join(sorted(offered))}, the zones that offer it"
        if offered
        else f"no zone of this region offers {listed}",
        hint=hint,
    )
