"""Everything that keeps a host from being a node is told, with what to do, before the host is touched."""

from __future__ import annotations

from typing import Any

import pytest

from model.hosts import HostsSettings
from model.settings import parse
from operate.host_preflight import Facts, problems, twins
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
    found = list(problems(settings(), node, facts, CLUSTER))
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
        ({"docker.nvidiaRuntime": None}, "no nvidia-container-runtime"),
        ({"driver": None}, "NVIDIA's driver does not answer"),
        ({"gpus": SOUND["gpus"][:3]}, "it shows 3 of 4 GPUs"),
        (
            {"gpus": [{"name": "A100", "memoryMib": 40960}] * 4},
            "a GPU has 40 GiB, the profile a100 says 80",
        ),
        ({"memoryMib": 260000}, "it has 253 GiB of memory, the profile a100 says 512"),
        ({"freeGib": {"/var/lib/docker": 12.0}}, "/var/lib/docker has 12 GiB free"),
        ({"freeGib": {"/var/lib": 4.0}}, "/var/lib has 4 GiB free"),
        ({"listening": {"5432": "postgres"}}, "port 5432 is taken by postgres"),
        ({"listening": {"443": "nginx"}}, "port 443 is taken by nginx"),
        (
            {"node": {"cluster": "other/one", "node": "leader"}},
            "this host is leader of the cluster other/one",
        ),
        ({"osId": "gentoo"}, "was never tried"),
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
    (found,) = problems(settings(), "leader", facts, CLUSTER)
    assert not found.blocks


def test_the_ports_of_a_node_of_this_cluster_are_its_own() -> None:
    ports = {"5432": "docker-proxy", "80": "docker-proxy", "443": "docker-proxy"}
    node = {"cluster": CLUSTER, "node": "leader"}
    assert told({"listening": ports, "node": node}) == []


def test_a_follower_needs_no_port_of_the_leaders() -> None:
    small = {"gpus": [{"name": "L4", "memoryMib": 23034}], "memoryMib": 65000}
    assert told({**small, "listening": {"5432": "postgres"}}, node="rack2") == []


def test_all_problems_of_a_host_are_told_at_once() -> None:
    assert len(told({"driver": None, "docker.compose": None, "architecture": "ppc64le"})) == 3


def test_one_machine_under_two_addresses_is_told() -> None:
    facts = Facts.model_validate(SOUND)
    other = facts.model_copy(update={"machine_id": "b"})
    assert list(twins({"leader": facts, "rack2": other})) == []
    (found,) = twins({"leader": facts, "rack2": facts})
    assert (found.node, found.what) == ("rack2", "it has the machine id of leader")


def test_a_file_server_that_is_there_already_gets_one_more_export() -> None:
    with_export = changed(HOSTS, {"sharedFolder": {"kind": "nfs-on-leader"}})
    found = parse(with_export)
    assert isinstance(found, HostsSettings)
    for holder, count in (("nfs-server", 0), ("python3", 1)):
        facts = Facts.model_validate(changed(SOUND, {"listening": {"2049": holder}}))
        assert len(list(problems(found, "leader", facts, CLUSTER))) == count
