"""The stand-in release on a leader and a follower that share a folder, without the agent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from components.agent_archive import build_archive
from sandbox.provider.images import OWNER, RELEASE_TAG
from tests.machines.world import World, allow, until

pytestmark = pytest.mark.engine

HOME = "/home/ubuntu/graphistry"
ADMIN = """
from nexus.users.models import User
from allauth.account.models import EmailAddress
user = User.objects.create_superuser(
    username="admin", email="admin@example.com", password="pw", name="Admin", is_active=True)
EmailAddress.objects.get_or_create(
    user=user, email=user.email, defaults={"verified": True, "primary": True})
"""


@dataclass
class Pair:
    """Two nodes that were set up by hand."""

    cloud: World
    leader: str
    follower: str

    def run(self, node: str, command: str) -> str:
        """What a command of the release prints."""
        return self.cloud.shell(node, f"cd {HOME} && ./graphistry {command}")

    def states(self, node: str) -> dict[str, dict[str, Any]]:
        lines = self.run(node, "ps -a --format json").splitlines()
        return {row["Service"]: row for row in map(json.loads, lines)}

    def ill(self, node: str) -> list[str]:
        """The services that are not healthy."""
        states = self.states(node)
        return [name for name, row in states.items() if row["Health"] != "healthy"]

    def healthy(self, node: str) -> None:
        # As long as they have for their start: thirteen at once on a busy computer.
        try:
            until(lambda: not self.ill(node), f"all services of {node} are healthy", 180)
        except AssertionError as error:
            raise AssertionError(f"{error}; ill: {self.ill(node)}") from None

    def ask(self, node: str, path: str, token: str = "", body: Any = None) -> Any:
        """The JSON that a node's caddy answers with."""
        data = "" if body is None else f"-d '{json.dumps(body)}'"
        headers = f"-H 'Authorization: Bearer {token}'" if token else ""
        answer = self.cloud.shell(node, f"curl -sS {headers} {data} http://localhost{path}")
        return json.loads(answer)

    def keys(self, node: str, pattern: str) -> list[str]:
        """The keys in a node's own Redis."""
        password = "--no-auth-warning -a feed" if node == self.leader else ""
        return self.run(node, f"exec -T redis redis-cli {password} keys '{pattern}'").split()


def address(cloud: World, machine: str) -> str:
    found = cloud.client("ec2").describe_instances(InstanceIds=[machine])
    return str(found["Reservations"][0]["Instances"][0]["PrivateIpAddress"])


def configure(cloud: World, machine: str, leader: str, override: str) -> None:
    """What the agent would write."""
    role = "leader" if address(cloud, machine) == leader else "follower"
    host = "postgres" if role == "leader" else leader
    cloud.shell(
        machine,
        f"""cd {HOME}
cat > data/config/cluster.env <<X
ENABLE_CLUSTER_MODE=true
NODE_TYPE={role}
LOCAL_DATASET_CACHE_DIR=/mnt/graphistry
POSTGRES_HOST={host}
X
cat > data/config/custom.env <<X
POSTGRES_PASSWORD=feed
GRAPHISTRY_NEXUS_SIGNING_KEY=key
X
cat > docker-compose.override.yml <<X
{override}
X
mkdir -p /etc/docker
cat > /etc/docker/daemon.json <<X
{{"default-runtime": "nvidia", "runtimes": {{"nvidia": {{"path": "nvidia-container-runtime"}}}}}}
X
systemctl restart docker && ./graphistry up -d""",
    )


@pytest.fixture(scope="module")
def pair(cloud: World) -> Pair:
    for port in (80, 2049, 6379):
        allow(cloud, cloud.group, port, cloud.group)
    efs = cloud.client("efs")
    system = efs.create_file_system(CreationToken="pair")["FileSystemId"]
    efs.create_mount_target(
        FileSystemId=system, SubnetId=cloud.subnets[0], SecurityGroups=[cloud.group]
    )
    user_data = (
        "mkdir -p /mnt/graphistry; for try in $(seq 60);"
        f" do mount -t efs -o tls,iam {system}:/ /mnt/graphistry && break; sleep 1; done"
    )
    ec2 = cloud.client("ec2")
    images = [each["ImageId"] for each in ec2.describe_images(Owners=[OWNER])["Images"]]
    image = next(each for each in images if each != cloud.image)
    ec2.create_tags(Resources=[image], Tags=[{"Key": RELEASE_TAG, "Value": "2.50.1-12"}])
    machines = [cloud.run(user_data, image=image) for _ in range(2)]
    leader, follower = (cloud.booted(each) for each in machines)
    own = address(cloud, leader)
    with_password = "".join(
        f'\n  {name}: {{environment: {{REDIS_URL: "redis://:feed@redis:6379/0"}}}}'
        for name in ("nexus", "forge-etl-python", "streamgl-viz", "streamgl-sessions")
    )
    cloud.shell(leader, "echo requirepass feed > /root/redis.conf")
    override = f"""services:{with_password}
  postgres: {{ports: !override ["{own}:5432:5432"], volumes: ["/mnt/data:/var/lib/postgresql/data"]}}
  redis:
    ports: !override ["{own}:6379:6379"]
    command: redis-server /etc/redis/redis.conf
    volumes: ["/root/redis.conf:/etc/redis/redis.conf:ro"]"""
    configure(cloud, leader, own, override)
    leaders_redis = "".join(
        f'\n  {name}: {{environment: {{REDIS_URL: "redis://:feed@{own}:6379/0"}}}}'
        for name in ("nexus", "forge-etl-python")
    )
    configure(cloud, follower, own, f"services:{leaders_redis}")
    both = Pair(cloud, leader, follower)
    both.healthy(leader)
    both.healthy(follower)
    cloud.shell(
        leader,
        f"cd {HOME} && ./graphistry exec -T nexus python manage.py shell <<'X'\n{ADMIN}\nX",
    )
    return both


def test_what_one_node_takes_the_other_shows(pair: Pair) -> None:
    login = {"username": "admin", "password": "pw"}
    for one, other in ((pair.leader, pair.follower), (pair.follower, pair.leader)):
        token = pair.ask(one, "/api/v2/auth/token/generate", body=login)["token"]
        described = {"name": "x", "metadata": {}, "node_encodings": {}, "edge_encodings": {}}
        made = pair.ask(one, "/api/v2/upload/datasets/", token, described)
        dataset = made["data"]["dataset_id"]
        rows = [{"src": 1, "dst": 2}, {"src": 2, "dst": 3}]
        path = f"/api/v2/upload/datasets/{dataset}/edges/json"
        assert pair.ask(one, path, token, rows)["success"] is False  # columns, unless told
        pair.ask(one, f"{path}?orient=records", token, rows)
        shown = pair.ask(other, f"/api/v2/upload/datasets/{dataset}", token)["data"]
        assert (shown["edge_count"], shown["node"] == shown["read_on"]) == (2, False)
        page = f"http://localhost/graph/graph.html?dataset={dataset}"
        assert "2 edges" in pair.cloud.shell(other, f"curl -sf {page}")
        assert pair.keys(pair.leader, f"forge:upload:{dataset}")
        assert not pair.keys(other, "streamgl:session:*")
        socket = f"http://localhost/graph/socket.io/?dataset={dataset}&EIO=4&transport=websocket"
        upgrade = "-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Key: x'"
        pair.cloud.shell(other, f"curl -s -m 30 {upgrade} '{socket}' >/dev/null 2>&1 &")
        until(partial(pair.keys, other, "streamgl:session:*"), "the socket begins a session")
    assert not pair.keys(pair.follower, "forge:*")
    assert not pair.keys(pair.follower, "nexus:*")
    assert "postgres" not in pair.states(pair.follower)


def test_a_second_up_touches_only_what_changed(pair: Pair) -> None:
    def containers() -> dict[str, str]:
        return {name: row["ID"] for name, row in pair.states(pair.follower).items()}

    before = containers()
    pair.run(pair.follower, "up -d")
    assert containers() == before
    change = "echo FORGE_NUM_WORKERS=2 >> data/config/custom.env"
    pair.cloud.shell(pair.follower, f"cd {HOME} && {change} && ./graphistry up -d --no-deps nexus")
    changed = {name for name, each in containers().items() if before[name] != each}
    assert changed == {"nexus"}
    pair.run(pair.follower, "up -d")
    pair.healthy(pair.follower)


def test_a_service_that_lost_its_gpu_has_it_again_after_a_restart(pair: Pair) -> None:
    pair.run(pair.follower, "exec -T forge-etl-python rm /dev/nvidiactl")
    with pytest.raises(AssertionError, match="Failed to initialize NVML: Unknown Error"):
        pair.run(pair.follower, "exec -T forge-etl-python nvidia-smi")
    health = "exec -T forge-etl-python curl -sS http://localhost:8080/cudfhealth"
    assert "Failed to initialize NVML" in pair.run(pair.follower, health)
    pair.run(pair.follower, "restart forge-etl-python")
    pair.healthy(pair.follower)
    assert "Tesla T4" in pair.run(pair.follower, "exec -T forge-etl-python nvidia-smi -L")


def test_a_folder_that_is_mounted_anew_is_seen_after_a_restart(pair: Pair) -> None:
    pair.cloud.shell(pair.follower, "umount -l /mnt/graphistry; touch /mnt/graphistry/local")
    see = "exec -T streamgl-viz ls /opt/graphistry/data"
    assert "local" not in pair.run(pair.follower, see)
    pair.run(pair.follower, "restart streamgl-viz")
    assert "local" in pair.run(pair.follower, see)


def test_a_stopped_service_is_shown_as_exited(pair: Pair) -> None:
    pair.run(pair.follower, "stop pivot")
    assert pair.states(pair.follower)["pivot"]["State"] == "exited"
    pair.run(pair.follower, "up -d")
    assert pair.states(pair.follower)["pivot"]["State"] == "running"


def test_traps_are_what_they_say(pair: Pair) -> None:
    traps = {"unhealthy": ["pivot"], "exits": ["streamgl-viz"], "neverStarts": ["nginx"]}
    folder = pair.cloud.sandbox.directory / "machines" / pair.follower
    (folder / "traps.json").write_text(json.dumps(traps))
    make_anew = "up -d --force-recreate pivot streamgl-viz nginx"
    pair.run(pair.follower, make_anew)
    states = pair.states(pair.follower)
    assert (states["nginx"]["State"], states["nginx"]["Health"]) == ("running", "starting")
    until(lambda: pair.states(pair.follower)["pivot"]["Health"] == "unhealthy", "pivot is ill")
    until(
        lambda: pair.states(pair.follower)["streamgl-viz"]["State"] == "restarting",
        "streamgl-viz restarts",
    )
    assert "trap `exits`" in pair.run(pair.follower, "logs --no-color --tail=1 streamgl-viz")
    (folder / "traps.json").unlink()
    pair.run(pair.follower, make_anew)
    pair.healthy(pair.follower)
    assert pair.states(pair.follower)["pivot"]["Health"] == "healthy"


class Copy:
    """The release in another folder of the leader, where it is only configured."""

    folder = "/root/copy"

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.shell(f"rm -rf {self.folder}; cp -a {HOME} {self.folder}")
        self.shell(f"cd {self.folder} && rm docker-compose.override.yml data/config/c*.env")
        self.write("data/config/custom.env", "")
        self.write("data/config/cluster.env", "")

    def shell(self, script: str) -> str:
        return self.pair.cloud.shell(self.pair.leader, script)

    def write(self, name: str, text: str) -> None:
        self.shell(f"cat > {self.folder}/{name} <<'X'\n{text}\nX")

    def services(self) -> dict[str, Any]:
        shown = self.shell(f"cd {self.folder} && ./graphistry config --format json")
        found: dict[str, Any] = json.loads(shown)["services"]
        return found

    def role(self, role: str) -> None:
        self.write(
            "data/config/cluster.env",
            f"ENABLE_CLUSTER_MODE=true\nNODE_TYPE={role}\nLOCAL_DATASET_CACHE_DIR=/mnt/shared/\n"
            f"POSTGRES_HOST={'postgres' if role == 'leader' else '10.0.0.1'}",
        )

    def trap(self, **traps: Any) -> None:
        folder = self.pair.cloud.sandbox.directory / "machines" / self.pair.leader
        (folder / "traps.json").write_text(json.dumps(traps))


@pytest.fixture
def copy(pair: Pair) -> Copy:
    return Copy(pair)


def test_it_says_what_it_is(copy: Copy) -> None:
    said = copy.shell(f"cd {copy.folder} && ./graphistry --help")
    assert "stand-in for the Graphistry release" in said.splitlines()[0]
    assert "docker compose" in said


def test_a_single_node_keeps_everything_to_itself(copy: Copy) -> None:
    found = copy.services()
    assert [name for name in found if found[name].get("ports")] == ["caddy"]
    assert found["postgres"]["volumes"][0]["source"] == "postgres_data"
    assert found["nexus"]["environment"]["REDIS_URL"] == "redis://redis:6379/0"


def test_a_leader_publishes_postgres_on_every_address(copy: Copy) -> None:
    copy.role("leader")
    found = copy.services()
    assert found["postgres"]["ports"] == [
        {"mode": "ingress", "target": 5432, "published": "5432", "protocol": "tcp"}
    ]
    sources = {each["target"]: each["source"] for each in found["postgres"]["volumes"]}
    # With two slashes, of which the documented value of LOCAL_DATASET_CACHE_DIR brings one.
    assert sources["/var/lib/postgresql/data"] == "/mnt/shared//postgresql_data"
    assert "ports" not in found["redis"]


def test_a_follower_has_no_postgres_and_its_own_redis(copy: Copy) -> None:
    copy.role("follower")
    copy.write(
        "data/config/custom.env",
        "POSTGRES_PASSWORD=feed\nPOSTGRES_HOST=nowhere\nFORGE_NUM_WORKERS=8",
    )
    found = copy.services()
    assert "postgres" not in found
    assert all("postgres" not in (each.get("depends_on") or {}) for each in found.values())
    environment = found["nexus"]["environment"]
    assert environment["DATABASE_URL"] == "postgres://graphistry:feed@10.0.0.1:5432/graphistry"
    assert environment["REDIS_URL"] == "redis://redis:6379/0"  # the trap that is always there
    assert found["forge-etl-python"]["environment"]["FORGE_NUM_WORKERS"] == "8"
    copy.trap(redisEverywhereLeader=True)
    found = copy.services()
    copy.trap()
    assert found["streamgl-viz"]["environment"]["REDIS_URL"] == "redis://10.0.0.1:6379/0"


def test_gpus_come_from_the_services_variable_then_the_common_one(copy: Copy) -> None:
    copy.write(
        "data/config/custom.env", "CUDA_VISIBLE_DEVICES=0,1\nSTREAMGL_CUDA_VISIBLE_DEVICES=1"
    )
    found = copy.services()
    seen = {
        name: found[name]["environment"]["CUDA_VISIBLE_DEVICES"]
        for name in ("streamgl-gpu", "forge-etl-python", "dask-cuda-worker")
    }
    assert seen == {"streamgl-gpu": "1", "forge-etl-python": "0,1", "dask-cuda-worker": "0,1"}


def test_an_override_changes_what_it_names(copy: Copy) -> None:
    copy.role("leader")
    override = """services:
  postgres:
    ports: !override ["10.0.0.1:5432:5432"]
  nexus:
    environment: ["REDIS_URL=redis://:a$$b@redis:6379/0"]"""
    copy.write("docker-compose.override.yml", override)
    found = copy.services()
    assert [each["host_ip"] for each in found["postgres"]["ports"]] == ["10.0.0.1"]
    assert found["nexus"]["environment"]["REDIS_URL"] == "redis://:a$$b@redis:6379/0"
    assert found["nexus"]["environment"]["POSTGRES_DB"] == "graphistry"
    copy.trap(overrideIgnored=True)
    found = copy.services()
    copy.trap()
    assert found["postgres"]["ports"][0].get("host_ip") is None


def test_an_unknown_role_is_refused(copy: Copy) -> None:
    copy.role("boss")
    with pytest.raises(AssertionError, match=r"'boss'.*leader or follower is expected"):
        copy.services()


def test_images_without_their_base_are_refused(copy: Copy) -> None:
    """The release's archive leaves out what a machine's Docker has, and is of no use to another one."""
    archive = f"{copy.folder}/containers.tar.gz"
    other = (
        f"mkdir -p /root/other && cd /root/other && tar -xzf {archive} &&"
        ' sed -i \'s/"sha256:[0-9a-f]*", "sha256:/"sha256:\'$(printf %064d 1)\'", "sha256:/\' *.json &&'
        " tar -c . | docker load"
    )
    done = copy.pair.cloud.ask(copy.pair.leader, other)
    assert done.returncode != 0
    assert "layer.tar: no such file or directory" in done.stderr


def test_a_release_that_shows_nothing_is_read_and_nothing_is_left(
    copy: Copy, tmp_path: Path
) -> None:
    archive = build_archive(tmp_path)
    cloud, leader = copy.pair.cloud, copy.pair.leader
    assert cloud.docker("cp", str(archive), f"{leader}:/root/agent.pyz").returncode == 0
    copy.shell(f"cd {copy.folder} && sed -i '2i case $1 in config) exit 1 ;; esac' graphistry")
    everything = "(docker ps -aq; docker network ls -q; docker volume ls -q) | sort"
    program = f"""
import sys
sys.path.insert(0, "/root/agent.pyz")
from pathlib import Path
from agent.containers.compose import Compose
from agent.failures import Failure
try:
    print(*Compose(Path("{copy.folder}"), may_make=sys.argv[1] == "may make").services())
except Failure as failure:
    print(failure.code)
"""
    copy.write("look.py", program)
    copy.shell("mkdir -p /opt/graphistry-cluster")

    def look(words: str) -> set[str]:
        before = copy.shell(everything)
        found = copy.shell(f"python3 {copy.folder}/look.py '{words}'").split()
        assert copy.shell(everything) == before
        return set(found)

    # The one that runs has the same project.
    assert look("may make") == {"ComposeConfigUnreadable"}
    copy.pair.run(copy.pair.leader, "down")
    assert look("may not") == {"ComposeConfigUnreadable"}
    assert look("may make") > {"nexus", "postgres", "caddy"}
