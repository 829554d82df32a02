"""Faults of the shared folder, and of a follower that has to find it again by itself."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agent.repair import TRIES
from tests.cluster.nodes import Cluster

NODES = ("leader", "small", "large")
MARKER = ".graphistry-cluster.json"
HOLDERS = ("nexus", "forge-etl-python", "streamgl-viz")
"""Services of the stand-in release that hold the shared folder, and among the others one that does not."""
STRANGER = "redis"
NETWORK, MOUNTS = ("--net",), ("--mount", "--pid")
"""Namespaces, as nsenter calls them."""
FOLDERS = ("uploads", "files", "datasets", "postgresql_data", "postgres_backups")


def servers(cluster: Cluster) -> list[Any]:
    """The containers of the file servers, one for each mount target."""
    answer = cluster.checkout.client("efs").describe_file_systems()
    (system,) = answer["FileSystems"]
    targets = cluster.checkout.client("efs").describe_mount_targets(
        FileSystemId=system["FileSystemId"]
    )
    found = [cluster.container(each["MountTargetId"]) for each in targets["MountTargets"]]
    assert found
    return found


@contextmanager
def away(cluster: Cluster) -> Iterator[None]:
    """Meanwhile, the file servers answer nobody: their sandbox starts those that end, and not those that sleep."""
    found = servers(cluster)
    for each in found:
        each.pause()
    try:
        yield
    finally:
        for each in found:
            each.unpause()


@contextmanager
def out_of_reach(cluster: Cluster, node: str) -> Iterator[None]:
    """Meanwhile, the file servers do not hear one node."""
    address = cluster.report(node)["instance"]["address"]
    rules = f"""
        table inet away {{
            chain input {{ type filter hook input priority -10; ip saddr {address} drop; }}
        }}
    """
    found = servers(cluster)
    for each in found:
        inside(each, NETWORK, "nft", "-f", "-", text=rules)
    try:
        yield
    finally:
        for each in found:
            inside(each, NETWORK, "nft", "delete table inet away")


@contextmanager
def another_export(cluster: Cluster, prepare: str) -> Iterator[list[Any]]:
    """Meanwhile, the file servers export a small folder of their own; *prepare* fills it, in /other."""
    folders = " ".join(f"/other/{name}" for name in FOLDERS)
    found = servers(cluster)
    for each in found:
        script = f"""
            set -e
            mkdir -p /other && mount -t tmpfs -o size=256k tmpfs /other && mkdir {folders}
            {prepare}
            mount --move /other /export
        """
        inside(each, MOUNTS, "sh", "-c", script)
    try:
        yield found
    finally:
        for each in found:
            inside(each, MOUNTS, "umount", "-l", "/export")


def inside(server: Any, namespaces: tuple[str, ...], *command: str, text: str = "") -> str:
    """Run a command in namespaces of a file server, with the rights of this computer's root."""
    server.reload()
    return subprocess.run(
        ["nsenter", "--target", str(server.attrs["State"]["Pid"]), *namespaces, *command],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def bare(cluster: Cluster, node: str) -> list[str]:
    """What is in a node's own folder below the mount."""
    script = """
        set -e
        mkdir -p /run/below && mount --bind / /run/below
        ls -A /run/below/mnt/graphistry
        umount /run/below && rmdir /run/below
    """
    return cluster.run(node, script).split()


def assert_shared(cluster: Cluster, writer: str, *readers: str) -> None:
    """A data set that one node stores is read by the others."""
    dataset = cluster.exercise(writer, "upload", "shared")["datasetId"]
    for node in readers:
        assert cluster.exercise(node, "read", dataset) == {"edges": 5}


def last_try(report: dict[str, Any]) -> int:
    """Number of the last try to mount the folder anew; 0 where something else was done since."""
    what = report["repairs"][-1]["what"] if report["repairs"] else ""
    found = re.fullmatch(r"sharedFolder \(try (\d+)\)", what)
    return int(found[1]) if found else 0


def test_a_follower_boots_while_the_shared_folder_is_away(cluster: Cluster) -> None:
    address = cluster.report("small")["instance"]["address"]
    with out_of_reach(cluster, "small"):
        cluster.reboot("small")
        failure = cluster.until_failed("small", "SharedFolderUnmounted")
        assert "/mnt/graphistry" in failure["message"]
        assert "2049" in failure["hint"]
        assert bare(cluster, "small") == []
        assert set(cluster.services_started("small").values()) == {"0"}
        for node in ("leader", "large"):
            assert cluster.report(node)["state"] == "ready"
    report = cluster.until_ready("small")
    assert report["instance"]["address"] == address
    assert_shared(cluster, "small", "leader", "large")


def test_the_shared_folder_goes_away_and_comes_back(cluster: Cluster) -> None:
    members = cluster.members()
    started = {node: cluster.services_started(node) for node in NODES}
    with away(cluster):
        for node in NODES:
            cluster.until_failed(node, "SharedFolderUnmounted")
        # After every try that a node has: none gives itself up for what no other machine has.
        for node in NODES:
            cluster.until(node, lambda report: last_try(report) > TRIES)
    for node in NODES:
        cluster.until_ready(node)
    assert cluster.members() == members
    assert_shared(cluster, "small", "leader", "large")
    assert_shared(cluster, "leader", "small", "large")
    for node in NODES:
        now = cluster.services_started(node)
        for service in HOLDERS:
            assert now[service] != started[node][service], f"{node}: {service} was not restarted"
        assert now[STRANGER] == started[node][STRANGER]
    assert cluster.services_started("leader")["postgres"] == started["leader"]["postgres"]
    for node in NODES:
        assert bare(cluster, node) == []


@pytest.mark.parametrize("node", ["large", "leader"])
def test_a_mount_that_is_lost_is_made_anew(cluster: Cluster, node: str) -> None:
    cluster.run(node, "umount -l /mnt/graphistry")
    report = cluster.until(
        node, lambda report: report["repairs"] and "restarted" in report["repairs"][-1]["outcome"]
    )
    assert report["repairs"][-1]["what"].startswith("sharedFolder")
    cluster.until_ready(node)
    assert bare(cluster, node) == []
    assert_shared(cluster, node, *[each for each in NODES if each != node])
    if node == "leader":
        table = cluster.run(node, "cat /proc/self/mountinfo")
        assert " /mnt/graphistry/postgresql_data " in table


def test_services_that_began_without_the_shared_folder_are_restarted(cluster: Cluster) -> None:
    """As Docker starts containers at boot by itself, whether or not the folder below them is mounted."""
    cluster.run(
        "small",
        f"""
        set -e
        systemctl stop graphistry-cluster-agent
        umount -l /mnt/graphistry
        cd {cluster.release}
        # What has an empty folder over a part of it does not begin at all.
        ./graphistry restart forge-etl-python streamgl-viz || true
        systemctl start graphistry-cluster-agent
        """,
    )
    cluster.until("small", lambda report: report["state"] == "converging")
    cluster.until_ready("small")
    assert_shared(cluster, "small", "leader", "large")
    assert bare(cluster, "small") == []


def test_another_clusters_folder_is_left_alone(cluster: Cluster) -> None:
    marker = json.dumps({"cluster": "somebody/else", "secret": "theirs"})
    with another_export(cluster, f"echo '{marker}' > /other/{MARKER}") as found:
        for node in NODES:
            failure = cluster.until_failed(node, "SharedFolderForeign")
            assert "somebody/else" in failure["message"]
            assert "nothing was changed" in failure["hint"]
        # Nor does a node that meets it at its start.
        for node in ("leader", "small"):
            cluster.restart_agent(node)
        for node in ("leader", "small"):
            cluster.until(
                node,
                lambda report: (
                    report["state"] == "failed"
                    and report["failure"]["phase"] == "sharedFolder"
                    and report["failure"]["code"] == "SharedFolderForeign"
                ),
            )
        for each in found:
            there = inside(each, MOUNTS, "find", "/export", "-mindepth", "1")
            ours = [line for line in there.splitlines() if "nexus-health" not in line]
            assert sorted(ours) == sorted(f"/export/{name}" for name in (MARKER, *FOLDERS))
            assert inside(each, MOUNTS, "cat", f"/export/{MARKER}").strip() == marker
    for node in NODES:
        cluster.until_ready(node)
    assert_shared(cluster, "small", "leader", "large")


def test_a_full_shared_folder_is_told_and_forgotten_when_there_is_room(cluster: Cluster) -> None:
    members = cluster.members()
    copied = "cp -a /export/.graphistry-cluster* /export/nodes /other/; dd if=/dev/zero of=/other/big 2>&1 || true"
    with another_export(cluster, copied) as found:
        for node in NODES:
            failure = cluster.until_failed(node, "SharedFolderFull")
            assert "data sets" in failure["hint"]
        for each in found:
            inside(each, MOUNTS, "rm", "/export/big")
        for node in NODES:
            cluster.until_ready(node)
    assert cluster.members() == members


def test_a_follower_is_ready_again_after_a_reboot(cluster: Cluster) -> None:
    instance, before = cluster.instance("large"), cluster.report("large")["instance"]
    cluster.reboot("large")
    cluster.until_ready("large")
    assert cluster.instance("large") == instance
    assert cluster.report("large")["instance"] == before
    # The folder was there before Docker, which starts containers by itself, and before the release.
    times = cluster.run(
        "large",
        "systemctl show -p ActiveEnterTimestampMonotonic --value"
        " mnt-graphistry.mount docker.service graphistry.service",
    )
    mounted, docker, release = (int(line) for line in times.split())
    assert 0 < mounted <= docker <= release
    assert_shared(cluster, "large", "leader", "small")


def test_a_killed_agent_comes_back_and_restarts_nothing(cluster: Cluster) -> None:
    started = {node: cluster.services_started(node) for node in NODES}
    before = {node: cluster.report(node)["startedAt"] for node in NODES}
    for node in NODES:
        cluster.run(node, "systemctl kill --signal=KILL graphistry-cluster-agent")
    for node in NODES:
        converged_anew(cluster, node, before[node])
        assert cluster.services_started(node) == started[node]


def converged_anew(cluster: Cluster, node: str, before: str) -> None:
    """Wait until a node is ready by another converge than that which began at *before*."""
    cluster.until(node, lambda report: report["state"] == "ready" and report["startedAt"] != before)
