"""A cluster on hosts whose PostgreSQL and Redis are containers of this program's: the same promises hold."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest

from sandbox.machines import operator_key
from tests.cluster.nodes import Cluster, changed_nothing
from tests.cluster.on_hosts import NODES, STACK, STORE, OnHosts, reaches_leader

DIGEST = f"@sha256:{'0' * 64}"
CONTAINERS = {
    "kind": "containers",
    "postgresImage": f"postgres:16{DIGEST}",
    "redisImage": f"redis:7{DIGEST}",
}
POSTGRES, REDIS = "graphistry-cluster-postgres", "graphistry-cluster-redis"


@pytest.fixture(scope="module")
def cluster(empty: Cluster) -> OnHosts:
    made = OnHosts(replace(empty.checkout, stack=STACK))
    made.checkout.change(dataServices=CONTAINERS)
    made.boot()
    return made


def inspected(cluster: OnHosts, name: str) -> dict[str, Any]:
    """What Docker says of a container on the leader's host."""
    found: dict[str, Any] = json.loads(cluster.run("leader", f"docker container inspect {name}"))[0]
    return found


def test_up_ends_with_ready_nodes_and_every_promise_is_kept(cluster: OnHosts) -> None:
    nodes = cluster.nodes()
    assert {name: node["state"] for name, node in nodes.items()} == dict.fromkeys(NODES, "ready")
    assert cluster.broken_proofs() == []
    shown = cluster.checkout.pulumi("stack", "output", "--json", "--stack", STACK)
    outputs = json.loads(shown.stdout)
    assert outputs["postgres"] == {"host": "10.77.0.10", "port": 5432}
    assert outputs["redis"] == {"host": "10.77.0.10", "port": 6379}
    assert outputs["keptData"]["postgres"] == f"10.77.0.10: Docker volume {POSTGRES}"


def test_a_second_up_changes_nothing(cluster: OnHosts) -> None:
    services = cluster.started()
    containers = [inspected(cluster, name)["State"]["StartedAt"] for name in (POSTGRES, REDIS)]
    assert changed_nothing(cluster.succeed())
    assert cluster.started() == services
    assert containers == [
        inspected(cluster, name)["State"]["StartedAt"] for name in (POSTGRES, REDIS)
    ]


def test_no_password_is_where_it_could_be_read(cluster: OnHosts) -> None:
    stored = json.loads(cluster.run("leader", f"cat {STORE}/secret.json"))
    secrets = [stored["postgresPassword"], stored["redisPassword"]]
    places = {"state": cluster.checkout.state()}
    for name in (POSTGRES, REDIS):
        places[f"inspection of {name}"] = json.dumps(inspected(cluster, name))
        places[f"log of {name}"] = cluster.run("leader", f"docker logs {name} 2>&1")
    for node in NODES:
        places[f"report of {node}"] = json.dumps(cluster.report(node))
        places[f"journal of {node}"] = cluster.run(node, "journalctl --no-pager -o cat")
        places[f"processes of {node}"] = cluster.run(node, "ps axww -o args")
    key = operator_key.private_key(cluster.checkout.root / ".sandbox").splitlines()[1]
    for place, text in places.items():
        assert text, place
        for secret in (key, *secrets):
            assert secret not in text, place
    assert cluster.run("leader", f"stat -c '%a %U' {STORE}/data-services") == "700 root\n"


def test_the_products_role_is_no_superuser(cluster: OnHosts) -> None:
    def asked(container: str, query: str) -> str:
        psql = "psql -tAX -U graphistry -d graphistry -c"
        return cluster.run(
            "leader", f"docker exec {container} {psql} {shlex.quote(query)} 2>&1; true"
        )

    is_superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = 'graphistry'"
    refused = (
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "CREATE ROLE me SUPERUSER",
        "COPY mine FROM '/etc/passwd'",
    )
    assert asked(POSTGRES, is_superuser) == "f\n"
    # A database of before, with rows in it.
    image = inspected(cluster, POSTGRES)["Image"]
    settings = "-e POSTGRES_USER=graphistry -e POSTGRES_PASSWORD=first"
    cluster.run("leader", f"docker run -d --name before {settings} {image}")
    try:
        cluster.run(
            "leader", "until docker exec before pg_isready -U graphistry; do sleep 0.2; done"
        )
        asked("before", "CREATE SCHEMA own; CREATE TABLE own.mine (id serial, what text)")
        asked("before", "INSERT INTO own.mine (what) VALUES ('kept')")
        asked("before", "CREATE VIEW mine AS SELECT what FROM own.mine")
        assert asked("before", is_superuser) == "t\n"
        program = (
            "import sys; sys.path.insert(0, '/opt/graphistry-cluster/agent.pyz');"
            " from agent.data import postgres_role as role; role.CONTAINER = 'before'; role.demote(); role.demote()"
        )
        cluster.run("leader", f'python3 -c "{program}"')
        for container in (POSTGRES, "before"):
            assert asked(container, is_superuser) == "f\n"
            for query in refused:
                assert "ERROR:  " in asked(container, query), query
        changed = "INSERT INTO own.mine (what) VALUES ('new'); ALTER TABLE own.mine ADD more int"
        assert "ERROR" not in asked("before", changed)
        assert asked("before", "SELECT what FROM mine ORDER BY 1") == "kept\nnew\n"
        login = "-e PGPASSWORD=first before psql -tA -h 127.0.0.1 -U graphistry -c 'SELECT current_user'"
        assert cluster.run("leader", f"docker exec {login}") == "graphistry\n"
    finally:
        cluster.run("leader", "docker rm -fv before")


def test_data_services_are_on_the_private_address_and_closed_to_strangers(
    cluster: OnHosts, stranger: Any
) -> None:
    listening = cluster.run("leader", "ss -Hltn '( sport = :5432 or sport = :6379 )'")
    addresses = {line.split()[3] for line in listening.splitlines()}
    assert addresses == {"10.77.0.10:5432", "10.77.0.10:6379"}
    for port in (5432, 6379):
        assert not reaches_leader(stranger, port), port
        assert reaches_leader(cluster.machine("small"), port), port


def test_a_replaced_postgresql_has_closed_its_database(cluster: OnHosts) -> None:
    """As at a changed image: a killed one would begin with a recovery."""
    urns = [each["urn"] for each in cluster.checkout.resources()]
    (urn,) = [each for each in urns if each.endswith("-postgres") and ":Container::" in each]
    before = inspected(cluster, POSTGRES)["Id"]
    done = cluster.pulumi("up", "--yes", "--skip-preview", "--replace", urn)
    assert done.returncode == 0, done.stdout + done.stderr
    assert inspected(cluster, POSTGRES)["Id"] != before
    log = cluster.run("leader", f"docker logs {POSTGRES} 2>&1")
    assert "database system was shut down at" in log
    assert "was not properly shut down" not in log
    for node in NODES:
        cluster.until_ready(node)


def test_another_kind_is_refused_before_anything_is_changed(cluster: OnHosts) -> None:
    services = cluster.started()
    cluster.checkout.change(dataServices={"kind": "bundled"})
    try:
        refused = cluster.up()
        assert refused.returncode == 1
        assert "dataServices.kind" in refused.stdout
        assert "1 change is refused" in refused.stdout
        assert "Nothing was changed" in refused.stdout
        # Plain Pulumi looks at nothing before: the leader's own agent refuses.
        refused = cluster.pulumi("up", "--yes", "--skip-preview")
        assert refused.returncode
        assert "this host's data are those of dataServices containers" in refused.stdout
    finally:
        cluster.checkout.change(dataServices=CONTAINERS)
    cluster.up()  # the followers, which have no data, had taken the other specification
    for node in NODES:
        cluster.until_ready(node)
    assert cluster.started() == services
    assert changed_nothing(cluster.succeed())


def test_the_end_keeps_every_byte_and_a_second_up_reads_it(cluster: OnHosts) -> None:
    dataset = cluster.exercise("small", "upload", "kept")["datasetId"]
    cluster.exercise("large", "sign-up", "kept")
    destroyed = cluster.pulumi("destroy", "--yes", "--skip-preview")
    assert destroyed.returncode == 0, destroyed.stdout + destroyed.stderr
    assert f"kept: 10.77.0.10:{POSTGRES} (PostgreSQL, a Docker volume)" in destroyed.stdout
    assert cluster.run("leader", "pgrep -l 'postgres|redis' | cat") == ""
    assert "graphistry" not in cluster.run("leader", "nft list ruleset")
    assert cluster.run("leader", f"docker container inspect {POSTGRES} 2>&1 | cat") == (
        f"[]\nError response from daemon: No such container: {POSTGRES}\n"
    )
    cluster.succeed()
    for node in NODES:
        assert cluster.exercise(node, "read", dataset) == {"edges": 5}
        assert cluster.exercise(node, "sign-in", "kept") == {"signedIn": True}


def test_a_leader_that_is_gone_keeps_neither_a_preview_nor_the_end_from_ending(
    cluster: OnHosts,
) -> None:
    cluster.run("leader", "systemctl stop sandbox-ssh")
    preview = cluster.pulumi("preview")
    assert changed_nothing(preview.stdout), preview.stdout + preview.stderr
    destroyed = cluster.pulumi("destroy", "--yes", "--skip-preview")
    assert destroyed.returncode == 0, destroyed.stdout + destroyed.stderr
    assert "24 deleted" in destroyed.stdout
    assert "was not reached, and what was installed there stays" in destroyed.stdout
    # It comes back with containers that no state knows, and with the names that the new ones take.
    cluster.run("leader", "systemctl start sandbox-ssh")
    cluster.succeed()
    assert cluster.exercise("large", "sign-in", "kept") == {"signedIn": True}
