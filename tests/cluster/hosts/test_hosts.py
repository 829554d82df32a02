"""A cluster on hosts: its promises, and what goes wrong between the operator's computer and a host."""

from __future__ import annotations

import json
import shlex
from typing import Any

from sandbox.machines import operator_key
from tests.cluster.nodes import SERVICE, changed_nothing, shell
from tests.cluster.on_hosts import NODES, STORE, OnHosts, reaches_leader, workers

HOME = "/opt/graphistry-cluster"


def test_up_ends_with_ready_nodes_and_every_promise_is_kept(cluster: OnHosts) -> None:
    nodes = cluster.nodes()
    assert {name: node["state"] for name, node in nodes.items()} == dict.fromkeys(NODES, "ready")
    assert cluster.broken_proofs() == []


def test_a_second_up_changes_nothing_and_opens_one_connection_a_host(cluster: OnHosts) -> None:
    before = cluster.started()
    connections = {node: cluster.connections(node) for node in NODES}
    assert changed_nothing(cluster.succeed())
    assert cluster.started() == before
    for node in NODES:
        assert cluster.connections(node) == connections[node] + 1, node


def test_no_secret_is_in_the_state_a_log_a_report_or_a_command_line(cluster: OnHosts) -> None:
    stored = json.loads(cluster.run("leader", f"cat {STORE}/secret.json"))
    secrets = [value for value in stored.values() if isinstance(value, str)]
    key = operator_key.private_key(cluster.checkout.root / ".sandbox").splitlines()[1]
    assert len(secrets) > 5
    places = {"state": cluster.checkout.state()}
    for node in NODES:
        places[f"report of {node}"] = json.dumps(cluster.report(node))
        places[f"journal of {node}"] = cluster.run(node, "journalctl --no-pager -o cat")
        places[f"processes of {node}"] = cluster.run(node, "ps axww -o args")
        mode = cluster.run(node, f"stat -c '%a %U' {STORE}/secret.json")
        assert mode == "600 root\n"
    for place, text in places.items():
        assert key not in text, place
        for secret in secrets:
            assert secret not in text, place


def test_a_stranger_in_the_same_network_reaches_no_data(cluster: OnHosts, stranger: Any) -> None:
    for port in (5432, 6379, 2049):
        assert not reaches_leader(stranger, port), port
        assert reaches_leader(cluster.machine("small"), port), port


def test_a_container_of_a_host_reaches_no_file_server(cluster: OnHosts) -> None:
    """There it would be its node, and root of the shared folder."""
    leader = cluster.run("small", "findmnt -no SOURCE /mnt/graphistry").rpartition(":")[0]
    server = leader.rpartition("@")[2]  # as the machines' stand-in for NFS shows it
    for port, expected in ((2049, "closed"), (6379, "open")):
        way = f"timeout 3 bash -c '</dev/tcp/{server}/{port}' && echo open || echo closed"
        assert cluster.run("small", f"({way}) 2>&1").splitlines()[-1] == "open"
        container = f"docker run --rm graphistry-standin-base:1 bash -c {shlex.quote(way)}"
        assert cluster.run("small", f"{container} 2>&1").splitlines()[-1] == expected, port


def test_docker_follows_no_link_in_the_place_of_a_shared_folder(cluster: OnHosts) -> None:
    """Root of a follower puts it there; a container of the leader starts again before the agent looks."""
    folder, name = "/mnt/graphistry/files", "holder"
    container = f"docker create --name {name} -v {folder}:/seen graphistry-standin-base:1 ls /seen"
    cluster.run("leader", f"{container} && docker start -a {name}")
    # With the agent ended, Docker is the first to look. The leader's kernel may refuse the name of what is pinned.
    cluster.run("leader", "systemctl stop graphistry-cluster-agent")
    try:
        moved = f"mv {folder} {folder}.away && ln -s {STORE} {folder}"
        cluster.run("small", f"umount {folder}; {moved} || true")
        found = cluster.run("leader", f"docker start -a {name} 2>&1 || true")
        assert "secret.json" not in found
    finally:
        cluster.run("small", f"[ ! -L {folder} ] || {{ rm {folder}; mv {folder}.away {folder}; }}")
        cluster.run("leader", f"docker rm -f {name}; systemctl start graphistry-cluster-agent")
        for node in ("leader", "small"):
            cluster.restart_agent(node)
            cluster.until_ready(node)


def test_root_of_a_follower_gets_nothing_on_the_leader_through_the_folder(cluster: OnHosts) -> None:
    """Neither by a program that it leaves there, nor by links in the place of what the leader's root writes."""
    exported, seen, nobody = (
        f"{STORE}/shared",
        "/mnt/graphistry",
        "setpriv --reuid 65534 --clear-groups",
    )
    started = cluster.started()
    # As an agent has left them that did not close its mounts.
    units = "/etc/systemd/system/mnt-graphistry*.mount /etc/systemd/system/var-lib-*.mount"
    cluster.run("leader", f"sed -i s/,nosuid,nodev// {units}")
    cluster.run("leader", f"mount -o remount,bind,suid,dev {seen}")
    cluster.run("leader", f"mount -o remount,bind,suid,dev {exported}")
    probes = [".graphistry-cluster-probe-leader", ".graphistry-cluster-probe.leader.0"]
    links = " && ".join(f"ln -s {STORE}/secret.json {seen}/{name}" for name in probes)
    cluster.run("small", f"cp /usr/bin/id {seen}/id && chmod 4755 {seen}/id && {links}")
    assert cluster.run("leader", f"{nobody} {seen}/id -u") == "0\n"
    secret = cluster.run("leader", f"cat {STORE}/secret.json")
    cluster.restart_agent("leader")
    options = f"findmnt -no OPTIONS {seen}; findmnt -no OPTIONS {exported}"
    cluster.until("leader", lambda _: cluster.run("leader", options).count("nosuid,nodev") == 2)
    cluster.until_ready("leader")
    for folder in (seen, exported):
        assert cluster.run("leader", f"{nobody} {folder}/id -u") == "65534\n"
    assert cluster.run("leader", f"cat {STORE}/secret.json") == secret
    assert "probe" not in cluster.run("leader", f"ls -A {seen}")
    cluster.run("small", f"rm {seen}/id")
    assert cluster.started() == started


def test_a_firewall_that_was_lost_is_put_back(cluster: OnHosts, stranger: Any) -> None:
    cluster.run("leader", "nft delete table inet graphistry_cluster")
    cluster.until(
        "leader", lambda report: any("firewall" in each["what"] for each in report["repairs"])
    )
    cluster.until_ready("leader")
    assert not reaches_leader(stranger, 5432)


def test_a_changed_profile_touches_its_hosts_only(cluster: OnHosts) -> None:
    before = cluster.started()
    connections = {node: cluster.connections(node) for node in NODES}
    with workers(cluster, "l4-quad", 2):
        shown = cluster.succeed()
        assert "large-specification" in shown
        env = "grep ^FORGE_NUM_WORKERS /home/ubuntu/graphistry/data/config/custom.env"
        assert cluster.run("large", env) == "FORGE_NUM_WORKERS=8\n"
        for node in ("leader", "small"):
            assert cluster.services_started(node) == before[node]
            assert cluster.connections(node) == connections[node] + 1
    cluster.succeed()


def test_a_follower_comes_and_goes(cluster: OnHosts) -> None:
    before, services = cluster.checkout.setting("followers"), cluster.started()
    third = {**before["small"], "host": {**before["small"]["host"], "address": "10.77.0.13"}}
    cluster.checkout.change(followers={**before, "third": third})
    cluster.succeed()
    assert cluster.nodes()["third"]["state"] == "ready"
    dataset = cluster.exercise("third", "upload", "from-third")["datasetId"]
    assert "10.77.0.13" in cluster.run("leader", "cat /etc/exports.d/graphistry-cluster.exports")
    for node in NODES:
        assert cluster.services_started(node) == services[node], node
    machine = cluster.machine("third")
    cluster.checkout.change(followers=before)
    done = cluster.up()
    assert done.returncode == 0, done.stdout
    left = "ls /etc/systemd/system | grep -i graphistry; ls /opt/graphistry-cluster; mount | grep /mnt/graphistry"
    assert "agent" not in shell(machine, left).stdout
    assert "10.77.0.13" not in cluster.run("leader", "nft list ruleset; cat /etc/exports.d/*")
    assert cluster.exercise("leader", "read", dataset) == {"edges": 5}
    for node in NODES:
        assert cluster.services_started(node) == services[node], node


def in_notebooks(machine: Any, script: str) -> str:
    """What a script prints in the container of a machine's notebooks; it must succeed."""
    container = f"$(docker ps -q --filter label={SERVICE}=notebook)"
    done = shell(machine, f"docker exec {container} sh -c '{script}'")
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_another_address_is_another_host_and_only_up_boots_it(cluster: OnHosts) -> None:
    before, old = cluster.checkout.setting("followers"), cluster.machine("small")
    shell(old, "touch /root/kept")
    notebooks = "/home/graphistry/notebooks"
    in_notebooks(old, f"touch {notebooks}/mine.ipynb")
    services = cluster.started()
    moved = {**before["small"], "host": {**before["small"]["host"], "address": "10.77.0.14"}}
    cluster.checkout.change(followers={**before, "small": moved})
    shown = cluster.operate("preview")
    assert shown.returncode == 0, shown.stdout
    assert "its machine is not booted yet" in shown.stdout
    told = next(line for line in shown.stdout.splitlines() if "host.address" in line)
    assert "followers.small.host.address" in told
    assert "replaces machine" in told
    assert cluster.nodes()["small"]["state"] == "not booted"
    assert cluster.started() == services
    cluster.succeed()
    assert cluster.nodes()["small"]["state"] == "ready"
    assert cluster.nodes()["small"]["machine"]["address"] == "10.77.0.14"
    left = "ls /root/kept && systemctl list-units --plain -q 'graphistry*'"
    assert shell(old, left).stdout == "/root/kept\n"
    new = cluster.container(f"{cluster.instance('small')}-10-77-0-14")
    assert "mine.ipynb" in in_notebooks(new, f"ls {notebooks}")
    in_notebooks(new, f"touch {notebooks}/more.ipynb")
    cluster.checkout.change(followers=before)
    cluster.succeed()
    assert cluster.run("small", "ls /root/kept") == "/root/kept\n"
    found = in_notebooks(old, f"ls {notebooks}").split()
    assert found == ["mine.ipynb", "more.ipynb", "welcome.ipynb"]
    for node in ("leader", "large"):
        assert cluster.services_started(node) == services[node], node


def test_the_end_keeps_every_byte_and_says_where(cluster: OnHosts) -> None:
    dataset = cluster.exercise("small", "upload", "kept")["datasetId"]
    secret = cluster.run("leader", f"sha256sum {STORE}/secret.json")
    destroyed = cluster.pulumi("destroy", "--yes", "--skip-preview")
    assert destroyed.returncode == 0, destroyed.stdout + destroyed.stderr
    assert f"{STORE}/data (PostgreSQL)" in destroyed.stdout
    for node in NODES:
        units = cluster.run(node, "systemctl list-units --plain -q 'graphistry*' | cat")
        assert units == "", node
        assert cluster.run(node, f"ls {HOME}/agent.pyz 2>/dev/null | cat") == ""
        assert cluster.run(node, "grep -c ' /mnt/graphistry' /proc/self/mountinfo | cat") == "0\n"
    assert "graphistry" not in cluster.run("leader", "nft list ruleset")
    assert cluster.run("leader", f"sha256sum {STORE}/secret.json") == secret
    for node in ("small", "large"):
        assert "No such file" in cluster.run(node, f"ls {STORE} 2>&1; true"), node
    cluster.succeed()
    for node in NODES:
        assert cluster.exercise(node, "read", dataset) == {"edges": 5}
