"""Machines of the site `hosts`: what an operator finds on them, and how they come and go."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sandbox import lifecycle
from sandbox.machines import hosts, operator_key
from sandbox.machines.commands import MachineError
from sandbox.machines.hosts import HostMachine, Reached
from tests.machines.world import ADDRESSES, World, until

pytestmark = pytest.mark.engine

STACK = "onprem"
ONE = HostMachine("one", "10.77.0.10", 0, "NVIDIA L4", 23034, ("/srv/share", "/srv/other"))
TWO = HostMachine("two", "10.77.0.11", 2, "NVIDIA L4", 23034, release="2.50.1-12")
MOUNT = "sudo mkdir -p /mnt/it && sudo mount -t nfs -o nfsvers=4.2,hard,nosuid,nodev,_netdev"


class Pair:
    """Two hosts of a stack, as an operator reaches them."""

    def __init__(self, cloud: World, folder: Path) -> None:
        self.cloud, self.folder = cloud, folder
        self.sandbox = cloud.sandbox.directory
        self.key = folder / "key"
        self.key.write_text(operator_key.private_key(self.sandbox))
        self.key.chmod(0o600)
        hosts.want(self.sandbox, STACK, [ONE, TWO])
        self.reached: dict[str, Reached] = hosts.reach(self.sandbox, STACK)

    def ssh(
        self, name: str, script: str, key: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a script on a machine, whose host key must be the one that `reach` told."""
        reached = self.reached[name]
        known = self.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{reached.port} {reached.host_key}\n")
        options = ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes"]
        options += ["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=5"]
        command = ["ssh", "-F", "none", "-i", str(key or self.key), "-p", str(reached.port)]
        return subprocess.run(
            [*command, *options, f"{hosts.USER}@127.0.0.1", script],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def said(self, name: str, script: str) -> str:
        """What a script prints; fails with its words."""
        done = self.ssh(name, script)
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout.strip()

    def container(self, name: str) -> str:
        return hosts.container(STACK, name)


@pytest.fixture(scope="module")
def pair(cloud: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    yield Pair(cloud, tmp_path_factory.mktemp("operator"))
    hosts.want(cloud.sandbox.directory, STACK, [])
    for machine in (ONE, TWO):
        until(partial(cloud.gone, hosts.container(STACK, machine.name)), "an unwanted host is gone")
    listed = ("network", "ls", "--format", "{{.Name}}")
    until(lambda: "hosts-" not in cloud.docker(*listed).stdout, "their network goes too")
    folders = (cloud.sandbox.directory / "machines").glob
    until(lambda: not list(folders("host-*")), "and all their folders")


@pytest.fixture
def clean(pair: Pair) -> Iterator[None]:
    """Nothing mounted afterwards, and no exports beyond a server's own."""
    yield
    pair.ssh("two", "sudo umount -l /mnt/it")
    pair.ssh("one", "sudo rm -f /etc/exports.d/*.exports; sudo exportfs -ra")


def test_a_host_that_is_looked_at_often_still_lets_its_user_in(pair: Pair) -> None:
    """A look is a connection that ends before anybody logs in; all come from one address."""
    for _ in range(40):
        hosts.reach(pair.sandbox, STACK, seconds=5)
    assert pair.ssh("one", "true").returncode == 0


def test_an_operator_finds_a_bare_machine(pair: Pair) -> None:
    assert pair.said("two", f"whoami; hostname; {ADDRESSES}").split() == [
        "ubuntu",
        "two",
        TWO.address,
    ]
    assert pair.said("two", "sudo -n id -u") == "0"
    assert pair.said("two", "systemctl is-system-running --wait") == "running"
    assert pair.said("two", "nvidia-smi --query-gpu=name,memory.total --format=csv,noheader") == (
        "NVIDIA L4, 23034 MiB\nNVIDIA L4, 23034 MiB"
    )
    assert pair.ssh("one", "nvidia-smi").returncode == 6
    assert pair.said("two", "docker version --format '{{.Server.Version}}'").startswith("26")
    assert "docker-compose.yml" in pair.said("two", "ls /home/ubuntu/graphistry")
    assert pair.ssh("one", "ls /home/ubuntu/graphistry").returncode != 0  # its owner unpacked none
    assert pair.ssh("two", "env; sudo env; systemctl show-environment").stdout.count("AWS_") == 0
    assert pair.ssh("two", "curl -m 3 http://169.254.169.254/").returncode != 0
    assert pair.ssh("two", "test -e /run/cloud-init/enabled").returncode != 0


def test_the_sandboxs_own_agent_opens_them(pair: Pair) -> None:
    socket = pair.cloud.sandbox.environment({"SSH_AUTH_SOCK": "/the/users/own"})["SSH_AUTH_SOCK"]
    held = subprocess.run(
        ["ssh-add", "-L"], env={"SSH_AUTH_SOCK": socket}, capture_output=True, text=True, check=True
    )
    assert held.stdout.split()[:2] == operator_key.public_key(pair.sandbox).split()


def test_another_key_is_refused(pair: Pair, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    done = pair.ssh("two", "true", key)
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


def test_hosts_reach_each_other_and_keep_their_own_firewall(pair: Pair) -> None:
    fetch = f"curl -s -m 3 -o /dev/null http://{ONE.address}:8080/"
    pair.said("one", "sudo systemd-run --quiet --unit=web python3 -m http.server 8080")
    until(lambda: pair.ssh("two", fetch).returncode == 0, "the server answers")
    rules = (
        "table inet mine { chain before { type filter hook prerouting priority -150;"
        f" ip saddr {TWO.address} tcp dport 8080 drop; }}; }}"
    )
    pair.said("one", f"echo '{rules}' | sudo nft -f -")
    assert pair.ssh("two", fetch).returncode == 28
    time.sleep(1.5)  # a round of the sandbox's own, whose rules are not for hosts
    tables = pair.said("one", "sudo nft list tables")
    assert "inet mine" in tables
    assert "inet sandbox" not in tables
    pair.said("one", "sudo nft delete table inet mine")
    assert pair.ssh("two", fetch).returncode == 0


@pytest.mark.usefixtures("clean")
def test_a_ready_server_is_mounted(pair: Pair) -> None:
    pair.said("two", f"{MOUNT} {ONE.address}:/srv/share /mnt/it")
    pair.said("two", "echo hello | sudo tee /mnt/it/file")
    assert pair.said("one", "cat /srv/share/file") == "hello"
    assert pair.said("two", "findmnt -no SOURCE /mnt/it") == f"{ONE.address}:/srv/share"
    assert {"nosuid", "nodev"} <= set(pair.said("two", "findmnt -no OPTIONS /mnt/it").split(","))
    pair.said("one", "sudo systemctl restart nfs-server")
    until(lambda: pair.ssh("two", "timeout 20 cat /mnt/it/file").returncode == 0, "it comes back")


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    ("source", "words"),
    [
        (f"{ONE.address}:/etc", "No such file or directory"),
        (f"{TWO.address}:/srv/share", "Connection refused"),
        (f"-o nosuch {ONE.address}:/srv/share", "incorrect mount option"),
    ],
)
def test_what_is_not_exported_is_not_mounted(pair: Pair, source: str, words: str) -> None:
    done = pair.ssh("two", f"{MOUNT} {source} /mnt/it")
    assert done.returncode == 32
    assert words in done.stderr


@pytest.mark.usefixtures("clean")
def test_exports_are_for_their_clients_alone(pair: Pair) -> None:
    def export(client: str, more: str = "") -> None:
        line = f"/srv/private {client}(rw,no_root_squash,no_subtree_check){more}"
        pair.said(
            "one",
            "sudo mkdir -p /srv/private /etc/exports.d && sudo truncate -s 0 /etc/exports &&"
            f" echo '{line}' | sudo tee /etc/exports.d/a.exports && sudo exportfs -ra",
        )

    before = pair.said("one", "cat /etc/exports")
    mount = f"{MOUNT} {ONE.address}:/srv/private /mnt/it"
    export(f"{TWO.address}9")  # somebody else
    assert "access denied by server" in pair.ssh("two", mount).stderr
    export(f"{TWO.address}9", f"\n/srv/other {TWO.address}(rw)")
    assert "No such file" in pair.ssh("two", mount).stderr  # not even by who sees another folder
    export(TWO.address)
    pair.said("two", f"{mount} && sudo touch /mnt/it/seen")
    assert "No such file" in pair.ssh("two", f"{MOUNT} {ONE.address}:/srv/share /mnt/it").stderr
    assert pair.said("one", "sudo exportfs") == f"/srv/private\t{TWO.address}(rw)"
    export(f"{TWO.address}9")
    until(
        lambda: pair.ssh("two", "timeout 5 sudo touch /mnt/it/more").returncode != 0,
        "who is no client any more is cut off",
    )
    assert pair.ssh("one", "test -e /srv/private/seen").returncode == 0
    pair.said("one", f"echo '{before}' | sudo tee /etc/exports")


@pytest.mark.usefixtures("clean")
def test_a_read_only_export_is_not_written(pair: Pair) -> None:
    line = f"/srv/other {TWO.address}(ro)"
    pair.said(
        "one",
        f"sudo mkdir -p /etc/exports.d && echo '{line}' | sudo tee /etc/exports.d/b.exports"
        " && sudo exportfs -ra",
    )
    pair.said("two", f"{MOUNT} {ONE.address}:/srv/other /mnt/it")
    assert pair.ssh("two", "sudo touch /mnt/it/file").returncode != 0


@pytest.mark.parametrize("way", ["systemctl", "docker"])
def test_a_reboot_keeps_address_key_port_and_disk(pair: Pair, way: str) -> None:
    started = pair.cloud.inspect(pair.container("two"))["StartedAt"]
    pair.said("two", "sudo touch /root/kept; cat /etc/machine-id >/tmp/id; sudo cp /tmp/id /root")
    if way == "systemctl":
        pair.ssh("two", "sudo systemctl reboot")
    else:
        pair.cloud.docker("kill", pair.container("two"))
    until(
        lambda: pair.cloud.inspect(pair.container("two"))["StartedAt"] != started, "it starts again"
    )
    assert hosts.reach(pair.sandbox, STACK) == pair.reached
    assert pair.said("two", ADDRESSES) == TWO.address
    pair.said("two", "sudo test -e /root/kept && sudo cmp /root/id /etc/machine-id")


def test_a_host_that_is_replaced_has_another_key(pair: Pair) -> None:
    before = pair.reached["two"]
    pair.said("two", "sudo touch /root/kept")
    hosts.replace(pair.sandbox, STACK, "two")
    until(lambda: hosts.reach(pair.sandbox, STACK)["two"] != before, "another machine")
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in pair.ssh("two", "true").stderr
    pair.reached = hosts.reach(pair.sandbox, STACK)
    assert pair.reached["two"].port == before.port
    assert pair.ssh("two", "sudo test -e /root/kept").returncode == 1


def test_a_host_that_is_known_may_be_away(pair: Pair) -> None:
    known = {"two": pair.reached["two"].host_key}
    pair.cloud.docker("pause", pair.container("two"))
    try:
        assert hosts.reach(pair.sandbox, STACK, known=known) == pair.reached
        assert hosts.present(pair.sandbox, STACK) == pair.reached
        with pytest.raises(MachineError, match="not reached: two: takes no SSH"):
            hosts.reach(pair.sandbox, STACK, seconds=6)
    finally:
        pair.cloud.docker("unpause", pair.container("two"))


def test_a_machine_is_found_by_its_address(pair: Pair) -> None:
    assert hosts.container_at(pair.sandbox, STACK, TWO.address) == pair.container("two")
    assert hosts.container_at(pair.sandbox, STACK, "10.77.0.98") is None


def test_gpus_change_while_a_host_runs(pair: Pair) -> None:
    changed = replace(TWO, gpus=1, gpu_name="NVIDIA H100 80GB HBM3", gpu_memory_mib=81559)
    hosts.want(pair.sandbox, STACK, [ONE, changed])
    until(lambda: "H100" in pair.said("two", "nvidia-smi -L"), "the new GPU is seen")
    hosts.want(pair.sandbox, STACK, [ONE, TWO])
    until(lambda: "L4" in pair.said("two", "nvidia-smi -L"), "the old ones are seen")


def test_another_stack_shares_or_meets_the_network(pair: Pair) -> None:
    near = HostMachine("near", "10.77.0.20", 0, "", 0)
    hosts.want(pair.sandbox, "team", [near])
    hosts.reach(pair.sandbox, "team")
    assert pair.ssh("one", f"ping -c 1 -W 2 {near.address}").returncode == 0
    far = HostMachine("far", "10.78.0.20", 0, "", 0)
    hosts.want(pair.sandbox, "team", [far])
    hosts.reach(pair.sandbox, "team")
    assert pair.ssh("one", f"ping -c 1 -W 2 {far.address}").returncode == 0
    assert pair.ssh("one", f"ping -c 1 -W 2 {near.address}").returncode != 0
    hosts.want(pair.sandbox, "team", [])
    until(lambda: pair.cloud.gone(hosts.container("team", "far")), "it goes")
    with pytest.raises(MachineError, match="the stack team has no machines"):
        hosts.reach(pair.sandbox, "team")


def test_a_host_that_cannot_be_made_says_why(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "HOPELESS_SECONDS", 2)
    overlapping = HostMachine("a", "10.40.7.10", 0, "", 0)  # in the test cloud's VPC
    vpc = pair.cloud.run("echo up")  # whose network is there once a machine is in it
    pair.cloud.booted(vpc)
    hosts.want(pair.sandbox, "lost", [overlapping])
    with pytest.raises(MachineError, match=r"a: the network 10\.40\.7\.0/24 .* must not overlap"):
        hosts.reach(pair.sandbox, "lost")
    hosts.want(pair.sandbox, "lost", [])
    pair.cloud.client("ec2").terminate_instances(InstanceIds=[vpc])
    assert pair.said("one", "true") == ""


def test_a_broken_list_leaves_the_hosts_alone(pair: Pair) -> None:
    file = pair.sandbox / "hosts.json"
    before = file.read_text()
    for broken in ("{", '{"onprem": [{"name": "one"}]}', "[]", '{"onprem": 1}'):
        file.write_text(broken)
        time.sleep(1.2)
        assert pair.said("one", "true") == ""
        with pytest.raises(MachineError, match=r"hosts\.json is unreadable, remove it"):
            hosts.want(pair.sandbox, STACK, [ONE])
    file.write_text(before)
    assert hosts.reach(pair.sandbox, STACK) == pair.reached


@pytest.mark.parametrize(
    ("machines", "words"),
    [
        ([ONE, replace(TWO, name="one")], "a name of a-z"),
        ([replace(ONE, name="O ne")], "a name of a-z"),
        ([ONE, replace(TWO, address=ONE.address)], "x/one has 10.77.0.10 already"),
        ([ONE, replace(TWO, address="10.77.1.11")], "in one /24"),
        ([replace(ONE, address="10.77.0.1")], "the network's own address"),
        ([replace(ONE, address="here")], "here"),
    ],
)
def test_a_description_that_cannot_be_right_is_refused(
    tmp_path: Path, machines: list[HostMachine], words: str
) -> None:
    with pytest.raises(MachineError, match=words):
        hosts.want(tmp_path, "x", machines)
    assert hosts.wanted(tmp_path) == {}


def test_two_stacks_cannot_have_one_address(tmp_path: Path) -> None:
    hosts.want(tmp_path, "a", [ONE])
    with pytest.raises(MachineError, match=r"a/one has 10\.77\.0\.10 already"):
        hosts.want(tmp_path, "b", [replace(TWO, address=ONE.address)])
    hosts.want(tmp_path, "a", [ONE, TWO])  # a stack may say the same again
    assert hosts.wanted(tmp_path) == {"a": (ONE, TWO)}


def test_the_operators_key_is_made_once(tmp_path: Path) -> None:
    assert operator_key.private_key(tmp_path) == operator_key.private_key(tmp_path)
    assert (tmp_path / "machines" / "operator_key").stat().st_mode & 0o777 == 0o600
    assert operator_key.public_key(tmp_path).startswith("ssh-ed25519 ")


def test_callers_at_the_same_time_have_one_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everyone, link = threading.Barrier(8), os.link

    def together(source: str, target: Path) -> None:
        everyone.wait(30)  # nobody has it yet
        link(source, target)

    monkeypatch.setattr(os, "link", together)
    with ThreadPoolExecutor(8) as callers:
        found = set(callers.map(operator_key.private_key, [tmp_path] * 8))
    assert len(found) == 1
    assert [each.name for each in (tmp_path / "machines").iterdir()] == ["operator_key"]


def test_a_sandbox_that_boots_no_machines_says_so(tmp_path: Path) -> None:
    hosts.want(tmp_path, STACK, [ONE])
    with pytest.raises(MachineError, match="does not run"):
        hosts.reach(tmp_path, STACK)
    lifecycle.start(tmp_path)
    try:
        hosts.want(tmp_path, STACK, [ONE])
        with pytest.raises(MachineError, match=r"boots no machines.*SANDBOX_MACHINES"):
            hosts.reach(tmp_path, STACK)
    finally:
        lifecycle.stop(tmp_path)
