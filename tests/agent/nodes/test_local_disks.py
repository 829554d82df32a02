"""Docker's data on the disks that come with a machine of AWS, other and empty ones after each stop."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import limits
from agent.failures import Failure
from agent.node import Node
from agent.phases.disks import disks
from agent.phases.preflight import preflight
from tests.agent.fakes import FakeMachine

MakeNode = Callable[..., Node]
RELEASE = {"version": "2.50.1", "cuda": "12", "source": "s3://b/k", "sha256": "0" * 64}


@pytest.fixture
def node(fake: FakeMachine, make_node: MakeNode) -> Node:
    return make_node("follower", release=RELEASE, docker={"useLocalDisks": True})


def has_disk(fake: FakeMachine) -> Path:
    """Give the machine an empty disk of its own."""
    (fake.root / "by-id").mkdir()
    device = fake.root / "by-id" / "nvme-Amazon_EC2_NVMe_Instance_Storage_AWS1"
    device.write_bytes(bytes(2 * 1024 * 1024))
    return device


def told(node: Node) -> str:
    """What the check says."""
    (found,) = [each for each in node.report.document["checks"] if each["name"] == "localDisk"]
    return str(found["detail"])


def test_docker_has_its_data_on_the_disk(fake: FakeMachine, node: Node) -> None:
    device = has_disk(fake)
    disks(node)
    root = str(fake.root / "docker-data")
    assert fake.log("mount") == [f"-o noatime {device} {root}"]
    settings = json.loads((fake.root / "daemon.json").read_text())
    assert settings["data-root"] == root
    assert settings["features"] == {"containerd-snapshotter": False}
    assert told(node) == f"Docker's data is in {root}"
    assert "restart docker.service" not in fake.log("systemctl"), "it was started with its settings"


def test_after_a_stop_docker_is_stopped_while_another_disk_is_mounted(
    fake: FakeMachine, node: Node
) -> None:
    has_disk(fake)
    disks(node)
    (fake.root / "mounts").unlink()
    before = len(fake.log("systemctl"))
    disks(node)
    assert "stop docker.socket docker.service" in fake.log("systemctl")[before:]
    assert len(fake.log("mount")) == 2
    assert len(fake.log("mkfs")) == 2


def test_of_a_deep_learning_ami_it_has_a_folder_on_what_is_mounted_there(
    fake: FakeMachine, node: Node
) -> None:
    store = fake.root / "instance-store"
    store.mkdir()
    (fake.root / "mounts").write_text(f"{store}\n")
    fake.command("blkid", "echo TYPE=LVM2_member; echo USAGE=raid")
    has_disk(fake)
    disks(node)
    assert fake.log("mount") == [f"--bind {store}/graphistry-docker {fake.root}/docker-data"]
    assert not fake.log("mkfs")


def test_a_disk_in_use_is_left_alone_and_the_root_disk_must_have_room(
    fake: FakeMachine, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_disk(fake)
    fake.command("blkid", "echo TYPE=LVM2_member; echo USAGE=raid")
    disks(node)
    assert "LVM2_member" in told(node)
    assert fake.log("mount") == []
    monkeypatch.setattr("agent.phases.preflight._free_gib", lambda _: 1.0)
    with pytest.raises(Exception, match="1 GiB free"):
        preflight(node)


def test_a_release_has_room_beside_the_one_that_is_there(
    fake: FakeMachine, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = make_node(release=RELEASE)
    fake.make_release(fake.home / "releases" / "2.49.0-12")
    monkeypatch.setattr("agent.phases.preflight._free_gib", lambda _: limits.FREE_GIB)
    preflight(node)
    monkeypatch.setattr("agent.phases.preflight._free_gib", lambda _: limits.FREE_GIB - 1)
    with pytest.raises(Failure) as raised:
        preflight(node)
    assert raised.value.code == "DiskSpaceLow"
    fake.make_release(fake.home / "releases" / "2.50.1-12")
    preflight(node)  # which is the one that was to have room


def test_a_machine_without_disks_says_so(node: Node) -> None:
    disks(node)
    assert told(node) == "the machine has none; images are on the root disk"


def test_what_a_leaders_containers_keep_in_volumes_is_on_the_data_volume(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    has_disk(fake)
    fake.has_volume()
    root, lasting = fake.root / "docker-data", fake.root / "data" / "docker_volumes"
    (root / "volumes" / "redis" / "_data").mkdir(parents=True)
    (root / "volumes" / "redis" / "_data" / "dump.rdb").write_text("rows")
    leader = make_node("leader", release=RELEASE, docker={"useLocalDisks": True})
    disks(leader)
    assert (lasting / "redis" / "_data" / "dump.rdb").read_text() == "rows"
    assert fake.log("mount")[1:] == [f"--bind {lasting} {root}/volumes"]
    (lasting / "redis" / "_data" / "dump.rdb").write_text("newer rows")
    (fake.root / "mounts").unlink()
    disks(leader)
    assert (lasting / "redis" / "_data" / "dump.rdb").read_text() == "newer rows"


def test_containers_of_a_leader_end_before_their_volumes_move(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    """As of an agent that had left them on the local disk."""
    has_disk(fake)
    fake.has_volume()
    root = fake.root / "docker-data"
    (root / "volumes").mkdir(parents=True)
    (fake.root / "mounts").write_text(f"{root}\n")
    fake.command("docker", f'echo "$@" >> "{fake.root}/docker.log"; [ "$1" != ps ] || echo c0ffee')
    leader = make_node("leader", release=RELEASE, docker={"useLocalDisks": True})
    disks(leader)
    assert "stop --time 60 c0ffee" in fake.log("docker")
    assert fake.log("mount") == [f"--bind {fake.root}/data/docker_volumes {root}/volumes"]
    before = len(fake.log("docker"))
    disks(leader)
    assert not [each for each in fake.log("docker")[before:] if each.startswith("stop")]
