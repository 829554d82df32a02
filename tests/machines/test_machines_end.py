"""Sandboxes with machines side by side, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox import lifecycle
from sandbox.machines import hosts
from sandbox.machines.availability import Machines
from sandbox.machines.hosts import HostMachine
from sandbox.machines.leftovers import PrivateDocker
from tests.machines import world
from tests.machines.world import World, until

pytestmark = pytest.mark.engine

Start = Callable[[str], World]


@pytest.fixture
def started(tmp_path: Path, machines: Machines) -> Iterator[Start]:
    directories: list[Path] = []

    def start(name: str) -> World:
        directories.append(tmp_path / name)
        return world.start(directories[-1], machines)

    yield start
    for directory in directories:
        world.remove(directory)


def traces(directory: Path) -> list[str]:
    """What a sandbox has on this computer outside of its directory."""
    place = PrivateDocker(directory / "machines")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    loops = subprocess.run(["losetup", "--list"], capture_output=True, text=True).stdout
    found = [line for line in mounts if place.token in line or f" {directory}/" in line]
    found += [line for line in loops.splitlines() if f" {directory}/" in line]
    found += [str(each) for each in Path("/sys/fs/cgroup").glob(f"*/{place.cgroup}")]
    found += [str(each) for each in Path("/sys/fs/cgroup").glob(place.cgroup)]
    found += [str(place.sockets)] if place.sockets.exists() else []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(place.sockets) in command or str(directory) in command:
            found.append(command)
    return found


def test_two_sandboxes_with_the_same_addresses_do_not_meet(started: Start) -> None:
    clouds = [started("first"), started("second")]
    machines = [cloud.run(f"echo {index} >/root/own") for index, cloud in enumerate(clouds)]
    for index, (cloud, machine) in enumerate(zip(clouds, machines, strict=True)):
        cloud.booted(machine)
        assert cloud.shell(machine, "cat /root/own") == str(index)
        assert len(cloud.docker("ps", "-q").stdout.split()) == 1
    lifecycle.stop(clouds[0].sandbox.directory)
    gone(clouds[0].sandbox.directory)
    assert clouds[1].shell(machines[1], "cat /root/own") == "1"


def gone(directory: Path) -> None:
    """Nothing is left, as soon as what ends with the sandbox's process has noticed."""
    until(lambda: traces(directory) == [], f"no trace of {directory}")


HOST = HostMachine("one", "10.77.0.10", 0, "", 0)


def full(cloud: World) -> None:
    """A machine with disks, a file server, and a host."""
    hosts.want(cloud.sandbox.directory, "onprem", [HOST])
    hosts.reach(cloud.sandbox.directory, "onprem")
    efs, ec2 = cloud.client("efs"), cloud.client("ec2")
    system = efs.create_file_system(CreationToken="full")["FileSystemId"]
    target = efs.create_mount_target(
        FileSystemId=system, SubnetId=cloud.subnets[0], SecurityGroups=[cloud.group]
    )
    machine = cloud.booted(cloud.run("echo up"))
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    ec2.attach_volume(Device="/dev/sdf", InstanceId=machine, VolumeId=volume)
    count = "test $(ls /dev/disk/by-id | wc -l) = 2"
    until(lambda: cloud.succeeds(machine, count), "both disks are there")
    mkfs = "for each in /dev/disk/by-id/*Block*; do mkfs.ext4 -q $each && mount $each /mnt; done"
    cloud.shell(machine, mkfs)
    until(lambda: cloud.inspect(target["MountTargetId"]).get("Running"), "the file server runs")


def test_a_stopped_sandbox_leaves_no_trace(started: Start) -> None:
    cloud = started("stopped")
    full(cloud)
    directory = cloud.sandbox.directory
    assert traces(directory)
    assert lifecycle.stop(directory)
    gone(directory)


@pytest.mark.parametrize("then", ["stop", "start"])
def test_a_killed_sandbox_leaves_no_trace_after_the_next_stop_or_start(
    started: Start, machines: Machines, then: str
) -> None:
    cloud = started("killed")
    full(cloud)
    directory = cloud.sandbox.directory
    os.kill(cloud.sandbox.pid, signal.SIGKILL)
    until(lambda: lifecycle.find(directory) is None, "the process is gone")
    if then == "start":
        again = lifecycle.start(directory, machines=machines)
        assert again.machines
        listed = subprocess.run(
            ["docker", "-H", str(again.docker_host), "ps", "-aq"], capture_output=True, text=True
        )
        assert listed.stdout == ""
        assert hosts.wanted(directory) == {}
        hosts.want(directory, "onprem", [HOST])
        hosts.reach(directory, "onprem")
    lifecycle.stop(directory)
    gone(directory)


def test_the_docker_ends_by_itself_when_its_sandbox_was_killed(started: Start) -> None:
    cloud = started("alone")
    cloud.booted(cloud.run("echo up"))
    directory = cloud.sandbox.directory
    os.kill(cloud.sandbox.pid, signal.SIGKILL)
    until(
        lambda: not [line for line in traces(directory) if line.startswith(("dockerd", "contai"))],
        "its Docker ends",
        30,
    )


def test_a_sandbox_without_machines_has_none(tmp_path: Path) -> None:
    sandbox = lifecycle.start(tmp_path / "off")
    try:
        assert not sandbox.machines
        assert sandbox.environment({})["SANDBOX_MACHINES"] == "off"
        assert not (tmp_path / "off" / "machines").exists()
    finally:
        lifecycle.stop(tmp_path / "off")
