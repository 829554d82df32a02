"""A stack of hosts, rehearsed: what takes the place of the operator's hosts and keys, and who touches a machine."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model.problems import UserError
from model.settings.hosts import FollowersOnHosts
from model.settings.sections import Release
from operate.stack import rehearsed_hosts, rehearsed_secret
from operate.stack.deployment import SANDBOX_SALT
from operate.stack.rehearsed_hosts import (
    NOBODY,
    STACK_FILE,
    Rehearsal,
    Unlike,
    refuse_impossible,
    rehearsed,
    take_keys,
    wanted_machines,
)
from operate.stack.stack_file import read_stack_file, settings_of
from sandbox.machines import hosts, operator_key
from sandbox.machines.hosts import Reached
from tests.components.test_hosts import CONTAINERS, STACK
from tests.harness import ROOT

KEY = "graphistry-cluster:sshPrivateKey"
NODES = ("leader", "small", "large")
MOVED = "10.77.0.21"
Rehearse = Callable[..., Rehearsal]


@pytest.fixture
def rehearse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rehearse:
    """The rehearsed file, with other keys than the stack's, by `./cluster up` or not, with an SSH agent or without.

    Every wanted machine takes SSH; its port is the end of its address.
    """

    def ways(*_: object, **__: object) -> dict[str, Reached]:
        return {name: way_to(address) for name, address in machines(tmp_path).items()}

    monkeypatch.setattr(hosts, "reach", ways)
    monkeypatch.setattr(hosts, "present", ways)
    monkeypatch.setattr(operator_key, "private_key", lambda _: "k")
    # What Pulumi can read has tests of its own, and takes a fifth of a second each time.
    monkeypatch.setattr(rehearsed_secret, "ITERATIONS", 1)

    def act(
        *, boots: bool = True, agent: str | None = "/run/agent.sock", **changes: Any
    ) -> Rehearsal:
        running = SimpleNamespace(identity="it", ssh_agent=agent)
        monkeypatch.setattr(rehearsed_hosts, "find", lambda _: running)
        config = {
            **stack_config(),
            **{f"graphistry-cluster:{key}": value for key, value in changes.items()},
        }
        settings = settings_of(config)
        assert isinstance(settings, FollowersOnHosts)
        return rehearsed(config, settings, None, tmp_path, STACK, SANDBOX_SALT, boots=boots)

    return act


def stack_config() -> dict[str, Any]:
    found: dict[str, Any] = read_stack_file(
        ROOT / "stacks" / f"Pulumi.{STACK}.yaml", rehearsal=True
    )["config"]
    return found


def followers(address: str) -> dict[str, Any]:
    """Those of the stack file, the small one with another address."""
    found: dict[str, Any] = copy.deepcopy(stack_config()["graphistry-cluster:followers"])
    found["small"]["host"]["address"] = address
    return found


def machines(sandbox: Path) -> dict[str, str]:
    """The address of each machine that is there."""
    return {each.name: each.address for each in hosts.wanted(sandbox).get(STACK, ())}


def way_to(address: str) -> Reached:
    return Reached(2000 + int(address.rpartition(".")[2]), f"ssh-ed25519 {address}")


def small(rehearsal: Rehearsal) -> dict[str, Any]:
    found: dict[str, Any] = rehearsal.config["graphistry-cluster:followers"]["small"]["host"]
    return found


def test_only_up_boots_a_machine(rehearse: Rehearse, tmp_path: Path) -> None:
    looked = rehearse(boots=False)
    assert machines(tmp_path) == {}
    assert looked.unlike == dict.fromkeys(NODES, Unlike.NOT_BOOTED)
    assert small(looked)["port"] == NOBODY
    assert rehearse().unlike == {}
    assert set(machines(tmp_path)) == set(NODES)
    assert rehearse(boots=False).unlike == {}


def test_hosts_in_two_networks_are_refused_before_any_is_booted(
    rehearse: Rehearse, tmp_path: Path
) -> None:
    rehearse()
    moved = {**stack_config(), "graphistry-cluster:followers": followers("10.78.0.11")}
    settings = settings_of(moved)
    assert isinstance(settings, FollowersOnHosts)
    before = hosts.wanted(tmp_path)
    with pytest.raises(
        UserError, match=r"10\.77\.0\.0/24, 10\.78\.0\.0/24; in the sandbox .* one /24"
    ):
        refuse_impossible(settings, tmp_path, STACK)
    rehearse(
        boots=False, followers=followers("10.78.0.11")
    )  # `./cluster status` and `./cluster down` go on
    assert hosts.wanted(tmp_path) == before


def test_who_only_looks_touches_no_machine_of_a_changed_file(
    rehearse: Rehearse, tmp_path: Path
) -> None:
    rehearse()
    before = hosts.wanted(tmp_path)
    size = {"gpus": 2, "gpuMemoryGib": 16, "memoryGib": 8}
    profiles = {**stack_config()["graphistry-cluster:gpuProfiles"], "t4": size}
    looked = rehearse(boots=False, followers=followers(MOVED), gpuProfiles=profiles)
    assert hosts.wanted(tmp_path) == before
    assert looked.unlike == {"leader": Unlike.OTHER_GPUS, "small": Unlike.NOT_BOOTED}
    assert small(looked)["privateAddress"] == MOVED
    assert small(looked)["hostKey"] == followers(MOVED)["small"]["host"]["hostKey"]


def test_another_address_is_another_machine_beside_the_old_one(
    rehearse: Rehearse, tmp_path: Path
) -> None:
    old = small(rehearse())
    moved = small(rehearse(followers=followers(MOVED)))
    assert (moved["port"], moved["privateAddress"]) == (way_to(MOVED).port, MOVED)
    assert moved["hostKey"] == way_to(MOVED).host_key
    assert machines(tmp_path) == {
        "leader": "10.77.0.10",
        "small": "10.77.0.11",
        "large": "10.77.0.12",
        "small-10-77-0-21": MOVED,
    }
    assert small(rehearse()) == old
    assert len(machines(tmp_path)) == 4


def test_a_machine_is_known_by_its_first_key_until_a_person_takes_another(
    rehearse: Rehearse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = small(rehearse())["hostKey"]
    monkeypatch.setattr(f"{__name__}.way_to", lambda _: Reached(2011, "ssh-ed25519 another"))
    assert small(rehearse())["hostKey"] == small(rehearse(boots=False))["hostKey"] == first
    take_keys(tmp_path, STACK, {"small": "ssh-ed25519 another"})
    assert small(rehearse())["hostKey"] == "ssh-ed25519 another"


def test_hosts_are_reached_by_a_key_that_is_encrypted(rehearse: Rehearse) -> None:
    assert set(rehearse(agent=None).config[KEY]) == {"secure"}


def test_of_secret_variables_the_names_alone_are_told(rehearse: Rehearse) -> None:
    config = rehearse(secretEnv={"A": {"secure": "v1:canary"}}).config
    assert config["graphistry-cluster:secretEnv"] == {"A": {"secure": "v1:canary"}}
    assert "canary" not in config[STACK_FILE]
    assert list(settings_of(json.loads(config[STACK_FILE])).secret_env) == ["A"]


def test_where_docker_is_reached_too_the_agent_has_the_key(rehearse: Rehearse) -> None:
    assert KEY not in rehearse(dataServices=CONTAINERS).config
    with pytest.raises(UserError, match="apt install openssh-client"):
        rehearse(agent=None, dataServices=CONTAINERS)


def test_no_profile_is_rehearsed_with_more_memory_than_this_computer_has(
    rehearse: Rehearse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsed_hosts, "memory_gib", lambda: 23)
    size = {"gpus": 1, "gpuMemoryGib": 16}
    profiles = {"t4": {**size, "memoryGib": 512}, "l4-quad": {**size, "memoryGib": 8}}
    found = rehearse(gpuProfiles=profiles).config["graphistry-cluster:gpuProfiles"]
    assert {name: each["memoryGib"] for name, each in found.items()} == {"t4": 23, "l4-quad": 8}


def test_a_gpu_of_a_rehearsal_is_not_called_like_its_profile() -> None:
    file = ROOT / "stacks" / f"Pulumi.{STACK}.yaml"
    settings = settings_of(read_stack_file(file, rehearsal=True)["config"])
    assert isinstance(settings, FollowersOnHosts)
    machines = wanted_machines(settings, [], None)
    assert {each.gpu_name for each in machines} == {"NVIDIA stand-in"}
    assert {each.gpu_memory_mib for each in machines} == {16 * 1024, 24 * 1024}


@pytest.mark.parametrize(
    ("source", "unpacked"), [("preinstalled", "2.51.3-12"), ("file:/srv/release.tar.gz", "")]
)
def test_hosts_come_with_what_their_owner_has_unpacked(source: str, unpacked: str) -> None:
    file = ROOT / "stacks" / f"Pulumi.{STACK}.yaml"
    settings = settings_of(read_stack_file(file, rehearsal=True)["config"])
    assert isinstance(settings, FollowersOnHosts)
    release = Release(version="2.51.3", cuda="12", source=source)
    machines = wanted_machines(settings, [], release)
    assert {each.release for each in machines} == {unpacked}
    assert machines == wanted_machines(settings, [], None)  # no reason to make another machine
