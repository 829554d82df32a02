"""What a stack costs, against sums made by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from model.budget import over_budget
from model.cost import (
    SOFTWARE,
    Cost,
    Item,
    Present,
    SpotPrice,
    Volume,
    monthly,
    planned_items,
    present_missing,
    present_usd,
)
from model.plan import planned_nodes
from model.prices import UNITS, ListPrice, Prices
from model.settings.aws import FollowersOnAws
from model.settings.read import parse
from tests.model.examples import EXISTING_VPC, FULL, SMALLEST, changed

REGION = "us-east-1"
PRICES: Prices = {
    name: ListPrice(Decimal(usd), "2026-11-25", "a list", REGION)
    for name, usd in {
        "g4dn.2xlarge": "1",
        "g4dn.4xlarge": "2",
        "g6e.12xlarge": "10",
        "gp3 storage": "0.073",
        "gp3 IOPS": "0.0073",
        "gp3 throughput": "0.073",
        "EBS snapshot": "0.05",
        "NAT gateway": "0.05",
        "public IPv4 address": "0.01",
        "EFS storage": "0.73",
        "EFS provisioned throughput": "7.3",
    }.items()
}


def items(
    raw: dict[str, Any],
    prices: Prices = PRICES,
    *,
    region: str = REGION,
    zones: int = 3,
    present: Present | None = None,
) -> dict[tuple[str, str], Item]:
    settings = parse(raw)
    assert isinstance(settings, FollowersOnAws)
    found = planned_items(
        settings,
        planned_nodes(settings),
        prices,
        region,
        zones=zones,
        present=present or Present(),
    )
    return {(each.of, each.what.partition(",")[0]): each for each in found}


def without(*names: str) -> Prices:
    return {name: each for name, each in PRICES.items() if name not in names}


def test_every_part_of_a_stack_is_priced() -> None:
    found = {key: each.hourly_usd for key, each in items(FULL).items()}
    assert found == {
        ("leader", "g4dn.2xlarge"): Decimal(1),
        # 200 GiB by 0.073, 500 GiB by 0.073; above 3000 IOPS and 125 MiB/s each is paid for.
        ("leader", "root disk"): Decimal("0.02"),
        ("leader", "data volume"): Decimal("0.01") + Decimal("0.01") + Decimal("0.0875"),
        ("leader", "snapshots every 24 h"): Decimal(0),  # nobody knows how much is on the volume
        ("big", "g6e.12xlarge"): Decimal(10),
        ("big", "root disk"): Decimal("0.05"),
        ("small", "g4dn.2xlarge"): Decimal(1),
        ("small", "root disk"): Decimal("0.02"),
        ("network", "2 NAT gateways"): Decimal("0.12"),
        ("shared folder", "EFS"): Decimal(0),  # the storage, after 2.56 for the throughput
    }


def test_provisioned_throughput_is_paid_whether_used_or_not() -> None:
    settings = parse(FULL)
    assert isinstance(settings, FollowersOnAws)
    found = planned_items(settings, (), PRICES, REGION, zones=3, present=Present())
    assert [each.hourly_usd for each in found if "provisioned" in each.what] == [Decimal("2.56")]


@pytest.mark.parametrize(
    ("network", "gateways"),
    [
        ({}, "1 NAT gateway"),
        ({"natGateways": "per-zone"}, "3 NAT gateways"),
        ({"natGateways": "per-zone", "availabilityZones": ["us-east-1a", "us-east-1b"]}, "2 NAT"),
        (EXISTING_VPC, None),
    ],
)
def test_nat_gateways_are_counted_by_zone(network: dict[str, Any], gateways: str | None) -> None:
    found = [what for of, what in items({**SMALLEST, "network": network}) if of == "network"]
    assert [each for each in found if each.startswith(gateways or "")] == found
    assert bool(found) == bool(gateways)


def test_snapshots_are_named_with_what_they_cost_at_most_and_only_while_they_are_taken() -> None:
    named = items(FULL)["leader", "snapshots every 24 h"]
    assert named.what == "snapshots every 24 h, kept 35 days"
    # 100 GiB by 0.05
    assert "0.05 USD a GiB-month, up to 5.00 USD a month for a full copy" in named.estimate
    volume = {**FULL["leader"]["dataVolume"], "backups": {"everyHours": 0}}
    off = items({**FULL, "leader": {**FULL["leader"], "dataVolume": volume}})
    assert not [what for _, what in off if "snapshot" in what]


def test_what_another_stack_or_somebody_else_pays_is_not_counted() -> None:
    joined = {
        "gpuProfiles": SMALLEST["gpuProfiles"],
        "leaderStack": "organization/graphistry-cluster/prod",
        "followers": {"one": {"profile": "t4"}},
    }
    assert {of for of, _ in items(joined)} == {"one"}
    theirs = {**SMALLEST, "sharedFolder": {"fileSystemId": "fs-0123456789abcdef0"}}
    assert "shared folder" not in {of for of, _ in items(theirs)}


def test_the_vendors_charge_for_its_image_is_a_part_without_a_price() -> None:
    """One for all nodes: no list of AWS's prices has it."""
    found = items({**FULL, "image": {"marketplace": True}})
    software = found["all nodes", "Marketplace image"]
    assert (software.hourly_usd, software.highest_usd) == (None, None)
    assert software.missing == (SOFTWARE,)
    assert Cost(items=tuple(found.values()), now_usd=None).unknown == (software,)
    assert not [of for of, _ in items(FULL) if of == "all nodes"]


def test_a_follower_may_get_the_dearest_of_its_types_and_the_leader_only_its_first() -> None:
    found = items(FULL)
    follower, leader = found["small", "g4dn.2xlarge"], found["leader", "g4dn.2xlarge"]
    assert (follower.hourly_usd, follower.highest_usd) == (Decimal(1), Decimal(2))
    assert follower.estimate == "up to 2.00 USD an hour as g4dn.4xlarge"
    assert (leader.highest_usd, leader.estimate) == (Decimal(1), "")


def test_spot_is_an_estimate_at_the_on_demand_price() -> None:
    assert items(FULL)["big", "g6e.12xlarge"].estimate == "spot, at most the on-demand price"


def test_a_spot_machine_is_expected_at_its_price_of_now_and_at_most_on_demand() -> None:
    settings = parse(FULL)
    assert isinstance(settings, FollowersOnAws)
    now = {each: SpotPrice(Decimal(3), "us-east-1b") for each in ("g6e.12xlarge", "g4dn.2xlarge")}
    found = planned_items(
        settings, planned_nodes(settings), PRICES, REGION, zones=3, present=Present(), spot=now
    )
    big, small = (next(each for each in found if each.of == name) for name in ("big", "small"))
    assert (big.hourly_usd, big.highest_usd) == (Decimal(3), Decimal(10))
    assert big.estimate == "spot now in us-east-1b, at most the on-demand price"
    assert small.hourly_usd == Decimal(1)  # bought on demand


def test_the_price_of_another_region_is_an_estimate() -> None:
    found = items(SMALLEST, region="eu-west-1")
    assert {each.estimate.rpartition("; ")[2] for each in found.values()} == {"price of us-east-1"}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("g4dn.2xlarge", ("leader", "g4dn.2xlarge")),
        ("gp3 storage", ("leader", "root disk")),
        ("gp3 throughput", ("leader", "data volume")),
        ("public IPv4 address", ("network", "2 NAT gateways")),
        ("EBS snapshot", ("leader", "snapshots every 24 h")),
        ("EFS storage", ("shared folder", "EFS")),
    ],
)
def test_a_missing_price_is_unknown_and_never_zero(name: str, part: tuple[str, str]) -> None:
    found = items(FULL, without(name))
    assert (found[part].hourly_usd, found[part].missing) == (None, (name,))
    assert found[part] in Cost(items=tuple(found.values()), now_usd=None).unknown


def test_a_follower_of_which_one_type_has_no_price_is_known_and_open_upwards() -> None:
    found = items(FULL, without("g4dn.4xlarge"))
    cost = Cost(items=tuple(found.values()), now_usd=None)
    assert found["small", "g4dn.2xlarge"].hourly_usd == 1
    assert cost.unknown == (found["small", "g4dn.2xlarge"],)
    assert cost.highest_usd == cost.hourly_usd


def test_every_unit_is_used_by_some_stack() -> None:
    for name in UNITS:
        settings = parse(FULL)
        assert isinstance(settings, FollowersOnAws)
        nodes = planned_nodes(settings)
        found = planned_items(settings, nodes, without(name), REGION, zones=1, present=Present())
        assert any(name in each.missing for each in found), name


def test_what_runs_is_summed_like_what_is_planned() -> None:
    present = Present(
        instance_types=("g4dn.2xlarge", "g6e.12xlarge"),
        volumes=(
            Volume(volume_type="gp3", size_gib=200, iops=3000, throughput_mibps=125),
            Volume(volume_type="gp3", size_gib=100, iops=4000, throughput_mibps=125),
        ),
        nat_gateways=1,
        stored_gib=Decimal(10),
        provisioned_mibps=Decimal(100),
    )
    assert present_usd(present, PRICES) == Decimal(11) + Decimal("0.04") + Decimal("1.07")
    assert present_usd(present, without("g6e.12xlarge")) is None
    assert present_usd(Present(), {}) == 0
    old = Volume(volume_type="gp2", size_gib=1, iops=100, throughput_mibps=0)
    assert present_usd(Present(volumes=(old,)), PRICES) is None


def test_what_runs_without_a_known_price_is_named_once() -> None:
    old = Volume(volume_type="gp2", size_gib=1, iops=100, throughput_mibps=0)
    present = Present(instance_types=("g6e.12xlarge", "g6e.12xlarge"), volumes=(old,))
    assert present_missing(present, PRICES) == ("gp2 volume",)
    assert present_missing(present, without("g6e.12xlarge")) == ("g6e.12xlarge", "gp2 volume")
    assert present_missing(Present(), {}) == ()


def test_stored_data_is_an_estimate_from_what_is_stored_now() -> None:
    found = items(SMALLEST, present=Present(stored_gib=Decimal(100)))["shared folder", "EFS"]
    assert monthly(found.hourly_usd or Decimal(0)) == 73
    assert found.estimate == "grows by 0.73 USD a GiB-month; elastic throughput is paid by traffic"


def cost_of(raw: dict[str, Any], prices: Prices = PRICES) -> Cost:
    return Cost(items=tuple(items(raw, prices).values()), now_usd=None)


def test_a_budget_is_kept_by_the_dearest_that_a_stack_may_become() -> None:
    cost = cost_of(changed(FULL, {"followers.big": {"profile": "t4"}}))
    expected, highest = monthly(cost.hourly_usd), monthly(cost.highest_usd)
    assert expected < highest - 1000
    assert over_budget(cost, highest) is None
    problem = over_budget(cost, highest - 1)
    assert problem is not None
    assert problem.path == "budget.monthlyUsd"
    assert f"costs up to {highest:,.2f} USD a month" in problem.got
    assert "big (g4dn.2xlarge) 1,460, small (g4dn.2xlarge) 1,460, leader" in problem.allowed
    assert problem.hint.endswith(f"monthlyUsd: {int(highest) + 1}")
    assert over_budget(cost, Decimal(int(highest) + 1)) is None


def test_a_budget_says_that_a_part_has_no_known_price() -> None:
    problem = over_budget(cost_of(FULL, without("g6e.12xlarge")), Decimal(1))
    assert problem is not None
    assert problem.got.endswith("USD a month without what has no known price")
