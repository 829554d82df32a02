"""Disks that AWS enlarged, and disks that are nearly full."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import jsonschema
import pytest

from agent.converge import converge
from agent.failures import Failure
from agent.machine import disk_growth, disk_space, docker, systemd
from agent.machine.disk_space import Disk
from agent.machine.systemd import Mount
from agent.node import Node
from agent.phases import preflight
from agent.repair import TRIES, Repairs
from model.node_report import NodeReport
from tests.agent.fakes import FakeMachine, redirect

from .test_converge import SCHEMA, claimed, failure, unchanged

MakeNode = Callable[..., Node]
MIB = 2**20
TOOLS = ("losetup", "growpart", "sfdisk", "partx", "resize2fs", "mkfs.ext4", "mkfs.xfs")
needs_disks = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, TOOLS)),
    reason=f"makes real disks: needs root and {', '.join(TOOLS)}",
)
CAP_SYS_RESOURCE = 24
"""What ext4 wants of whoever grows it while it is mounted (capabilities(7)); root of some virtual machines lacks it."""


def may_grow_ext4() -> bool:
    lines = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    return bool(int(lines["CapEff"], 16) >> CAP_SYS_RESOURCE & 1)


@pytest.fixture
def follower(fake: FakeMachine, make_node: MakeNode) -> Node:
    node = claimed(fake, make_node)
    assert converge(node, unchanged), node.report.document["failure"]
    return node


def warnings(node: Node) -> tuple[str, ...]:
    """Of the report, which must fit both its schemas."""
    jsonschema.validate(node.report.document, SCHEMA)
    return NodeReport.model_validate(node.report.document).warnings


def _forget_partitions(disk: str) -> None:
    """As soon as nobody holds them: a container that starts has this computer's mounts too, until it leaves them."""
    end = time.monotonic() + 30
    while subprocess.run(["partx", "--delete", disk]).returncode:
        assert time.monotonic() < end, f"a partition of {disk} is still in use"
        time.sleep(0.1)


class RealDisk:
    """A loop device that grows as a volume of EBS does: the disk, and nothing on it."""

    def __init__(self, stack: ExitStack, folder: Path, kind: str, *, partitioned: bool) -> None:
        self.file, self.path = folder / "disk.img", folder / "mounted"
        self.file.touch()
        self.path.mkdir()
        os.truncate(self.file, 600 * MIB)
        if partitioned:
            # As Ubuntu's images for AWS: the root is partition 1, and lies behind those with higher numbers.
            table = "label: gpt\n1: start=221184\n14: start=2048, size=8192\n"
            subprocess.run(["sfdisk", "-q", self.file], input=table, text=True, check=True)
        words = ["losetup", "--find", "--show", str(self.file)]
        self.disk = subprocess.check_output(words, text=True).strip()
        stack.callback(subprocess.check_call, ["losetup", "-d", self.disk])
        if partitioned:
            # Not the kernel, which may know no GPT.
            subprocess.run(["partx", "--add", self.disk], check=True)
            stack.callback(_forget_partitions, self.disk)
        device = f"{self.disk}p1" if partitioned else self.disk
        subprocess.run([f"mkfs.{kind}", "-q", device], check=True)
        subprocess.run(["mount", device, self.path], check=True)
        stack.callback(subprocess.check_call, ["umount", str(self.path)])

    def grow(self) -> None:
        os.truncate(self.file, 1000 * MIB)
        subprocess.run(["losetup", "--set-capacity", self.disk], check=True)

    @property
    def size_mib(self) -> int:
        return disk_space._disk("data", str(self.path)).size_mib


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Callable[..., RealDisk]]:
    with ExitStack() as stack:
        yield lambda kind, **how: RealDisk(stack, tmp_path, kind, **how)


@needs_disks
@pytest.mark.parametrize("partitioned", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        "xfs",
        pytest.param(
            "ext4", marks=pytest.mark.skipif(not may_grow_ext4(), reason="no CAP_SYS_RESOURCE")
        ),
    ],
)
def test_a_mounted_file_system_follows_its_disk(
    disks: Callable[..., RealDisk],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    partitioned: bool,
) -> None:
    monkeypatch.setattr("agent.machine.disk_growth._attempts", {})
    disk = disks(kind, partitioned=partitioned)
    before = disk.size_mib
    assert disk_growth._follow(str(disk.path)) is None
    assert disk.size_mib == before
    disk.grow()
    assert disk_growth._follow(str(disk.path)) is None
    assert disk.size_mib > before + 350


class TestWithoutTools:
    """What comes of a disk of a size that is in two files."""

    PATH = "/mnt/graphistry-data"

    @pytest.fixture
    def size(self, fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> Path:
        found = Mount(self.PATH, "ext4", "259:3", "/dev/nvme9n1", ("rw", "nosuid", "nodev"))
        monkeypatch.setattr(
            "agent.machine.systemd.mount_at", lambda path: found if path == self.PATH else None
        )
        redirect(monkeypatch, "DATA", self.PATH)
        file = fake.root / "devices" / "259:3" / "size"
        file.parent.mkdir(parents=True)
        file.write_text("41943040")
        fake.command("resize2fs", f'echo "$@" >> "{fake.root}/resize2fs.log"')
        return file

    def test_nothing_is_run_while_a_disk_has_the_size_it_had(
        self, fake: FakeMachine, size: Path, leader: Node
    ) -> None:
        repairs = Repairs(leader)
        repairs.look()
        assert fake.log("resize2fs") == ["/dev/nvme9n1"]
        size.write_text("83886080")
        repairs.look()
        repairs.look()
        assert fake.log("resize2fs") == ["/dev/nvme9n1"] * 2

    def test_one_that_does_not_follow_is_a_warning_and_tried_again(
        self,
        fake: FakeMachine,
        size: Path,
        leader: Node,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        fake.command("resize2fs", "echo 'resize2fs: Permission denied to resize' >&2; exit 1")
        size.write_text("83886080")
        repairs = Repairs(leader)
        repairs.look()
        said = f"the file system at {self.PATH} does not grow to its disk"
        assert warnings(leader) == (f"{said}: resize2fs: Permission denied to resize",)
        assert leader.report.document["state"] == "ready"
        fake.command("resize2fs", "")
        repairs.look()
        assert warnings(leader)
        monkeypatch.setattr("agent.machine.disk_growth.RETRY_LAST", 0.0)
        repairs.look()
        assert warnings(leader) == ()

    def test_disks_of_a_host_are_left_alone(
        self, fake: FakeMachine, size: Path, make_host: MakeNode
    ) -> None:
        assert disk_growth.follow_disks(make_host(), [self.PATH]) == []
        assert fake.log("resize2fs") == []

    @pytest.fixture
    def leader(self, fake: FakeMachine, size: Path, make_node: MakeNode) -> Node:
        fake.has_volume()
        node = make_node()
        assert converge(node, unchanged), node.report.document["failure"]
        return node


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(84, ()), (85, ("root (/) is 85 % full, 2.9 of 20 GiB free",))],
)
def test_a_disk_that_fills_is_a_warning_of_a_ready_node(
    fake: FakeMachine, follower: Node, percent: int, expected: tuple[str, ...]
) -> None:
    fake.disk_is_full(percent)
    Repairs(follower).look()
    assert follower.report.document["state"] == "ready"
    assert warnings(follower) == expected
    assert NodeReport.model_validate(follower.report.document).disks[0].size_mib == 20480


def test_a_disk_that_is_nearly_full_costs_nothing_but_readiness(
    fake: FakeMachine, follower: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.limits.REPAIR", 0)
    fake.disk_is_full(96)
    # What a full disk brings about is no reason for another machine either.
    for name in ("states.json", "unhealthy.json"):
        (fake.root / name).write_text('{"nexus": ["running", "unhealthy", 0]}')
    repairs = Repairs(follower)
    for _ in range(TRIES + 2):
        repairs.look()
    document = follower.report.document
    assert (document["state"], document["failure"]["code"]) == ("degraded", "DiskAlmostFull")
    assert "root (/) is 96 % full" in document["failure"]["message"]
    assert "rootVolumeGib" in document["failure"]["hint"]
    assert follower.store.unhealthy == []  # type: ignore[attr-defined]


def test_a_node_does_not_get_ready_on_a_disk_that_is_nearly_full(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    fake.disk_is_full(97)
    assert failure(claimed(fake, make_node))["code"] == "DiskAlmostFull"


def test_used_space_is_counted_as_df_counts_it(tmp_path: Path) -> None:
    shown = subprocess.check_output(["df", "--output=pcent", tmp_path], text=True).split()[-1]
    assert abs(disk_space._disk("root", str(tmp_path)).percent - int(shown.strip("%"))) <= 1.5


def test_a_disk_that_is_two_of_them_is_listed_once(
    fake: FakeMachine, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    specification = make_node().specification
    same, other = "/", "/proc"
    named = {"root": same, "data": other, "docker": same}
    monkeypatch.setattr(disk_space, "paths", lambda _: named)
    assert [each.name for each in disk_space.read(specification)] == ["root", "data"]
    monkeypatch.setattr(systemd, "mount_of", lambda _: ("/", "overlay"))
    monkeypatch.setattr(disk_space, "NOT_DISKS", ("overlay",))
    assert disk_space.read(specification) == []


def test_dockers_disk_is_where_its_settings_say(fake: FakeMachine, make_node: MakeNode) -> None:
    specification = make_node("follower").specification
    assert disk_space.paths(specification) == {
        "root": "/",
        "docker": "/var/lib/docker",
        "containerd": "/var/lib/containerd",
    }
    (fake.root / "containerd.toml").write_text('version = 3\nroot = "/mnt/containerd"\n')
    assert disk_space.paths(specification)["containerd"] == "/mnt/containerd"
    (fake.root / "daemon.json").write_text('{"data-root": "/mnt/docker"}')
    assert disk_space.paths(specification)["docker"] == "/mnt/docker"


SNAPSHOTTER = [["driver-type", "io.containerd.snapshotter.v1"]]
"""What Docker 28 and 29 say of their store where containerd has the images."""


@pytest.mark.parametrize(
    ("status", "folder"),
    [
        ([["Backing Filesystem", "extfs"]], "/mnt/docker"),
        (SNAPSHOTTER, "/var/lib/containerd"),
        (None, "/mnt/docker"),
    ],
)
def test_images_are_where_docker_says(fake: FakeMachine, status: object, folder: str) -> None:
    assert docker.images_folder(status, "/mnt/docker") == Path(folder)


@pytest.mark.parametrize(
    ("free", "is_one", "told"),
    [
        ({"home": 100, "images": 39}, True, None),
        ({"home": 41, "images": 41}, True, None),
        ({"home": 39, "images": 39}, True, "39 GiB free; the release needs 40 GiB there"),
        ({"home": 5, "images": 37}, False, None),
        ({"home": 3, "images": 37}, False, "3 GiB free; the release needs 4 GiB there"),
        ({"home": 100, "images": 35}, False, "containerd: 35 GiB free; the release needs 36 GiB"),
    ],
)
def test_room_is_summed_per_file_system(
    fake: FakeMachine,
    make_node: MakeNode,
    monkeypatch: pytest.MonkeyPatch,
    free: dict[str, float],
    is_one: bool,
    told: str | None,
) -> None:
    release = {
        "version": "2.50.1",
        "cuda": "12",
        "source": "https://host/release",
        "sha256": "0" * 64,
    }
    images = fake.root / "containerd"
    (fake.root / "containerd.toml").write_text(f'root = "{images}"\n')
    answers = {"{{json .DriverStatus}}": json.dumps(SNAPSHOTTER)}
    monkeypatch.setattr(
        docker, "information", lambda template: answers.get(template, "/mnt/docker")
    )
    rooms = {fake.home: free["home"], images: free["images"]}
    monkeypatch.setattr(preflight, "_free_gib", rooms.__getitem__)
    if not is_one:
        monkeypatch.setattr(
            preflight, "_by_file_system", lambda folders: [[each] for each in folders]
        )
    node = make_node("follower", release=release)
    if told is None:
        preflight._space(node)
        return
    with pytest.raises(Failure, match=told) as raised:
        preflight._space(node)
    assert raised.value.code == "DiskSpaceLow"


def test_the_percentage_leaves_out_what_is_kept_for_root() -> None:
    assert Disk("root", "/", 1000, 900, 50).percent == pytest.approx(94.7, abs=0.1)
