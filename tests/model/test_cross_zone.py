"""Who may talk across zones."""

from typing import Any

import pytest

from model.cross_zone import cross_zone_traffic
from model.plan import planned_nodes
from model.settings.aws import FollowersOnAws
from model.settings.read import parse

ONE: dict[str, Any] = {
    "gpuProfiles": {"t4": {"instanceTypes": ["g4dn.2xlarge"]}},
    "leader": {"profile": "t4"},
    "followers": {"near": {"profile": "t4"}},
}
TWO_ZONES = {"network": {"availabilityZones": ["us-east-1a", "us-east-1b"]}}
FAR = {"followers": {"far": {"profile": "t4", "availabilityZones": ["us-east-1b"]}}}
JOINED = {key: value for key, value in ONE.items() if key != "leader"} | {"leaderStack": "o/p/s"}


@pytest.mark.parametrize(
    ("stack", "whose"),
    [
        (ONE, "near"),
        ({**ONE, **TWO_ZONES}, "near"),
        ({**ONE, **TWO_ZONES, "placement": "packed"}, None),
        ({**ONE, **TWO_ZONES, **FAR, "placement": "packed"}, "far"),
        (
            {
                **ONE,
                **TWO_ZONES,
                **FAR,
                "leader": {"profile": "t4", "availabilityZone": "us-east-1b"},
            },
            None,
        ),
        ({**ONE, "followers": {}}, None),
        (JOINED, "near"),
    ],
)
def test_traffic_between_zones_is_told_for_those_who_may_be_elsewhere(
    stack: dict[str, Any], whose: str | None
) -> None:
    settings = parse(stack)
    assert isinstance(settings, FollowersOnAws)
    items = cross_zone_traffic(settings, planned_nodes(settings))
    assert [f"between the leader and {whose}," in each.estimate for each in items] == (
        [True] if whose else []
    )
    assert all(each.hourly_usd == 0 for each in items)
