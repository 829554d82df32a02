"""Followers on hosts whose leader another stack has: its agent lets them in, and out again when they are gone."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from tests.cluster.nodes import BOUND_SECONDS, Cluster, tells
from tests.cluster.on_hosts import STACK, OnHosts

TEAM = {"research-1": "10.77.0.21", "research-2": "10.77.0.22"}
"""Followers of the other stack, in the leader's network."""
RELEASE = {"version": "2.51.3", "cuda": "12"}
"""Another one than the machines' image has."""


def host_of(node: dict[str, Any], address: str) -> dict[str, Any]:
    """A follower of the stack file on another host."""
    return {**node, "host": {**node["host"], "address": address}}


@pytest.fixture(scope="module")
def leader(empty: Cluster) -> OnHosts:
    """A leader without followers of its own."""
    found = OnHosts(replace(empty.checkout, stack=STACK))
    found.checkout.change(followers={}, release=RELEASE)
    found.boot()
    return found


@pytest.fixture(scope="module")
def team(leader: OnHosts) -> OnHosts:
    """The followers of another stack."""
    own = leader.checkout.setting("leader")
    stack = leader.checkout.add(
        "team-sandbox",
        site="hosts",
        leaderStack=leader.checkout.full_name,
        gpuProfiles=leader.checkout.setting("gpuProfiles"),
        followers={name: host_of(own, address) for name, address in TEAM.items()},
    )
    found = OnHosts(stack)
    found.boot()
    return found


def until_admitted(leader: OnHosts, wanted: set[str]) -> None:
    """Wait until firewall and exports of the leader let in these of the team's hosts, and no others.

    Its agent looks for guests every few seconds; until then its report is the ready one of before.
    """
    end = time.monotonic() + BOUND_SECONDS
    while (found := admitted(leader)) != wanted:
        assert time.monotonic() < end, f"let in are {sorted(found)}"
        time.sleep(0.3)


def admitted(leader: OnHosts) -> set[str]:
    """Which of the team's hosts the leader's firewall or exports name."""
    # Without clients there is no file of exports.
    rules = leader.run("leader", "nft list ruleset; cat /etc/exports.d/*.exports 2>/dev/null; true")
    return {address for address in TEAM.values() if address in rules}


def test_the_leader_lets_in_the_followers_of_the_other_stack(
    leader: OnHosts, team: OnHosts
) -> None:
    nodes = team.nodes()
    assert {name: node["state"] for name, node in nodes.items()} == dict.fromkeys(TEAM, "ready")
    assert set(leader.nodes()) == {"leader"}
    allowed = leader.run("leader", "nft list set inet graphistry_cluster allowed")
    exports = leader.run("leader", "cat /etc/exports.d/graphistry-cluster.exports")
    for address in TEAM.values():
        assert address in allowed
        assert f"{address}(" in exports


def test_another_release_than_the_hosts_come_with_is_refused_before_any_is_touched(
    leader: OnHosts, team: OnHosts
) -> None:
    reports = [leader.report("leader"), *(team.report(node) for node in TEAM)]
    assert {each["versions"]["release"] for each in reports} == {"2.51.3-12"}
    started = leader.services_started("leader")
    leader.checkout.change(release={"version": "2.52.0", "cuda": "12"})
    refused = leader.operate("up")
    leader.checkout.change(release=RELEASE)
    assert refused.returncode == 1
    assert "1 problem on the hosts, listed above; nothing was changed" in refused.stdout
    found = "/home/ubuntu/graphistry on it is 2.51.3 for CUDA 12, release says 2.52.0 for CUDA 12"
    assert tells(refused.stdout, found)
    leader.until_ready("leader")
    assert leader.services_started("leader") == started


def test_every_promise_is_kept_with_the_other_stacks_leader(team: OnHosts) -> None:
    proofs = team.proofs()
    assert {each["node"] for each in proofs} == {"leader", *TEAM}
    assert [proof for proof in proofs if not proof["kept"]] == []


def test_a_second_up_of_either_stack_changes_nothing(leader: OnHosts, team: OnHosts) -> None:
    before = leader.services_started("leader"), team.services_started("research-1")
    for stack, node in ((team, "research-1"), (leader, "leader")):
        shown = stack.succeed()
        assert " created" not in shown
        assert f"./cluster shell {stack.checkout.stack} {node}" in shown
    assert (leader.services_started("leader"), team.services_started("research-1")) == before
    assert admitted(leader) == set(TEAM.values())


def test_a_follower_that_leaves_is_let_in_no_more(leader: OnHosts, team: OnHosts) -> None:
    before = team.checkout.setting("followers")
    started = leader.services_started("leader"), team.services_started("research-1")
    team.checkout.change(followers={"research-1": before["research-1"]})
    team.succeed()
    until_admitted(leader, {TEAM["research-1"]})
    leader.until_ready("leader")
    team.checkout.change(followers=before)
    team.succeed()
    assert (leader.services_started("leader"), team.services_started("research-1")) == started


def test_the_leaders_stack_is_not_ended_while_it_serves_another(
    leader: OnHosts, team: OnHosts
) -> None:
    refused = leader.operate("down")
    assert refused.returncode == 1
    assert "serves followers of team-sandbox" in refused.stdout
    assert "./cluster down onprem-sandbox --abandon team-sandbox" in refused.stdout
    leader.until_ready("leader")


def test_the_end_of_the_team_withdraws_its_admission_only(leader: OnHosts, team: OnHosts) -> None:
    dataset = team.exercise("research-1", "upload", "from-the-team")["datasetId"]
    started = leader.services_started("leader")
    done = team.operate("down")
    assert done.returncode == 0, done.stdout
    assert "the sandbox goes on for the stack onprem-sandbox" in done.stdout
    for node in TEAM:
        assert team.run(node, "grep -c ' /mnt/graphistry' /proc/self/mountinfo | cat") == "0\n"
        assert team.run(node, "ls /opt/graphistry-cluster/agent.pyz 2>/dev/null | cat") == ""
    until_admitted(leader, set())
    leader.until_ready("leader")
    assert leader.exercise("leader", "read", dataset) == {"edges": 5}
    assert leader.services_started("leader") == started


def test_a_leader_without_guests_can_be_ended(leader: OnHosts) -> None:
    done = leader.operate("down")
    assert done.returncode == 0, done.stdout
    assert "sandbox stopped" in done.stdout
