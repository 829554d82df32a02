"""The promises of the whole: a green `up` means ready nodes, and every promise holds on them."""

import json
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from agent.folders import hidden_folders
from agent.graphistry import wiring
from tests.cluster.nodes import Cluster, changed_nothing, shell

CAP_NET_RAW = 13
"""Its bit (linux/capability.h)."""


def test_up_ends_with_ready_nodes(cluster: Cluster) -> None:
    nodes = cluster.nodes()
    assert {name: node["state"] for name, node in nodes.items()} == dict.fromkeys(nodes, "ready")
    assert len(nodes) == 3
    for name in nodes:
        report = cluster.report(name)
        assert [each["name"] for each in report["phases"] if each["state"] != "done"] == []
        assert [each for each in report["checks"] if not each["ok"]] == []


def test_docker_ended_at_once_wherever_its_settings_were_changed(cluster: Cluster) -> None:
    """It waits 5 s for whoever still follows its events."""
    for node in cluster.nodes():
        said = cluster.run(node, "journalctl -u docker -o cat --no-pager")
        assert "Processing signal 'terminated'" in said
        assert "Error shutting down http server" not in said, node


def test_every_promise_is_kept(cluster: Cluster) -> None:
    proofs = cluster.proofs()
    assert len(proofs) > 20
    assert [proof for proof in proofs if not proof["kept"]] == []


def test_a_second_up_changes_nothing_and_restarts_nothing(cluster: Cluster) -> None:
    started = {
        node: cluster.run(node, "systemctl show -P ActiveEnterTimestamp graphistry")
        for node in cluster.nodes()
    }
    assert changed_nothing(cluster.succeed())
    for node, when in started.items():
        assert cluster.run(node, "systemctl show -P ActiveEnterTimestamp graphistry") == when


def test_no_secret_is_in_a_report_a_log_user_data_or_the_state(cluster: Cluster) -> None:
    stored = cluster.run("leader", "cat /opt/graphistry-cluster/secrets.json")
    secrets = [value for value in json.loads(stored).values() if isinstance(value, str)]
    assert len(secrets) > 5
    assert "adminPassword" in json.loads(stored)
    for node in ("small", "large"):
        assert "adminPassword" not in cluster.run(node, "cat /opt/graphistry-cluster/secrets.json")
    places = {"state": cluster.checkout.state()}
    for node in cluster.nodes():
        places[f"report of {node}"] = json.dumps(cluster.report(node))
        places[f"journal of {node}"] = cluster.run(node, "journalctl --no-pager -o cat")
        places[f"boot log of {node}"] = cluster.run(node, "cat /var/log/cloud-init*.log")
        places[f"processes of {node}"] = cluster.run(node, "ps axww -o args")
    for place, text in places.items():
        for secret in secrets:
            assert secret not in text, place


@pytest.fixture
def stranger(cluster: Cluster) -> Iterator[Any]:
    """A machine in the cluster's own subnet that is none of its nodes: nothing but its security group differs."""
    ec2 = cluster.checkout.client("ec2")
    found = ec2.describe_instances(InstanceIds=[cluster.instance("leader")])
    leader = found["Reservations"][0]["Instances"][0]
    group = ec2.create_security_group(
        GroupName="stranger", Description="stranger", VpcId=leader["VpcId"]
    )["GroupId"]
    started = ec2.run_instances(
        ImageId=leader["ImageId"],
        InstanceType=leader["InstanceType"],
        SubnetId=leader["SubnetId"],
        SecurityGroupIds=[group],
        MinCount=1,
        MaxCount=1,
    )["Instances"][0]["InstanceId"]
    yield cluster.container(started)
    ec2.terminate_instances(InstanceIds=[started])
    ec2.delete_security_group(GroupId=group)


def test_a_stranger_in_the_same_network_reaches_neither_postgres_nor_redis(
    cluster: Cluster, stranger: Any
) -> None:
    leader = cluster.nodes()["leader"]["machine"]["address"]
    for port in (5432, 6379):
        probe = f"timeout 3 bash -c '</dev/tcp/{leader}/{port}' 2>&1 && echo open || echo closed"
        answer = shell(stranger, probe).stdout
        assert answer.endswith("closed\n"), f"a stranger reaches {port}"
        assert cluster.run("small", probe) == "open\n"


def test_a_follower_opens_no_door_while_the_cluster_has_no_administrator(
    cluster: Cluster,
) -> None:
    compose = f"cd {cluster.release} && ./graphistry exec -T"
    database = f"{compose} postgres psql -qtA -U graphistry -d graphistry -c"
    door = "curl -s -m 3 -o /dev/null http://localhost/ && echo open || echo shut"
    assert cluster.run("small", door) == "open\n"
    rights = "UPDATE nexus_user SET is_superuser = {} WHERE username = 'admin'"
    cluster.run("leader", f'{database} "{rights.format(False)}"')
    try:
        cluster.restart_agent("small")
        cluster.until_failed("small", "AdministratorMissing")
        assert cluster.run("small", door) == "shut\n"
    finally:
        cluster.run("leader", f'{database} "{rights.format(True)}"')
    cluster.until_ready("small")
    assert cluster.run("small", door) == "open\n"


def test_the_products_password_of_redis_does_no_more_than_the_product(cluster: Cluster) -> None:
    leader = cluster.nodes()["leader"]["machine"]["address"]
    secret = json.loads(cluster.run("leader", "cat /opt/graphistry-cluster/secrets.json"))

    def asked(node: str, words: str, user: str, password: str) -> str:
        login = f"-e REDISCLI_AUTH={password}"
        client = f"redis-cli -h {leader} --user {user} {words}"
        return cluster.run(node, f"docker exec {login} {cluster.service(node, 'redis')} {client}")

    def as_product(words: str) -> str:
        return asked("small", words, "default", secret["redisPassword"])

    refused = ("CONFIG GET dir", "MODULE LIST", "REPLICAOF 10.0.0.1 1", "FLUSHALL", "ACL LIST")
    for words in refused:
        assert "NOPERM" in as_product(words), words
    assert "redis_version" in as_product("INFO server")
    # As a cluster of before had it: what runs is closed in place.
    started = cluster.services_started("leader")["redis"]
    opened = asked("leader", "ACL SETUSER default +@all", "administrator", secret["adminPassword"])
    assert opened == "OK\n"
    assert "NOPERM" not in as_product("CONFIG GET dir")
    cluster.restart_agent("leader")
    cluster.until("leader", lambda report: report["state"] != "ready")
    cluster.until_ready("leader")
    assert "NOPERM" in as_product("CONFIG GET dir")
    assert cluster.services_started("leader")["redis"] == started


TOKEN = (
    "curl -sf -m 3 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60'"
    " http://169.254.169.254/latest/api/token >/dev/null && echo token || echo none"
)


def test_a_notebooks_container_gets_no_token_of_the_nodes_role(cluster: Cluster) -> None:
    for node in ("leader", "small"):
        assert cluster.run(node, TOKEN) == "token\n"
        nexus = cluster.service(node, "nexus")
        for container in (f"docker exec {nexus}", "docker run --rm graphistry-standin-base:1"):
            assert cluster.run(node, f"{container} sh -c {shlex.quote(TOKEN)}") == "none\n"


def test_the_rule_alone_keeps_a_container_from_the_metadata_service(cluster: Cluster) -> None:
    ec2 = cluster.checkout.client("ec2")
    leader = cluster.instance("leader")
    ec2.modify_instance_metadata_options(InstanceId=leader, HttpPutResponseHopLimit=2)
    nexus = cluster.service("leader", "nexus")
    try:
        asked = f"docker exec {nexus} sh -c {shlex.quote(TOKEN)}"
        assert cluster.run("leader", asked) == "none\n"
    finally:
        ec2.modify_instance_metadata_options(InstanceId=leader, HttpPutResponseHopLimit=1)


SECRETS = "/opt/graphistry-cluster/secrets.json"
LEFT = "/mnt/graphistry/uploads/left-by-a-notebook"


def test_code_in_a_notebooks_container_is_stopped_at_every_step(cluster: Cluster) -> None:
    """The way from a notebook to the leader: secrets, role, shared folder, Redis, ports, its server."""
    leader = cluster.nodes()["leader"]["machine"]["address"]
    before = cluster.report("leader")["startedAt"]
    secrets = cluster.run("leader", f"sha256sum {SECRETS}")
    nexus = cluster.service("small", "nexus")
    redis = urlsplit(cluster.run("small", f"docker exec {nexus} printenv REDIS_URL").strip())
    login = f"REDISCLI_AUTH={shlex.quote(unquote(redis.password or ''))} redis-cli -h {leader}"

    def notebook(script: str) -> str:
        container = "docker run --rm -v /mnt/graphistry:/mnt/graphistry graphistry-standin-base:1"
        return cluster.run("small", f"{container} bash -c {shlex.quote(script)}")

    own = cluster.service("small", "notebook")
    environment = cluster.run("small", f"docker exec {own} printenv")
    assert "POSTGRES_PASSWORD=\n" in environment
    for line in cluster.run("small", f"docker exec {nexus} printenv").splitlines():
        name, _, value = line.partition("=")
        assert name not in wiring.SECRETS or value not in environment, name
    capabilities = cluster.run("small", f"docker exec {own} grep CapEff /proc/self/status")
    assert not int(capabilities.split()[1], 16) & 1 << CAP_NET_RAW
    assert notebook(TOKEN) == "none\n"
    link = "/mnt/graphistry/.graphistry-cluster-probe-leader"
    notebook(f"ln -s {SECRETS} {link}; cp /bin/sh {LEFT}; chmod 4755 {LEFT}; ls -l {LEFT}")
    try:
        as_nobody = f"setpriv --reuid nobody --clear-groups {LEFT} -p -c 'id -u'"
        assert cluster.run("leader", as_nobody) == "65534\n"
        cluster.restart_agent("leader")
        cluster.until(
            "leader", lambda report: report["state"] == "ready" and report["startedAt"] != before
        )
        assert cluster.run("leader", f"sha256sum {SECRETS}; ls {link} 2>&1 | cat").startswith(
            secrets
        )
    finally:
        notebook(f"rm -f {link} {LEFT}")
    for words in ("CONFIG SET dir /tmp", "MODULE LIST", "REPLICAOF 10.0.0.1 1", "FLUSHALL"):
        assert "NOPERM" in notebook(f"{login} {words} 2>&1"), words
    for port in (22, 111, 2049, 2375, 2376, 6379, 5432):
        reached = notebook(f"timeout 3 bash -c '</dev/tcp/{leader}/{port}' && echo open || true")
        assert (reached == "open\n") is (port in (5432, 6379)), port
    served = cluster.run("small", "ss -Hnt state established '( dport = :2049 )'").split()[3]
    server, _, nfs = served.rpartition(":")
    way = f"timeout 3 bash -c '</dev/tcp/{server}/{nfs}' && echo open || echo closed"
    assert cluster.run("small", way) == "open\n"
    assert notebook(f"{way} 2>&1").splitlines()[-1] == "closed"


def test_code_in_a_container_with_the_whole_folder_sees_no_notebook_and_no_database(
    cluster: Cluster,
) -> None:
    """As whoever runs code by Dask, which asks nobody who he is."""
    for name in ("nodes", "postgresql_data"):
        assert cluster.run("leader", f"ls -A /mnt/graphistry/{name}"), name
    for service in ("nexus", "dask-cuda-worker", "forge-etl-python"):
        inside = f"docker exec -u 0 {cluster.service('leader', service)} bash -c"
        for name in hidden_folders.FOLDERS:
            folder = f"/opt/graphistry/data/{name}"
            script = f"ls -A {folder}; touch {folder}/x; umount {folder}; ls -A {folder}"
            seen = cluster.run(
                "leader", f"{inside} {shlex.quote(script)} 2>&1 || true"
            ).splitlines()
            assert len(seen) == 2, seen
            assert "Read-only file system" in seen[0]
            assert "umount" in seen[1]


def test_different_profiles_run_with_different_workers(cluster: Cluster) -> None:
    counts = {}
    for node in ("small", "large"):
        counts[node] = cluster.run(
            node,
            "grep -E '^(FORGE|STREAMGL|DASK)_NUM_WORKERS|^CUDA' "
            f"{cluster.release}/data/config/custom.env",
        )
    assert "FORGE_NUM_WORKERS=4\n" in counts["small"]
    assert "FORGE_NUM_WORKERS=16\n" in counts["large"]
    assert "CUDA_VISIBLE_DEVICES=0,1,2,3\n" in counts["large"]
