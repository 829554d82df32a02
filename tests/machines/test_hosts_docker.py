"""The stand-in for Pulumi's `docker` provider with real containers on a host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from sandbox.machines import docker_disk, hosts
from sandbox.machines.hosts import HostMachine
from sandbox.provider.docker_provider import CONTAINER, IMAGE, VOLUME, DockerProvider
from sandbox.provider.values import from_wire, to_wire
from tests.machines.world import World, until
from tests.sandbox.engine import Connection, RefusedError, urn

pytestmark = pytest.mark.engine

STACK = "data"
LEADER = HostMachine("leader", "10.79.0.10", 0, "", 0)
FOLLOWER = HostMachine("follower", "10.79.0.11", 0, "", 0)
DIGEST = f"@sha256:{'0' * 64}"
FOLDER = "/var/lib/graphistry-cluster/data-services"
PASSWORD = "hunter2"
POSTGRES: dict[str, Any] = {
    "name": "postgres",
    "envs": [
        "POSTGRES_USER=graphistry",
        "POSTGRES_DB=graphistry",
        "POSTGRES_PASSWORD_FILE=/run/secrets/password",
    ],
    "volumes": [
        {"volumeName": "data", "containerPath": "/var/lib/postgresql/data"},
        {
            "hostPath": f"{FOLDER}/password",
            "containerPath": "/run/secrets/password",
            "readOnly": True,
        },
    ],
    "ports": [{"internal": 5432, "external": 5432, "ip": LEADER.address}],
    "healthcheck": {
        "tests": ["CMD", "pg_isready", "-U", "graphistry"],
        "interval": "1s",
        "retries": 30,
    },
    "restart": "unless-stopped",
    "wait": True,
    "waitTimeout": 60,
}
REDIS: dict[str, Any] = {
    "name": "redis",
    "command": ["redis-server", "/etc/redis/redis.conf"],
    "volumes": [
        {
            "hostPath": f"{FOLDER}/redis.conf",
            "containerPath": "/etc/redis/redis.conf",
            "readOnly": True,
        }
    ],
    "ports": [{"internal": 6379, "external": 6379, "ip": LEADER.address}],
    "healthcheck": {"tests": ["CMD", "redis-cli", "ping"], "interval": "1s", "retries": 30},
    "restart": "unless-stopped",
    "wait": True,
}


class Leader:
    """A provider that is configured for a host, and that host."""

    def __init__(self, cloud: World, folder: Path) -> None:
        self.cloud, self.sandbox = cloud, cloud.sandbox.directory
        hosts.want(self.sandbox, STACK, [LEADER, FOLLOWER])
        self.reached = hosts.reach(self.sandbox, STACK)
        self.name = hosts.container(STACK, "leader")
        self.known = folder / "known_hosts"
        self.provider = DockerProvider(self.sandbox, cloud.sandbox.docker_host)
        self.connection = Connection("engine")
        self.configure(self.reached["leader"].host_key)

    def configure(self, host_key: str, user: str = "ubuntu") -> None:
        port = self.reached["leader"].port
        self.known.write_text(f"[127.0.0.1]:{port} {host_key}\n")
        options = ["-o", f"UserKnownHostsFile={self.known}", "-o", "StrictHostKeyChecking=yes"]
        settings = {"host": f"ssh://{user}@127.0.0.1:{port}", "sshOpts": json.dumps(options)}
        request = provider_pb2.ConfigureRequest(args=to_wire(settings, []))
        self.provider.Configure(request, self.connection)

    def create(self, token: str, **inputs: Any) -> tuple[str, dict[str, Any]]:
        check = provider_pb2.CheckRequest(urn=urn(token), news=to_wire(inputs, []))
        failures = self.provider.Check(check, self.connection).failures
        assert not failures, failures
        request = provider_pb2.CreateRequest(urn=urn(token), properties=to_wire(inputs, []))
        made = self.provider.Create(request, self.connection)
        return made.id, from_wire(made.properties)[0]

    def exists(self, token: str, identifier: str, state: dict[str, Any]) -> bool:
        request = provider_pb2.ReadRequest(
            urn=urn(token), id=identifier, properties=to_wire(state, [])
        )
        return bool(self.provider.Read(request, self.connection).id)

    def delete(self, token: str, identifier: str) -> None:
        request = provider_pb2.DeleteRequest(urn=urn(token), id=identifier)
        self.provider.Delete(request, self.connection)

    def sql(self, query: str, password: str = PASSWORD) -> str:
        """What PostgreSQL answers another machine."""
        return self.cloud.shell(
            hosts.container(STACK, "follower"),
            f"PGPASSWORD={password} PGCONNECT_TIMEOUT=3 psql -h {LEADER.address} -U graphistry"
            f' -tAc "{query}"',
        )

    def redis(self, command: str, password: str = PASSWORD) -> str:
        return self.cloud.shell(
            hosts.container(STACK, "follower"),
            f"redis-cli -h {LEADER.address} -a {password} --no-auth-warning {command}",
        )


@pytest.fixture(scope="module")
def leader(cloud: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leader]:
    made = Leader(cloud, tmp_path_factory.mktemp("operator"))
    cloud.shell(
        made.name,
        f"mkdir -p {FOLDER} && cd {FOLDER} && printf {PASSWORD} >password && chmod 600 password &&"
        f" echo requirepass {PASSWORD} >redis.conf && chown 999 redis.conf && chmod 600 redis.conf",
    )
    yield made
    hosts.want(made.sandbox, STACK, [])
    until(lambda: cloud.gone(made.name), "the host is gone")
    until(
        lambda: not docker_disk.disk_file(made.sandbox / "machines", made.name).exists(),
        "its containers",
    )


@pytest.fixture(scope="module")
def postgres(leader: Leader) -> tuple[str, dict[str, Any]]:
    _, image = leader.create(IMAGE, name=f"postgres:16{DIGEST}", keepLocally=True)
    leader.create(VOLUME, name="data")
    return leader.create(CONTAINER, image=image["imageId"], **POSTGRES)


@pytest.mark.usefixtures("postgres")
def test_postgres_answers_on_its_address_with_its_password(leader: Leader) -> None:
    assert leader.sql("SELECT current_user") == "graphistry"
    with pytest.raises(AssertionError, match="password authentication failed"):
        leader.sql("SELECT 1", password="wrong")
    published = leader.cloud.shell(leader.name, "docker port postgres")
    assert published == f"5432/tcp -> {LEADER.address}:5432"


def test_a_volume_outlives_its_container(
    leader: Leader, postgres: tuple[str, dict[str, Any]]
) -> None:
    identifier, state = postgres
    leader.sql("CREATE TABLE kept (i int)")
    with pytest.raises(RefusedError, match="volume is in use"):
        leader.delete(VOLUME, "data")
    leader.delete(CONTAINER, identifier)
    assert not leader.exists(CONTAINER, identifier, state)
    assert leader.exists(VOLUME, "data", {})
    image = state["image"]
    leader.create(CONTAINER, image=image, **POSTGRES)
    assert leader.sql("SELECT count(*) FROM kept") == "0"


@pytest.mark.usefixtures("postgres")
def test_a_host_sees_the_processes_of_its_containers_and_ends_them_itself(leader: Leader) -> None:
    def docker(*words: str) -> str:
        return leader.cloud.shell(leader.name, f"docker {' '.join(words)} 2>&1 || true")

    assert "postgres" in leader.cloud.shell(leader.name, "ps ax -o comm")
    (found,) = json.loads(docker("container", "inspect", "postgres"))
    assert {each["Destination"]: each.get("Name") for each in found["Mounts"]} == {
        "/var/lib/postgresql/data": "data",
        "/run/secrets/password": None,
    }
    assert docker("stop", "--time", "30", "postgres") == "postgres"
    assert "postgres" not in leader.cloud.shell(leader.name, "ps ax -o comm")
    assert docker("rm", "--volumes", "postgres") == "postgres"
    gone = "Error response from daemon: No such container: postgres"
    assert docker("container", "inspect", "postgres").splitlines() == ["[]", gone]
    assert docker("rm", "postgres") == gone
    assert leader.exists(VOLUME, "data", {})
    leader.cloud.shell(leader.name, "systemctl stop docker.socket docker")
    assert "Cannot connect to the Docker daemon" in docker("rm", "postgres")
    leader.cloud.shell(leader.name, "systemctl start docker.socket docker")
    _, image = leader.create(IMAGE, name=f"postgres:16{DIGEST}", keepLocally=True)
    leader.create(CONTAINER, image=image["imageId"], **POSTGRES)


@pytest.mark.usefixtures("postgres")
def test_the_hosts_firewall_is_that_of_its_containers(leader: Leader) -> None:
    rules = (
        "table inet mine { chain before { type filter hook prerouting priority -150;"
        " tcp dport 5432 drop; }; }"
    )
    leader.cloud.shell(leader.name, f"echo '{rules}' | nft -f -")
    with pytest.raises(AssertionError, match="timeout expired"):
        leader.sql("SELECT 1")
    leader.cloud.shell(leader.name, "nft delete table inet mine")
    assert leader.sql("SELECT 1") == "1"


@pytest.mark.usefixtures("postgres")
def test_containers_start_again_with_their_host(leader: Leader) -> None:
    started = leader.cloud.inspect(leader.name)["StartedAt"]
    leader.cloud.ask(leader.name, "systemctl reboot")
    until(lambda: leader.cloud.inspect(leader.name)["StartedAt"] != started, "the host is back")

    def answers() -> bool:
        try:
            return leader.sql("SELECT 1") == "1"
        except AssertionError:
            return False

    until(answers, "PostgreSQL is back")


def test_redis_answers_with_its_password(leader: Leader) -> None:
    _, image = leader.create(IMAGE, name=f"redis:7{DIGEST}", keepLocally=True)
    identifier, state = leader.create(CONTAINER, image=image["imageId"], **REDIS)
    assert leader.redis("set a b") == "OK"
    assert "NOAUTH" in leader.redis("get a", password="wrong")
    with pytest.raises(RefusedError, match=r"Unable to create container: .*already in use"):
        leader.create(CONTAINER, image=image["imageId"], **REDIS)
    leader.cloud.shell(leader.name, "docker stop redis")
    assert not leader.exists(CONTAINER, identifier, state)  # and it is removed, to be made again
    assert not leader.cloud.succeeds(leader.name, "docker container inspect redis")


def test_a_container_that_does_not_become_healthy_is_kept_and_told(leader: Leader) -> None:
    _, image = leader.create(IMAGE, name=f"redis:7{DIGEST}")
    ill = {**REDIS, "name": "ill", "ports": [], "waitTimeout": 3}
    ill["healthcheck"] = {"tests": ["CMD", "false"], "interval": "1s", "retries": 1}
    with pytest.raises(RefusedError, match="container failed to be in healthy state"):
        leader.create(CONTAINER, image=image["imageId"], **ill)
    assert leader.connection.trailing
    state = "docker container inspect -f '{{.State.Status}} {{.State.Health.Status}}' ill"
    assert leader.cloud.shell(leader.name, state) == "running unhealthy"
    leader.cloud.shell(leader.name, "docker rm -f ill")


def test_a_container_that_ends_at_once_says_why(leader: Leader) -> None:
    _, image = leader.create(IMAGE, name=f"postgres:16{DIGEST}")
    new = {**POSTGRES, "name": "new", "volumes": [], "ports": [], "restart": "no"}
    new["envs"] = []
    with pytest.raises(RefusedError, match=r"exited immediately.*superuser password is not"):
        leader.create(CONTAINER, image=image["imageId"], **new)
    leader.cloud.shell(leader.name, "docker rm -f new")
    _, image = leader.create(IMAGE, name=f"redis:7{DIGEST}")
    leader.cloud.shell(leader.name, f"cd {FOLDER} && cp redis.conf secret.conf")  # root's alone
    unreadable = {**REDIS, "name": "unreadable", "restart": "no", "ports": []}
    unreadable["volumes"] = [
        {"hostPath": f"{FOLDER}/secret.conf", "containerPath": "/etc/redis/redis.conf"}
    ]
    with pytest.raises(RefusedError, match="Permission denied"):
        leader.create(CONTAINER, image=image["imageId"], **unreadable)
    leader.cloud.shell(leader.name, "docker rm -f unreadable")


def test_each_digest_is_an_image_of_its_own(leader: Leader) -> None:
    _, first = leader.create(IMAGE, name=f"redis:7{DIGEST}")
    _, second = leader.create(IMAGE, name=f"redis:8@sha256:{'1' * 64}")
    assert first["imageId"] != second["imageId"]
    assert leader.create(IMAGE, name=f"redis:7{DIGEST}")[1] == first


def test_a_host_is_reached_by_the_key_and_the_user_it_knows(leader: Leader) -> None:
    right = leader.reached["leader"].host_key
    with pytest.raises(RefusedError, match="Host key verification failed"):
        leader.configure(leader.reached["follower"].host_key)
    with pytest.raises(RefusedError, match="Permission denied"):
        leader.configure(right, user="nobody")
    leader.cloud.shell(leader.name, "gpasswd -d ubuntu docker")
    with pytest.raises(RefusedError, match="trying to connect to the Docker daemon socket"):
        leader.configure(right)
    leader.cloud.shell(leader.name, "gpasswd -a ubuntu docker")
    leader.configure(right)
