"""Followers of another stack's leader: they boot in its network, take part in everything, and leave nothing behind."""

from __future__ import annotations

import pytest

from tests.cluster.nodes import Cluster, changed_nothing

TEAM = ("research-1", "research-2")
RELEASE = {"version": "2.51.3", "cuda": "13"}
"""Another one than the machines' image has."""


@pytest.fixture(scope="module")
def leader(empty: Cluster) -> Cluster:
    """A leader without followers of its own."""
    empty.checkout.change(followers={}, release=RELEASE)
    empty.boot()
    return empty


@pytest.fixture(scope="module")
def team(leader: Cluster) -> Cluster:
    """The followers of another stack, whose machines are in the leader's network."""
    found = Cluster(leader.checkout.add_gpu_team())
    found.boot()
    return found


def test_followers_of_another_stack_get_ready_in_the_leaders_network(
    leader: Cluster, team: Cluster
) -> None:
    nodes = team.nodes()
    assert {name: node["state"] for name, node in nodes.items()} == dict.fromkeys(TEAM, "ready")
    assert set(leader.nodes()) == {"leader"}
    assert len(leader.checkout.client("ec2").describe_vpcs()["Vpcs"]) == 2  # AWS's default one


def test_every_machine_came_with_the_release_of_the_leaders_stack(
    leader: Cluster, team: Cluster
) -> None:
    reports = [leader.report("leader"), *(team.report(node) for node in TEAM)]
    assert {each["versions"]["release"] for each in reports} == {"2.51.3-13"}


def test_every_promise_is_kept_with_the_other_stacks_leader(team: Cluster) -> None:
    proofs = team.proofs()
    assert {each["node"] for each in proofs} == {"leader", *TEAM}
    assert [proof for proof in proofs if not proof["kept"]] == []


def test_a_second_up_changes_nothing(team: Cluster) -> None:
    started = {node: team.services_started(node) for node in TEAM}
    shown = team.succeed()
    assert changed_nothing(shown)
    assert {node: team.services_started(node) for node in TEAM} == started


def test_the_leaders_stack_is_not_ended_while_it_serves_another(
    leader: Cluster, team: Cluster
) -> None:
    refused = leader.operate("down")
    assert refused.returncode == 1
    assert "serves followers of team-sandbox" in refused.stdout
    leader.until_ready("leader")


def test_the_end_of_the_team_touches_nothing_of_the_leaders(leader: Cluster, team: Cluster) -> None:
    dataset = team.exercise("research-1", "upload", "from-the-team")["datasetId"]
    started = leader.services_started("leader")
    done = team.operate("down")
    assert done.returncode == 0, done.stdout
    assert "the sandbox goes on for the stack sandbox" in done.stdout
    assert leader.exercise("leader", "read", dataset) == {"edges": 5}
    assert leader.services_started("leader") == started
