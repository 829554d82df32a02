"""What the services talk to is read from the kernel, and judged by who is to talk to whom."""

import json
import os
import socket
from pathlib import Path

import pytest

from agent.containers import engine
from agent.containers.engine import Container
from agent.graphistry import connections
from agent.graphistry.connections import PROMISES, Connection
from agent.specification import Specification, read

from .fakes import FakeMachine, specification_document

OWN_REDIS, LEADER = "172.18.0.5", "10.40.0.10"


def container(service: str, process: int, *addresses: str) -> Container:
    return Container(
        service, service, "running", "healthy", 0, process, "", 0, "", addresses=addresses
    )


CONTAINERS = [
    container("redis", 1, OWN_REDIS),
    container("postgres", 1, "172.18.0.6"),
    container("nexus", 11),
    container("forge-etl-python", 12),
    container("streamgl-viz", 13),
    container("notebook", 14),
    container("streamgl-sessions", 15),
    container("dask-cuda-worker", 16),
]


@pytest.fixture(params=["leader", "follower"])
def specification(request: pytest.FixtureRequest) -> Specification:
    document = specification_document(request.param, Path("/mnt/graphistry"))
    document["endpoints"] = {
        name: {"host": LEADER, "port": port} for name, port in (("postgres", 5432), ("redis", 6379))
    }
    return read(json.dumps(document).encode())


def seen(specification: Specification) -> dict[str, bool]:
    found = connections.seen(specification, CONTAINERS)
    return {str(each): each.is_right for each in found}


def test_a_node_as_it_should_be(fake: FakeMachine, specification: Specification) -> None:
    ends = ("172.18.0.6", OWN_REDIS) if specification.is_leader else (LEADER, LEADER)
    for process in (11, 12):
        fake.connects(process, f"{ends[0]}:5432", f"{ends[1]}:6379", "93.184.216.34:443")
    fake.connects(13, f"{OWN_REDIS}:6379")
    found = connections.seen(specification, CONTAINERS)
    assert all(each.is_right for each in found)
    assert [each.missing(found) for each in PROMISES] == [[], [], []]


def test_a_third_place_and_the_wrong_one_of_two(
    fake: FakeMachine, specification: Specification
) -> None:
    fake.connects(11, "10.9.9.9:6379", "10.9.9.9:5432")
    fake.connects(13, f"{LEADER}:6379")
    fake.connects(14, "10.9.9.9:5432")  # a notebook may ask any database of its user's
    is_leader = specification.is_leader
    assert seen(specification) == {
        "nexus talks to 10.9.9.9:6379's Redis": False,
        "nexus talks to 10.9.9.9:5432's PostgreSQL": False,
        f"streamgl-viz talks to {'this node' if is_leader else 'the leader'}'s"
        f"{' own' if is_leader else ''} Redis": is_leader,
    }


def test_other_services_may_ask_the_clusters_postgresql(
    fake: FakeMachine, specification: Specification
) -> None:
    """Sessions do themselves, and Dask may; on the leader it is in a container of the node's own."""
    postgres = "172.18.0.6" if specification.is_leader else LEADER
    for process in (15, 16):
        fake.connects(process, f"{postgres}:5432", f"{OWN_REDIS}:6379")
    assert seen(specification) == {
        f"{service} talks to {place}": True
        for service in ("streamgl-sessions", "dask-cuda-worker")
        for place in ("the leader's PostgreSQL", "this node's own Redis")
    }


def test_a_third_place_of_dask_is_its_users(
    fake: FakeMachine, specification: Specification
) -> None:
    fake.connects(16, "10.9.9.9:5432", "10.9.9.9:6379", f"{OWN_REDIS}:6379")
    assert seen(specification) == {"dask-cuda-worker talks to this node's own Redis": True}
    if not specification.is_leader:
        fake.connects(16, f"{LEADER}:6379")
        assert seen(specification) == {"dask-cuda-worker talks to the leader's Redis": False}


def test_what_has_ended_counts_and_what_was_never_made_does_not(
    fake: FakeMachine, specification: Specification
) -> None:
    fake.connects(11, f"{LEADER}:5432", state="06")
    fake.connects(12, f"{LEADER}:5432", state="02")
    found = connections.seen(specification, CONTAINERS)
    assert found == [Connection("nexus", "PostgreSQL", connections.LEADER)]
    assert PROMISES[1].missing(found) == ["forge-etl-python"]
    fake.connects(12, "172.18.0.99:5432", state="08")  # PostgreSQL's container of before
    assert connections.seen(specification, CONTAINERS) == found
    assert PROMISES[2].missing([]) == list(connections.STREAMGL)


def test_a_node_whose_network_has_ipv6(fake: FakeMachine, specification: Specification) -> None:
    networks = {
        "redis": {"Networks": {"grph_net": {"GlobalIPv6Address": "fd00:18::5"}}},
        "streamgl-viz": {
            "Networks": {
                "first": {"IPAddress": "", "GlobalIPv6Address": "fd00:19::7"},
                "grph_net": {"IPAddress": "172.18.0.7", "GlobalIPv6Address": ""},
            }
        },
    }
    states = {name: ["running", "healthy", 0] for name in networks}
    shown = {
        name: {"NetworkSettings": each, "State": {"Pid": process}}
        for process, (name, each) in enumerate(networks.items(), 12)
    }
    (fake.root / "states.json").write_text(json.dumps(states))
    (fake.root / "inspected.json").write_text(json.dumps(shown))
    fake.connects(13, "fd00:18::5:6379")
    containers = engine.containers("release")
    # What asks a container's pages has its IPv4 address.
    assert [each.address for each in containers] == ["", "172.18.0.7"]
    assert [each.addresses for each in containers] == [
        ("fd00:18::5",),
        ("172.18.0.7", "fd00:19::7"),
    ]
    found = connections.seen(specification, containers)
    assert found == [Connection("streamgl-viz", "Redis", connections.OWN)]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_kernels_own_table_is_read(
    monkeypatch: pytest.MonkeyPatch, specification: Specification, family: int
) -> None:
    """A real connection of this process, over IPv4 and as sockets of IPv6 show IPv4."""
    monkeypatch.setattr("agent.graphistry.connections.PROC", Path("/proc"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.socket(family) as client:
            client.connect(("::ffff:127.0.0.1" if family == socket.AF_INET6 else "127.0.0.1", port))
            assert ("127.0.0.1", port, "01") in list(connections._remotes(os.getpid()))
