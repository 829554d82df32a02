"""Everything that keeps a host from being a node is told, with what to do, before the host is touched."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from model.problems import UserError
from model.settings.hosts import HostsSettings, JoinedHostsSettings
from model.settings.read import parse
from model.settings.sections import Release
from operate.commands import preparation
from operate.commands.preparation import check_hosts
from operate.hosts.connected import Hosts
from operate.hosts.facts import Facts
from operate.hosts.preflight import (
    Trouble,
    hidden,
    problems,
    twins,
    without_data,
    without_tunnel,
)
from tests.model.examples import HOSTS, changed

CLUSTER = "graphistry-cluster/lab"

SOUND: dict[str, Any] = {
    "os": "Ubuntu 22.04.5 LTS",
    "osId": "ubuntu 22.04",
    "architecture": "x86_64",
    "systemd": True,
    "python": "3.10.12",
    "freeGib": {"/var/lib/docker": 400.0, "/opt": 400.0, "/var/lib": 400.0},
    "docker": {"version": "28.3", "compose": "2.39", "nvidiaRuntime": "/usr/bin/x"},
    "driver": "580.1",
    "gpus": [{"index": n, "name": "A100", "memoryMib": 81559} for n in range(4)],
    "memoryMib": 515000,
    "listening": {"22": "sshd"},
    "time": 0.0,
    "machineId": "a",
    "node": None,
    "firewall": None,
    "dataServices": "bundled",
}


def settings() -> HostsSettings:
    found = parse(HOSTS)
    assert isinstance(found, HostsSettings)
    return found


def told(changes: dict[str, Any], node: str = "leader", offset: float = 0.0) -> list[str]:
    """The problems of a host that is sound but for *changes*."""
    facts = Facts.model_validate(changed(SOUND, changes)).model_copy(
        update={"clock_offset": offset}
    )
    found = list(problems(settings(), node, facts, CLUSTER, settings().release))
    assert all(each.hint and each.node == node for each in found)
    return [each.what for each in found]


def test_a_sound_host_has_no_problem() -> None:
    assert told({}) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"architecture": "aarch64"}, "its processor is aarch64"),
        ({"systemd": False}, "does not run systemd"),
        ({"docker.version": None}, "there is no Docker that answers"),
        ({"docker.compose": None}, "Docker has no compose plugin"),
        ({"docker.compose": "2.24.3-desktop.1"}, "Docker's compose plugin is 2.24.3-desktop.1"),
        ({"docker.nvidiaRuntime": None}, "no nvidia-container-runtime"),
        ({"driver": None}, "NVIDIA's driver does not answer"),
        (
            {
                "driver": None,
                "gpuProblem": {
                    "message": "nvidia-smi: nvidia-smi: No such file or directory",
                    "hint": "h",
                },
            },
            "NVIDIA's driver does not answer",
        ),
        (
            {
                "driver": None,
                "gpuProblem": {"message": "GPU 0 says [GPU requires reset]", "hint": "reset it"},
            },
            "GPU 0 says [GPU requires reset]",
        ),
        (
            {"docker.changes": ['default-runtime: "nvidia"']},
            '/etc/docker/daemon.json gets default-runtime: "nvidia"; Docker restarts',
        ),
        ({"docker.settingsProblem": "daemon.json: not an object"}, "daemon.json: not an object"),
        ({"gpus": SOUND["gpus"][:3]}, "it shows 3 of 4 GPUs"),
        (
            {"gpus": [{"name": "A100", "memoryMib": 40960}] * 4},
            "a GPU has 40 GiB, the profile a100 says 80",
        ),
        ({"memoryMib": 260000}, "it has 253 GiB of memory, the profile a100 says 512"),
        ({"freeGib": {"/var/lib/docker": 71.0}}, "/var/lib/docker has 71 GiB free"),
        ({"freeGib": {"/var/lib": 4.0}}, "/var/lib has 4 GiB free"),
        (
            {
                "freeGib": {"/var/lib/docker": 45.0, "/opt": 45.0, "/var/lib": 45.0},
                "fileSystems": {"/var/lib/docker": 1, "/opt": 1, "/var/lib": 1},
            },
            "/var/lib and /var/lib/docker and /opt share 45 GiB free",
        ),
        ({"listening": {"5432": "postgres"}}, "port 5432 is taken by postgres"),
        ({"listening": {"443": "nginx"}}, "port 443 is taken by nginx"),
        (
            {"node": {"cluster": "other/one", "node": "leader"}},
            "this host is leader of the cluster other/one",
        ),
        ({"osId": "gentoo"}, "was never tried"),
        (
            {"dataServices": "containers"},
            "its data are those of dataServices.kind containers, the stack file says bundled",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_fault_is_told_alone(changes: dict[str, Any], what: str) -> None:
    (found,) = told(changes)
    assert what in found


@pytest.mark.parametrize(("offset", "word"), [(90.0, "ahead of"), (-90.0, "behind")])
def test_a_wrong_clock_is_told_with_its_direction(offset: float, word: str) -> None:
    (found,) = told({}, offset=offset)
    assert found == f"its clock is 90 s {word} this computer's"


def test_an_operating_system_that_was_never_tried_does_not_stop() -> None:
    facts = Facts.model_validate(changed(SOUND, {"osId": "gentoo"}))
    (found,) = problems(settings(), "leader", facts, CLUSTER, None)
    assert not found.blocks


def test_the_ports_of_a_node_of_this_cluster_are_its_own() -> None:
    ports = {"5432": "docker-proxy", "80": "docker-proxy", "443": "docker-proxy"}
    node = {"cluster": CLUSTER, "node": "leader"}
    assert told({"listening": ports, "node": node}) == []


def test_a_follower_needs_no_port_of_the_leaders() -> None:
    small = {"gpus": [{"name": "L4", "memoryMib": 23034}], "memoryMib": 65000}
    leaders = {"listening": {"5432": "postgres"}, "dataServices": "containers"}
    assert told({**small, **leaders}, node="rack2") == []


def test_containers_need_a_docker_that_is_open_to_the_user() -> None:
    images = dict.fromkeys(("postgresImage", "redisImage"), f"postgres@sha256:{'0' * 64}")
    contained = parse(changed(HOSTS, {"dataServices": {"kind": "containers", **images}}))
    assert isinstance(contained, HostsSettings)
    closed = {"docker.openToUser": False}
    facts = Facts.model_validate(changed(SOUND, {**closed, "dataServices": "containers"}))
    (found,) = problems(contained, "leader", facts, CLUSTER, None)
    assert found.what.startswith("operator may not use Docker without sudo")
    assert found.hint.endswith("usermod -aG docker operator")
    noisy = Facts.model_validate(
        changed(SOUND, {"loginNoise": "Welcome\nto rack 2", "dataServices": "containers"})
    )
    (found,) = problems(contained, "leader", noisy, CLUSTER, None)
    assert "the login shell of operator prints before every command (Welcome)" in found.what
    assert list(problems(settings(), "rack2", noisy, CLUSTER, None)) == []
    assert told(closed) == []


def test_all_problems_of_a_host_are_told_at_once() -> None:
    assert len(told({"driver": None, "docker.compose": None, "architecture": "ppc64le"})) == 3


def test_what_is_wrong_is_looked_at_again_by_the_command_that_was_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That may be `./cluster preview`."""
    away = Trouble(node="leader", what="it does not answer", hint="mend it", unreachable=True)
    monkeypatch.setattr(preparation, "preflight", lambda *_, **__: [away])
    monkeypatch.setattr(preparation, "cluster_and_release", lambda _: ("cluster", None))
    opened: Any = SimpleNamespace(outputs=dict, stack="lab", choice=" lab", sandbox=None)
    with pytest.raises(UserError, match="1 problem on the hosts") as raised:
        check_hosts(opened, Hosts(settings()))
    assert "the same command looks again" in str(raised.value)
    assert "./cluster up" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "present", "what"),
    [
        ("preinstalled", ("2.50.1", "12"), None),
        ("preinstalled", ("2.50.0", "12"), "/var/graphistry on it is 2.50.0 for CUDA 12"),
        ("preinstalled", ("2.50.1", "13"), "/var/graphistry on it is 2.50.1 for CUDA 13"),
        ("preinstalled", None, "no release is unpacked on it"),
        ("https://downloads.example/graphistry.tar.gz", None, None),
        ("https://downloads.example/graphistry.tar.gz", ("2.50.0", "12"), None),
    ],
)
def test_a_host_that_comes_with_another_release_is_told(
    source: str, present: tuple[str, str] | None, what: str | None
) -> None:
    release = present and dict(
        zip(("version", "cuda"), present, strict=True), folder="/var/graphistry"
    )
    facts = Facts.model_validate({**SOUND, "release": release})
    wanted = Release(
        version="2.50.1",
        cuda="12",
        source=source,
        sha256=None if source == "preinstalled" else "0" * 64,
    )
    found = list(problems(settings(), "rack2", facts, CLUSTER, wanted))
    assert [each.what.partition(", ")[0] for each in found] == ([what] if what else [])
    assert all(each.blocks and "2.50.1 for CUDA 12" in each.hint for each in found)


@pytest.mark.parametrize(
    ("release", "what"),
    [
        ({"source": "preinstalled"}, []),
        (
            {"source": "https://downloads.example/graphistry.tar.gz", "sha256": "0" * 64},
            ["/opt has 7 GiB free"],
        ),
    ],
)
def test_a_host_that_joins_needs_room_for_what_the_other_stack_brings_to_it(
    release: dict[str, str], what: list[str]
) -> None:
    kept = {key: HOSTS[key] for key in ("site", "gpuProfiles", "followers", "ssh")}
    joined = parse({**kept, "leaderStack": "organization/graphistry-cluster/lab"})
    assert isinstance(joined, JoinedHostsSettings)
    present = {"version": "2.50.1", "cuda": "12", "folder": "/var/graphistry"}
    facts = Facts.model_validate(changed(SOUND, {"freeGib": {"/opt": 7.0}, "release": present}))
    wanted = Release.model_validate({"version": "2.50.1", "cuda": "12", **release})
    assert [each.what for each in problems(joined, "rack2", facts, CLUSTER, wanted)] == what


def test_a_leader_that_begins_without_data_is_told_and_goes_on() -> None:
    """It is right for a new cluster, and the loss of an old one whose leader was given another host."""
    bare = Facts.model_validate({**SOUND, "dataServices": None})
    (found,) = without_data({"leader": bare}, ())
    assert "begins with an empty database" in found.what
    assert not found.blocks
    taken_up = bare.model_copy(update={"data_services": "bundled"})
    assert list(without_data({"leader": taken_up}, ())) == []
    assert list(without_data({"leader": bare}, ("leader",))) == []


def test_one_machine_under_two_addresses_is_told() -> None:
    facts = Facts.model_validate(SOUND)
    other = facts.model_copy(update={"machine_id": "b"})
    assert list(twins({"leader": facts, "rack2": other})) == []
    (found,) = twins({"leader": facts, "rack2": facts})
    assert (found.node, found.what) == ("rack2", "it has the machine id of leader")


@pytest.mark.parametrize(
    ("leader", "follower", "told_of"),
    [
        ("10.0.0.10", "10.0.0.12", []),
        ("172.17.0.10", "172.17.8.12", []),  # Docker sees that its host is in that network
        ("172.17.0.10", "172.18.0.12", ["leader", "rack2"]),
        ("10.0.0.10", "172.18.0.12", ["rack2"]),
        ("172.17.0.10", "10.0.0.12", ["leader"]),
        ("10.0.0.10", "172.19.0.12", []),  # a third network of Docker's is rare
    ],
)
def test_hosts_in_a_network_that_docker_takes_elsewhere_are_told_and_go_on(
    leader: str, follower: str, told_of: list[str]
) -> None:
    raw = changed(
        HOSTS,
        {"leader.host.address": leader, "followers.rack2.host.privateAddress": follower},
    )
    found = parse(raw)
    assert isinstance(found, HostsSettings)
    troubles = list(hidden(found))
    assert [each.node for each in troubles] == told_of
    assert not any(each.blocks for each in troubles)
    assert all("default-address-pools" in each.hint for each in troubles)


def test_a_file_server_that_is_there_already_gets_one_more_export() -> None:
    with_export = changed(HOSTS, {"sharedFolder": {"kind": "nfs-on-leader"}})
    found = parse(with_export)
    assert isinstance(found, HostsSettings)
    for holder, count in (("nfs-server", 0), ("python3", 1)):
        facts = Facts.model_validate(changed(SOUND, {"listening": {"2049": holder}}))
        assert len(list(problems(found, "leader", facts, CLUSTER, None))) == count


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({}, None),
        ({"wireguard": None}, "its kernel has no WireGuard"),
        ({"listening": {"51820/udp": "somebody else's WireGuard"}}, "port 51820/udp is taken by"),
        ({"networks": ["10.0.0.0/8", "198.18.4.0/24"]}, "it has a way to 198.18.4.0/24"),
        ({"networks": ["198.19.255.255"]}, "it has a way to 198.19.255.255"),
    ],
    ids=str,
)
def test_what_keeps_a_host_from_the_tunnel_is_told(
    changes: dict[str, Any], what: str | None
) -> None:
    sound = {"wireguard": "kernel", "networks": ["10.0.0.0/24", "172.17.0.0/16", "10.0.0.10"]}
    facts = Facts.model_validate({**SOUND, **sound, **changes})
    found = list(without_tunnel("rack2", facts))
    assert all(each.blocks and each.hint for each in found)
    assert [each.what.startswith(str(what)) for each in found] == ([] if what is None else [True])
