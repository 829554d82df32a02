"""Faults between the operator's computer and hosts: what `up` says, and that the next one after the cure is green."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.machines import hosts, operator_key
from tests.cluster.nodes import ON, changed_nothing, tells
from tests.cluster.on_hosts import STORE, OnHosts, workers

NODES = ("leader", "small", "large")
HOME = "/opt/graphistry-cluster"
BASHRC = "/home/ubuntu/.bashrc"
CUSTOM = "/home/ubuntu/graphistry/data/config/custom.env"


def forge_workers(cluster: OnHosts, node: str) -> str:
    return cluster.run(node, f"grep ^FORGE_NUM_WORKERS= {CUSTOM}").strip().partition("=")[2]


def sandbox(cluster: OnHosts) -> Path:
    return cluster.checkout.root / ".sandbox"


def assert_shared(cluster: OnHosts, writer: str, *readers: str) -> None:
    """A data set that one node stores is read by the others."""
    dataset = cluster.exercise(writer, "upload", "shared")["datasetId"]
    for node in readers:
        assert cluster.exercise(node, "read", dataset) == {"edges": 5}


@contextmanager
def away(cluster: OnHosts, node: str) -> Iterator[None]:
    """Meanwhile, a host answers nobody: the sandbox starts a machine that ends, and not one that sleeps."""
    machine = cluster.machine(node)
    machine.pause()
    try:
        yield
    finally:
        machine.unpause()


@contextmanager
def moved(cluster: OnHosts, node: str, file: str) -> Iterator[None]:
    """Meanwhile, a file of a host is elsewhere."""
    cluster.run(node, f"mv {file} /root/moved")
    try:
        yield
    finally:
        cluster.run(node, f"mv /root/moved {file}")


def test_a_host_that_is_away_stops_nothing_but_itself(cluster: OnHosts) -> None:
    with workers(cluster, "t4", 3):
        with away(cluster, "small"):
            done = cluster.up()
            assert done.returncode != 0
            table = done.stdout.partition("looking at 3 hosts")[2].partition("Updating")[0]
            assert "small" in table
            assert "large" not in table
            assert "check address and port" in table
            assert "small-specification" in done.stdout
            assert "Traceback" not in done.stdout
            assert "`./cluster up onprem-sandbox` continues from here" in done.stdout
            assert forge_workers(cluster, "leader") == "3"
            states = {name: node["state"] for name, node in cluster.nodes().items()}
            assert states == {"leader": "ready", "small": "unreachable", "large": "ready"}
        assert forge_workers(cluster, "small") != "3"
        cluster.succeed()
        assert forge_workers(cluster, "small") == "3"
    cluster.succeed()


def test_every_problem_of_every_host_is_told_before_anything_is_changed(cluster: OnHosts) -> None:
    before, workers_before = cluster.started(), forge_workers(cluster, "leader")
    with workers(cluster, "t4", 3):
        with (
            moved(cluster, "small", "/etc/sudoers.d/90-owner"),
            moved(cluster, "large", "/home/ubuntu/.ssh/authorized_keys"),
        ):
            done = cluster.up()
        assert done.returncode != 0
        for words in (
            "ubuntu may not use sudo without a password",
            "ubuntu ALL=(ALL) NOPASSWD: ALL",
            "the host does not let ubuntu in with the key of the stack file",
            "add your public key to ~ubuntu/.ssh/authorized_keys",
            "nothing was changed",
        ):
            assert words in " ".join(done.stdout.split()), done.stdout
        assert cluster.started() == before
        assert forge_workers(cluster, "leader") == workers_before
        cluster.succeed()
        assert forge_workers(cluster, "leader") == "3"
    cluster.succeed()


def test_a_private_key_that_no_host_knows_changes_nothing(cluster: OnHosts, tmp_path: Path) -> None:
    before, key = cluster.started(), sandbox(cluster) / "machines" / "operator_key"
    right = key.read_text()
    key.write_text(operator_key.private_key(tmp_path))
    try:
        done = cluster.up()
    finally:
        key.write_text(right)
    assert done.returncode != 0
    assert "3 problems on the hosts, listed above; nothing was changed" in done.stdout
    assert operator_key.private_key(tmp_path).splitlines()[1] not in done.stdout
    assert changed_nothing(cluster.succeed())
    assert cluster.started() == before


def test_an_agent_that_was_cut_is_sent_again(cluster: OnHosts) -> None:
    cluster.run("large", f"truncate -s 1000 {HOME}/agent.pyz")
    assert "it lacks what was delivered: agent" in cluster.succeed()
    assert cluster.run("large", f"stat -c %s {HOME}/agent.pyz") == cluster.run(
        "small", f"stat -c %s {HOME}/agent.pyz"
    )
    assert changed_nothing(cluster.succeed())


@contextmanager
def awkward_users(cluster: OnHosts) -> Iterator[None]:
    """Meanwhile, a user has a ~/.bashrc that prints, and another one a shell that runs nothing."""
    noise = "echo Welcome to rack 2; printf '> '; echo '{}' >&2"
    cluster.run("small", f'cp -p {BASHRC} /root/bashrc; echo "{noise}" | tee {BASHRC}')
    cluster.run("large", "usermod --shell /usr/sbin/nologin ubuntu")
    try:
        yield
    finally:
        cluster.run("small", f"mv /root/bashrc {BASHRC}")
        cluster.run("large", "usermod --shell /bin/bash ubuntu")


def test_what_a_login_shell_does_is_told_or_does_not_matter(cluster: OnHosts) -> None:
    with workers(cluster, "t4", 3), awkward_users(cluster):
        done = cluster.up()
        assert done.returncode != 0
        assert tells(done.stdout, "the login shell of ubuntu runs no commands:")
        assert tells(done.stdout, "`sudo chsh -s /bin/bash ubuntu`,")
        troubles = done.stdout.partition("looking at 3 hosts")[2].partition("Updating")[0]
        assert "small" not in troubles
        cluster.run("large", "usermod --shell /bin/bash ubuntu")
        cluster.succeed()
        assert forge_workers(cluster, "small") == "3"
    cluster.succeed()
    assert cluster.run("small", "ls -A /home/ubuntu | grep graphistry-cluster; ls /tmp") == ""


def test_what_a_follower_has_lost_is_brought_again(cluster: OnHosts) -> None:
    services = cluster.started()
    secret = cluster.run("small", f"sha256sum {STORE}/secret.json")
    cluster.run("small", f"rm {STORE}/secret.json")
    cluster.run("large", f"rm {HOME}/wanted.json {HOME}/agent.pyz")
    shown = cluster.succeed()
    assert "it lacks what was delivered: secret" in shown
    assert "it lacks what was delivered: agent, specification" in shown
    assert cluster.run("small", f"sha256sum {STORE}/secret.json") == secret
    assert cluster.run("large", f"ls {HOME}/wanted.json {HOME}/agent.pyz")
    assert changed_nothing(cluster.succeed())
    assert cluster.started() == services


def test_a_leader_that_has_lost_its_secret_is_told_and_gets_no_other(cluster: OnHosts) -> None:
    with moved(cluster, "leader", f"{STORE}/secret.json"):
        done = cluster.up()
        assert done.returncode != 0
        assert "secret.json is gone" in done.stdout
        assert "nothing was changed" in done.stdout
    assert changed_nothing(cluster.succeed())


def test_up_waits_for_what_passes_by_itself(cluster: OnHosts) -> None:
    with without_postgres(cluster, "small"):
        cluster.until_failed("small", "LeaderUnreachable")
        up = cluster.begin_up_on(cluster.checkout.stack)
        up.until_printed("waiting for small (degraded: LeaderUnreachable)")
    assert up.wait() == 0, up.text
    assert changed_nothing(up.text)


@contextmanager
def without_postgres(cluster: OnHosts, node: str) -> Iterator[None]:
    """Meanwhile, a node does not get through to the leader's PostgreSQL."""
    drop = "{ type filter hook output priority 0; tcp dport 5432 drop; }"
    cluster.run(node, f"nft 'table inet away {{ chain out {drop}; }}'")
    try:
        yield
    finally:
        cluster.run(node, "nft delete table inet away")


def test_a_connection_that_is_cut_fails_its_host_and_the_next_up_is_green(cluster: OnHosts) -> None:
    cluster.trap("large", slowStartSeconds={"forge-etl-python": 15})
    try:
        with workers(cluster, "l4-quad", 3):
            up = cluster.begin_up_on(cluster.checkout.stack)
            up.until_printed("; start (")
            cluster.run("large", "pkill -KILL -f '^sshd(-session)?: ubuntu'")
            assert up.wait() != 0, up.text
            assert "large-ready" in up.text
            assert "continues from here" in up.text
            assert "leader-ready" not in up.text.partition("Diagnostics:")[2]
            cluster.trap("large")
            cluster.succeed()
            assert forge_workers(cluster, "large") == "12"
    finally:
        cluster.trap("large")
    cluster.succeed()


def test_followers_outlive_a_restart_of_the_file_server(cluster: OnHosts) -> None:
    followers = ("small", "large")
    # Its agent would start it again before anybody has noticed.
    cluster.run("leader", "systemctl stop graphistry-cluster-agent nfs-server")
    for node in followers:
        cluster.until_failed(node, "SharedFolderUnmounted")
    cluster.run("leader", "systemctl start nfs-server graphistry-cluster-agent")
    for node in NODES:
        cluster.until_ready(node)
    assert_shared(cluster, "small", "leader", "large")
    assert_shared(cluster, "leader", *followers)


def test_of_two_at_once_one_is_refused_in_a_sentence(cluster: OnHosts) -> None:
    with workers(cluster, "l4-quad", 1):
        both = [cluster.begin_up_on(cluster.checkout.stack) for _ in range(2)]
        done = {up.wait(): up for up in both}
        assert set(done) == {0, 1}, [up.text for up in both]
        (said,) = done[1].text.splitlines()
        assert said.startswith("error: another command (process")
        assert "is changing the stack onprem-sandbox; wait for it to end" in said
        assert forge_workers(cluster, "large") == "4"
        assert changed_nothing(cluster.succeed())
    cluster.succeed()


def test_a_host_installed_anew_is_refused_until_its_key_is_taken(cluster: OnHosts) -> None:
    hosts.replace(sandbox(cluster), cluster.checkout.stack, "small")
    hosts.reach(sandbox(cluster), cluster.checkout.stack)
    done = cluster.up()
    assert done.returncode != 0
    assert tells(done.stdout, "the host answers with the key")
    assert "SHA256:" in done.stdout
    command = f"./cluster host-keys {cluster.checkout.stack} small"
    assert tells(done.stdout, f"`{command}` shows and takes its new key")
    refused = cluster.operate("host-keys", "small", "--yes")
    assert refused.returncode == 1
    assert "CHANGED" in refused.stdout
    assert "never accepted by --yes" in refused.stdout
    assert "1 key taken for this sandbox" in at_a_terminal(cluster, "y\n", "host-keys", "small")
    cluster.succeed()
    assert cluster.report("small")["state"] == "ready"
    assert_shared(cluster, "small", "leader", "large")


def at_a_terminal(cluster: OnHosts, typed: str, command: str, *arguments: str) -> str:
    """What a command prints to a person who types."""
    controlling, terminal = pty.openpty()
    process = subprocess.Popen(
        cluster.checkout.command(command, cluster.checkout.stack, *arguments),
        cwd=cluster.checkout.root,
        env={**os.environ, **ON},
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.write(controlling, typed.encode())
    printed = process.communicate()[0]
    os.close(controlling)
    os.close(terminal)
    return printed


def test_a_host_that_is_away_keeps_the_others_from_nothing_at_the_end(cluster: OnHosts) -> None:
    dataset = cluster.exercise("small", "upload", "kept")["datasetId"]
    with away(cluster, "small"):
        done = cluster.pulumi("destroy", "--yes", "--skip-preview")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "was not reached, and what was installed there stays" in done.stdout
        for node in ("leader", "large"):
            assert cluster.run(node, "systemctl list-units --plain -q 'graphistry*' | cat") == ""
    cluster.succeed()
    for node in NODES:
        assert cluster.exercise(node, "read", dataset) == {"edges": 5}
