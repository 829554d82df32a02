"""A stack of followers beside the stack of their leader, with the real engine; machines are recorded."""

from collections import Counter

import pytest

from components.leader_stack import JOIN_VERSION
from tests.deployment.checkout import Checkout

TEAM = ["research-1", "research-2"]
LEADERS = ("vpcs", "subnets", "nat gateways", "security groups", "file systems", "secrets", "zones")
"""What only a leader's stack makes."""


@pytest.fixture(scope="module")
def team(deployed: Checkout) -> Checkout:
    """The stack of a team, deployed beside the one that has the leader."""
    found = deployed.add_gpu_team()
    found.succeed("up", found.stack)
    return found


def held(checkout: Checkout) -> Counter[str]:
    """What only a leader's stack makes, as far as the account has it."""
    return Counter({kind: checkout.account()[kind] for kind in LEADERS})


def refused(checkout: Checkout, command: str, *arguments: str) -> str:
    """What a command says that must be refused, without a traceback."""
    done = checkout.operate(command, checkout.stack, *arguments)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def test_a_stack_that_is_none_is_told_before_anything_is_planned(checkout: Checkout) -> None:
    shown = refused(checkout.add_gpu_team(), "preview")
    assert "leaderStack: the stack organization/graphistry-cluster/sandbox cannot be read" in shown
    assert "Previewing" not in shown


def test_a_stack_of_followers_has_no_leader_to_join(team: Checkout) -> None:
    taken = {key: team.setting(key) for key in ("gpuProfiles", "followers")}
    second = team.add("second-sandbox", leaderStack=team.full_name, **taken)
    assert "it is a stack of followers itself" in refused(second, "preview")


def test_a_name_that_is_too_long_for_aws_is_refused(team: Checkout) -> None:
    taken = {"gpuProfiles": team.setting("gpuProfiles"), "leaderStack": team.setting("leaderStack")}
    second = team.add("second-sandbox", followers={"a" * 30: {"profile": "l40s"}}, **taken)
    assert "22 characters in the cluster graphistry-second-sandbox" in refused(second, "preview")


def test_nothing_of_the_leaders_is_made_again(deployed: Checkout) -> None:
    before = held(deployed)
    team = deployed.add_gpu_team()
    team.succeed("up", team.stack)
    assert held(team) == before
    assert team.plan("--refresh") == {}
    assert deployed.plan("--refresh") == {}


def test_show_lists_the_followers_only(team: Checkout) -> None:
    shown = team.succeed("status", team.stack)
    assert [line.split()[0] for line in shown.splitlines() if "not booted" in line] == TEAM


def test_a_leader_is_not_ended_while_it_serves_others(deployed: Checkout, team: Checkout) -> None:
    before = deployed.account()
    for command in (["down"], ["down", "--abandon", "somebody"], ["purge", "--name", "sandbox"]):
        told = refused(deployed, *command)
        assert "serves followers of team-sandbox" in told
        assert "./cluster down sandbox --abandon team-sandbox" in told
    assert deployed.account() == before


def test_a_leader_of_another_version_is_told(checkout: Checkout) -> None:
    checkout.succeed("up")
    team = checkout.add_gpu_team()
    program = checkout.root / "components/leader_stack.py"
    now, next_one = JOIN_VERSION, JOIN_VERSION + 1
    changed = program.read_text().replace(f"JOIN_VERSION = {now}", f"JOIN_VERSION = {next_one}")
    program.write_text(changed)
    shown = refused(team, "preview")
    assert f"its output join is of version {now}, this program reads {next_one}" in shown


def test_a_leader_that_was_abandoned_is_told_and_its_followers_can_still_be_ended(
    checkout: Checkout,
) -> None:
    checkout.succeed("up")
    team = checkout.add_gpu_team()
    team.succeed("up", team.stack)
    shown = checkout.succeed("down", "--abandon", team.stack)
    assert "the sandbox goes on for the stack team-sandbox" in shown
    for command in ("preview", "up"):
        told = refused(team, command)
        assert "leaderStack: the leader of organization/graphistry-cluster/sandbox is gone" in told
    team.succeed("down", team.stack)
    team.succeed("purge", team.stack, "--name", team.stack)
    checkout.succeed("purge", "--name", "sandbox")
    assert not any(checkout.account()[kind] for kind in (*LEADERS, "buckets", "roles"))
