"""The check ``offerings``: whether AWS offers the machines where they should be, and still has those zones, and
whether their hardware encrypts what they say to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model.gpu_catalogue import CATALOGUE
from model.placement import place, place_followers
from model.problems import Problem, SettingsError
from model.settings.aws import FollowersOnAws, Settings
from model.settings.named_zones import named_zones
from preflight.network_facts import offered_types
from preflight.situation import (
    Finding,
    Remark,
    Situation,
    UnansweredError,
    named_subnets,
    zones_of_region,
)
from preflight.zones import closed_zones, leader_out_of_place, left_zones, zones_of_leader


def offerings(situation: Situation) -> tuple[Finding, ...]:
    """What keeps nodes from their places, and types that send plain text."""
    return (*placement_problems(situation), *plain_traffic(situation.settings))


def placement_problems(situation: Situation) -> tuple[Problem, ...]:
    """Problems of placing every node in the zones of its network, and of zones that AWS has closed meanwhile.

    A handful of calls of AWS, however many followers. Where another stack has the leader, and with it the network, the
    zones are the region's; the program looks again at those of the network.
    """
    settings = situation.settings
    offered = offered_types(situation)
    region_zones = zones_of_region(situation)
    _all_of_region(situation)
    if not isinstance(settings, Settings):
        try:
            place_followers(settings, region_zones, offered)
        except SettingsError as error:
            return error.problems
        return ()
    zones = _zones_of_network(situation, settings)
    leader = zones_of_leader(situation)
    return (
        *_misplaced(settings, zones, leader, offered),
        *closed_zones(situation, settings, region_zones),
        *left_zones(situation, settings, zones, leader),
    )


def plain_traffic(settings: FollowersOnAws) -> tuple[Remark, ...]:
    """What to say of types that send PostgreSQL's and Redis' traffic unencrypted; nothing where all encrypt it."""
    plain = sorted(each for each in settings.instance_types if not CATALOGUE[each].encrypts_traffic)
    if not plain or not settings.followers:
        return ()
    return (
        Remark(
            f"what {', '.join(plain)} exchange with other nodes is not encrypted by the hardware: PostgreSQL and Redis "
            "cross the network of the cluster as plain text (docs/explanation/security.md, Between the nodes)"
        ),
    )


def _misplaced(
    settings: Settings,
    zones: Sequence[str],
    leader: Sequence[str],
    offered: Mapping[str, frozenset[str]],
) -> tuple[Problem, ...]:
    """Problems of the program's choice of zones; *leader* are those of the leader's data."""
    try:
        planned = place(settings, zones, offered).leader
    except SettingsError as error:
        return error.problems
    return tuple(leader_out_of_place(settings, planned, zones, leader, offered))


def _all_of_region(situation: Situation) -> None:
    """Raises :class:`UnansweredError` for zones of another region, which the check ``references`` reports."""
    if any(not zone.startswith(situation.region) for _, zone in named_zones(situation.settings)):
        raise UnansweredError(
            f"not asked, as the stack file names a zone that is not of {situation.region}"
        )


def _zones_of_network(situation: Situation, settings: Settings) -> Sequence[str]:
    """In the program's order. Raises :class:`UnansweredError` for subnets that are not there."""
    network = settings.network
    if network.vpc_id is None:
        return network.availability_zones or zones_of_region(situation)
    subnets = named_subnets(situation)
    if len(subnets) < len(network.subnet_ids):
        raise UnansweredError(
            "not asked, as AWS does not show every subnet that the stack file names"
        )
    return [each.zone for each in subnets.values()]
