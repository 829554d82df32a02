"""What a plan needs of EC2's quotas, and how a quota that lacks is told."""

from __future__ import annotations

from typing import Any

import pytest

from model.plan import PlannedNode
from model.quota import (
    G_ON_DEMAND,
    G_SPOT,
    NEWER_P_SPOT,
    P2_TO_P4_SPOT,
    P5_SPOT,
    P_ON_DEMAND,
    Need,
    OpenRequest,
    Present,
    Quota,
    console_link,
    need_of,
    problem_of,
    quota_of,
    shortfalls,
)

ASK = "./cluster quota-request prod"


def node(*types: str, name: str = "big", **other: Any) -> PlannedNode:
    """A planned follower on demand, in any zone."""
    values = {"zones": (), "market": "on-demand", "capacity_reservation": None, "overlaps": True}
    return PlannedNode(
        name=name,
        instance_types=types,
        root_volume_gib=200,
        data_volume=None,
        **{**values, **other},
    )


def present(instance_type: str, zone: str = "us-east-1a") -> Present:
    return Present(instance_type=instance_type, zone=zone)


def vcpus(planned: PlannedNode, *machines: Present) -> int:
    """What a node adds."""
    need = need_of(planned, machines)
    return need.vcpus if need else 0


@pytest.mark.parametrize(
    ("instance_type", "market", "expected"),
    [
        ("g4dn.xlarge", "on-demand", G_ON_DEMAND),
        ("gr6.4xlarge", "on-demand", G_ON_DEMAND),
        ("g7e.2xlarge", "on-demand", G_ON_DEMAND),
        ("vt1.3xlarge", "on-demand", G_ON_DEMAND),
        ("g6.12xlarge", "spot", G_SPOT),
        ("p3dn.24xlarge", "on-demand", P_ON_DEMAND),
        ("p6-b200.48xlarge", "on-demand", P_ON_DEMAND),
        ("p4de.24xlarge", "spot", P2_TO_P4_SPOT),
        ("p5en.48xlarge", "spot", P5_SPOT),
        ("p6-b300.48xlarge", "spot", NEWER_P_SPOT),
        ("p5.48xlarge", "capacity-block", None),
        ("m7i.large", "on-demand", None),
        ("trn1.2xlarge", "spot", None),
    ],
)
def test_a_machine_counts_against_the_quota_of_its_family_and_market(
    instance_type: str, market: str, expected: Quota | None
) -> None:
    assert quota_of(instance_type, market) == expected


def test_a_new_node_needs_the_first_of_its_types() -> None:
    assert vcpus(node("g4dn.2xlarge", "g4dn.16xlarge")) == 8


def test_a_machine_that_stays_needs_nothing() -> None:
    listed = node("g4dn.2xlarge", "g4dn.4xlarge", zones=("us-east-1a",))
    assert vcpus(listed, present("g4dn.4xlarge")) == 0


@pytest.mark.parametrize("old", [present("g5.2xlarge"), present("g4dn.2xlarge", "us-east-1b")])
def test_a_replaced_follower_counts_while_the_old_one_runs(old: Present) -> None:
    assert vcpus(node("g4dn.2xlarge", zones=("us-east-1a",)), old) == 8


def test_a_replacement_that_is_under_way_counts_once() -> None:
    assert vcpus(node("g4dn.2xlarge"), present("g5.2xlarge"), present("g4dn.2xlarge")) == 0


@pytest.mark.parametrize(
    ("wanted", "overlaps", "expected"),
    [
        ("g4dn.4xlarge", False, 8),  # 16 less the 8 that it gives back
        ("g4dn.xlarge", False, 0),
        ("p4d.24xlarge", False, 96),  # of another quota
        ("g4dn.4xlarge", True, 16),
    ],
)
def test_a_leader_gives_its_old_type_back_unless_the_new_one_is_reserved_first(
    wanted: str, overlaps: bool, expected: int
) -> None:
    assert vcpus(node(wanted, overlaps=overlaps), present("g4dn.2xlarge")) == expected


def needs(count: int, instance_type: str, each: int, **other: Any) -> list[Need]:
    values = {"market": "on-demand", **other}
    return [
        Need(node=f"n{number}", instance_type=instance_type, vcpus=each, **values)
        for number in range(count)
    ]


def test_a_quota_holds_a_plan_exactly_and_not_one_more() -> None:
    wanted = needs(2, "g4dn.2xlarge", 8)
    assert shortfalls(wanted, {G_ON_DEMAND: 24}, {G_ON_DEMAND: 8}) == ()
    (lack,) = shortfalls(wanted, {G_ON_DEMAND: 23}, {G_ON_DEMAND: 8})
    assert (lack.need, lack.headroom, lack.value) == (16, 15, 24)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (24, "24 were asked for on 2026-11-25, which is pending; AWS takes hours or days"),
        (23, "23 were asked for on 2026-11-25, which is pending and too small for 24: answer its"),
    ],
)
def test_what_is_asked_for_already_is_not_to_be_asked_for_again(value: int, words: str) -> None:
    (lack,) = shortfalls(needs(2, "g4dn.2xlarge", 8), {G_ON_DEMAND: 9}, {G_ON_DEMAND: 8})
    hint = problem_of(lack, "us-east-1", ASK, OpenRequest(value=value, day="2026-11-25")).hint
    assert hint.startswith(words)
    assert console_link(G_ON_DEMAND, "us-east-1") in hint
    assert "request-service-quota-increase" not in hint


def test_markets_and_families_do_not_share_a_quota() -> None:
    wanted = [*needs(1, "g4dn.2xlarge", 8, market="spot"), *needs(1, "p5.48xlarge", 192)]
    limits = {G_ON_DEMAND: 0, G_SPOT: 0, P_ON_DEMAND: 191}
    lacking = shortfalls(wanted, limits, {})
    assert [each.quota for each in lacking] == [G_SPOT, P_ON_DEMAND]


def test_what_runs_beyond_a_lowered_limit_stops_nothing_that_adds_nothing() -> None:
    assert shortfalls([], {G_ON_DEMAND: 8}, {G_ON_DEMAND: 64}) == ()


def told(limit: int, in_use: int = 0, *, count: int = 2, region: str = "us-east-1") -> str:
    wanted = needs(count, "g6.12xlarge", 48)
    (lack,) = shortfalls(wanted, {G_ON_DEMAND: limit}, {G_ON_DEMAND: in_use})
    return str(problem_of(lack, region, ASK))


def test_a_quota_that_lacks_is_told_with_all_that_is_needed_to_raise_it() -> None:
    assert told(60, 4) == (
        "followers.n0, followers.n1\n"
        "got:     96 vCPUs more (2 x g6.12xlarge), with 4 of 60 in use: "
        "Running On-Demand G and VT instances in us-east-1\n"
        "allowed: 56 vCPUs more, which hold 1 x g6.12xlarge or 1 x g6.8xlarge or 1 x gr6.8xlarge\n"
        "hint:    `./cluster quota-request prod` asks AWS for 100, which takes hours or days; or by hand at "
        "https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas/L-DB2E81BA?region=us-east-1\n"
        "         aws service-quotas request-service-quota-increase --region us-east-1 --service-code ec2 "
        "--quota-code L-DB2E81BA --desired-value 100"
    )


def test_a_new_account_is_recognized() -> None:
    assert "0 of 0 in use, as in a new account" in told(0)
    assert "hold no machine with such a GPU" in told(3)


def test_smaller_machines_with_the_same_gpu_are_offered() -> None:
    assert "8 vCPUs more, which hold 1 x g6.2xlarge or 2 x g6.xlarge\n" in told(8)


def test_a_hundred_nodes_are_told_in_one_line() -> None:
    assert told(0, count=100).startswith("followers.n0, followers.n1, ")
    assert "followers.n7 and 92 more\ngot:     4800 vCPUs more (100 x g6.12xlarge)" in told(
        0, count=100
    )


def test_the_console_of_china_is_another() -> None:
    assert console_link(G_SPOT, "cn-north-1").startswith("https://console.amazonaws.cn/")
