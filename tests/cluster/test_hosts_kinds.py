"""Hosts whose shared folder is a file server's or mounted by somebody else; a release that comes from this computer."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.machines import hosts
from sandbox.machines.hosts import HostMachine
from sandbox.release import build
from sandbox.release.build import build_release
from tests.cluster.nodes import Cluster, changed_nothing
from tests.cluster.on_hosts import STACK, OnHosts

SERVER = "10.77.0.9"
EXPORT = "/srv/graphistry"
NODES = ("leader", "small")


def release_of(folder: Path) -> dict[str, str]:
    """The stand-in release as an archive of this computer."""
    archive = build_release(folder)
    return {
        "version": "2.50.1",
        "cuda": "12",
        "source": f"file:{archive}",
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }


@pytest.fixture(scope="module")
def cluster(empty: Cluster, tmp_path_factory: pytest.TempPathFactory) -> OnHosts:
    """A leader and a follower with a file server and without internet, ready."""
    found = OnHosts(replace(empty.checkout, stack=STACK))
    followers = found.checkout.setting("followers")
    found.checkout.change(
        followers={"small": followers["small"]},
        sharedFolder={"kind": "nfs", "server": SERVER, "export": EXPORT},
        release=release_of(tmp_path_factory.mktemp("release")),
    )
    found.boot()
    return found


def read_by_the_other(cluster: OnHosts) -> None:
    """A dataset of the follower is read on the leader."""
    dataset = cluster.exercise("small", "upload", "anywhere")["datasetId"]
    assert cluster.exercise("leader", "read", dataset) == {"edges": 5}


def test_a_file_server_and_a_release_of_this_computer_are_enough(cluster: OnHosts) -> None:
    states = {name: node["state"] for name, node in cluster.nodes().items()}
    assert states == dict.fromkeys(NODES, "ready")
    read_by_the_other(cluster)
    for node in NODES:
        mounts = cluster.run(node, "cat /proc/self/mountinfo")
        assert f"{SERVER}:{EXPORT}" in mounts
        assert cluster.run(node, "ls /opt/graphistry-cluster/releases") == "2.50.1-12\n"
        assert cluster.run(node, "ls /home/ubuntu/.graphistry-cluster-release; true") == (
            "ls: cannot access '/home/ubuntu/.graphistry-cluster-release': No such file or directory\n"
        )
    assert "graphistry" not in cluster.run("leader", "cat /etc/exports.d/* 2>/dev/null; true")


def test_a_host_that_lost_its_release_unpacks_it_again(cluster: OnHosts) -> None:
    cluster.run("small", "rm -rf /opt/graphistry-cluster/releases")
    cluster.restart_agent("small")
    cluster.until("small", lambda report: report["state"] != "ready")
    cluster.until_ready("small")
    assert cluster.run("small", "ls /opt/graphistry-cluster/releases") == "2.50.1-12\n"
    read_by_the_other(cluster)


def test_a_host_that_lost_the_archive_of_its_release_gets_it_again(cluster: OnHosts) -> None:
    archives = "ls /opt/graphistry-cluster/incoming"
    before = cluster.run("small", archives)
    cluster.run("small", "rm /opt/graphistry-cluster/incoming/*")
    assert "it lacks what was delivered: release" in cluster.succeed()
    assert cluster.run("small", archives) == before
    assert changed_nothing(cluster.succeed())


def of_other_images(archive: Path) -> bytes:
    """A release whose images have the same names and another content."""
    files, hostile = io.BytesIO(), io.BytesIO()
    names = build.images("2.50.1", "12")
    hostile.write(
        gzip.compress(build.saved_images({name: {"Env": ["HOSTILE=1"]} for name in names}))
    )
    with tarfile.open(archive) as given, tarfile.open(fileobj=files, mode="w") as made:
        for member in given:
            content = given.extractfile(member)
            if member.name == "containers.tar.gz":
                member.size, content = hostile.tell(), hostile
                hostile.seek(0)
            made.addfile(member, content)
    return files.getvalue()


def test_another_archive_leaves_no_image_and_takes_no_name(cluster: OnHosts) -> None:
    source = cluster.checkout.setting("release")["source"]
    listed = "docker image ls --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' | sort"
    before, started = cluster.run("small", listed), cluster.services_started("small")
    (name,) = cluster.run("small", "ls /opt/graphistry-cluster/incoming").split()
    content = of_other_images(Path(source.removeprefix("file:")))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    cluster.machine("small").put_archive("/opt/graphistry-cluster/incoming", packed.getvalue())
    # One that a kill has left, and a release that was not whole.
    cluster.run("small", f"docker tag {before.split()[1]} graphistry-cluster-unverified:9")
    cluster.run("small", "rm /opt/graphistry-cluster/releases/*/.graphistry-cluster.json")
    cluster.restart_agent("small")
    cluster.until(
        "small",
        lambda report: (report["failure"] or {}).get("code") == "ReleaseChecksumMismatch",
    )
    assert cluster.run("small", listed) == before
    assert cluster.services_started("small") == started
    cluster.succeed()
    assert cluster.run("small", listed) == before
    read_by_the_other(cluster)


@pytest.fixture(scope="module")
def on_a_path(empty: Cluster) -> Iterator[OnHosts]:
    """Bare hosts in another checkout's place: of the same sandbox, another stack, a path that is not mounted yet."""
    own = replace(empty.checkout, stack=STACK)
    leader, followers = own.setting("leader"), own.setting("followers")
    small = followers["small"]
    stack = own.add(
        "path-sandbox",
        site="hosts",
        gpuProfiles=own.setting("gpuProfiles"),
        leader={**leader, "host": {**leader["host"], "address": "10.77.0.30"}},
        followers={"small": {**small, "host": {**small["host"], "address": "10.77.0.31"}}},
        sharedFolder={"kind": "path", "path": "/mnt/lab/graphistry"},
        release={"version": "2.50.1", "cuda": "12"},
    )
    sandbox = stack.root / ".sandbox"
    yield OnHosts(stack)
    hosts.want(sandbox, "lab", [])


def test_a_path_is_waited_for_until_somebody_has_mounted_it(on_a_path: OnHosts) -> None:
    cluster, sandbox = on_a_path, on_a_path.checkout.root / ".sandbox"
    refused = cluster.up()
    assert refused.returncode != 0
    assert "SharedFolderUnmounted" in refused.stdout
    assert "/mnt/lab/graphistry is on the root file system" in refused.stdout
    hosts.want(sandbox, "lab", [HostMachine("files", "10.77.0.40", 0, "", 0, (EXPORT,))])
    hosts.reach(sandbox, "lab")
    for node in NODES:
        # The server may still be starting.
        mounted = f"until mount -t nfs 10.77.0.40:{EXPORT} /mnt/lab; do sleep 0.5; done"
        cluster.run(node, f"mkdir -p /mnt/lab && timeout 60 bash -c '{mounted}'")
    cluster.succeed()
    states = {name: node["state"] for name, node in cluster.nodes().items()}
    assert states == dict.fromkeys(NODES, "ready")
    read_by_the_other(cluster)


def test_a_path_that_somebody_else_mounted_stays_when_the_cluster_ends(on_a_path: OnHosts) -> None:
    done = on_a_path.operate("down")
    assert done.returncode == 0, done.stdout
    for node in NODES:
        assert " /mnt/lab " in on_a_path.run(node, "cat /proc/self/mountinfo")
        assert "datasets" in on_a_path.run(node, "ls /mnt/lab/graphistry")
