"""Which zones nodes get."""

from typing import Any

import pytest

from model.placement import place
from model.problems import SettingsError
from tests.model.examples import on_aws

ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
OFFERINGS = {
    "g4dn.xlarge": frozenset(ZONES),
    "g6.xlarge": frozenset({"us-east-1b", "us-east-1c"}),
    "p5.48xlarge": frozenset({"us-east-1f"}),
}


def stack(**changes: Any) -> dict[str, Any]:
    return {
        "gpuProfiles": {
            "t4": {"instanceTypes": ["g4dn.xlarge"]},
            "l4": {"instanceTypes": ["g6.xlarge"]},
            "either": {"instanceTypes": ["g6.xlarge", "g4dn.xlarge"]},
            "h100": {"instanceTypes": ["p5.48xlarge"]},
            "b200": {"instanceTypes": ["p6-b200.48xlarge"]},
        },
        "leader": {"profile": "t4"},
        "release": {"version": "2.50.1", "cuda": "12"},
        **changes,
    }


@pytest.mark.parametrize(
    ("leader", "zone"),
    [
        ({"profile": "t4"}, "us-east-1a"),
        ({"profile": "l4"}, "us-east-1b"),
        ({"profile": "either"}, "us-east-1b"),
        ({"profile": "l4", "availabilityZone": "us-east-1c"}, "us-east-1c"),
    ],
)
def test_the_leader_takes_the_first_zone_that_offers_its_first_type(
    leader: dict[str, str], zone: str
) -> None:
    assert place(on_aws(stack(leader=leader)), ZONES, OFFERINGS).leader == zone


@pytest.mark.parametrize(
    ("follower", "zones"),
    [
        ({"profile": "t4"}, ZONES),
        ({"profile": "l4"}, ZONES[1:]),
        ({"profile": "either"}, ZONES),
        ({"profile": "t4", "availabilityZones": ["us-east-1c", "us-east-1a"]}, ZONES[::2]),
    ],
)
def test_a_follower_takes_every_zone_that_offers_one_of_its_types(
    follower: dict[str, Any], zones: tuple[str, ...]
) -> None:
    placement = place(on_aws(stack(followers={"one": follower})), ZONES, OFFERINGS)
    assert placement.followers["one"] == zones


def test_zones_in_use_are_those_of_every_node() -> None:
    settings = on_aws(stack(followers={"one": {"profile": "l4"}}))
    assert place(settings, ZONES, OFFERINGS).zones == ZONES
    assert place(on_aws(stack()), ZONES, OFFERINGS).zones == ("us-east-1a",)


def test_every_node_that_no_zone_holds_is_told() -> None:
    settings = on_aws(
        stack(
            leader={"profile": "h100"},
            followers={"one": {"profile": "b200"}, "two": {"profile": "t4"}},
        )
    )
    with pytest.raises(SettingsError) as raised:
        place(settings, ZONES, OFFERINGS)
    told = str(raised.value)
    assert "2 problems" in told
    assert "us-east-1f, the zones that offer it" in told
    assert "no zone of this region offers p6-b200.48xlarge" in told
    assert "followers.two" not in told


def test_nothing_is_placed_in_a_zone_the_network_lacks() -> None:
    with pytest.raises(SettingsError, match="leader"):
        place(on_aws(stack(leader={"profile": "l4"})), ("us-east-1a", "us-east-1d"), OFFERINGS)


def test_packed_followers_are_in_the_zone_of_the_leader_unless_they_name_others() -> None:
    named = {"profile": "t4", "availabilityZones": ["us-east-1c"]}
    followers = {"one": {"profile": "t4"}, "two": named}
    settings = on_aws(stack(leader={"profile": "l4"}, followers=followers, placement="packed"))
    placement = place(settings, ZONES, OFFERINGS)
    assert placement.followers == {"one": ("us-east-1b",), "two": ("us-east-1c",)}


def test_a_packed_follower_whose_type_is_elsewhere_is_told_of_spread() -> None:
    settings = on_aws(stack(followers={"one": {"profile": "l4"}}, placement="packed"))
    with pytest.raises(SettingsError, match="set placement to spread") as raised:
        place(settings, ZONES, OFFERINGS)
    assert "got:     g6.xlarge in us-east-1a\n" in str(raised.value)
