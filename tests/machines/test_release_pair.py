"""The stand-in release on a leader and a follower that share a folder, without the agent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

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
        until(lambda: not self.ill(node), f"all services of {node} are healthy", 60)

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
STANDIN_START_PERIOD=20s
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
        made = pair.ask(one, "/api/v2/upload/datasets/", token, {"name": "x", "type": "edges"})
        dataset = made["data"]["dataset_id"]
        rows = [{"src": 1, "dst": 2}, {"src": 2, "dst": 3}]
        pair.ask(one, f"/api/v2/upload/datasets/{dataset}/edges/json", token, rows)
        shown = pair.ask(other, f"/api/v2/upload/datasets/{dataset}", token)["data"]
        assert (shown["num_edges"], shown["node"] == shown["read_on"]) == (2, False)
        page = f"http://localhost/graph/graph.html?dataset={dataset}"
        assert 'data-edges="2"' in pair.cloud.shell(other, f"curl -sf {page}")
        assert pair.keys(pair.leader, f"forge:upload:{dataset}")
        assert pair.keys(other, "streamgl:session:*")
    assert not pair.keys(pair.follower, "forge:*")
    assert not pair.keys(pair.follower, "nexus:*")
    assert "postgres" not in pair.states(pair.follower)


def test_a_second_up_touches_only_what_changed(pair: Pair) -> None:
    def pids() -> dict[str, str]:
        pattern = "graphistry-standin-*"
        shown = pair.cloud.shell(pair.follower, f"systemctl show -p Id,MainPID '{pattern}'")
        return dict(each.split("\n")[::-1] for each in shown.split("\n\n"))

    before = pids()
    pair.run(pair.follower, "up -d")
    assert pids() == before
    change = "echo FORGE_NUM_WORKERS=2 >> data/config/custom.env"
    pair.cloud.shell(pair.follower, f"cd {HOME} && {change} && ./graphistry up -d --no-deps nexus")
    changed = {name for name, pid in pids().items() if before[name] != pid}
    assert len(changed) == 1


def test_a_service_that_lost_its_gpu_has_it_again_after_a_restart(pair: Pair) -> None:
    flag = "/etc/graphistry-sandbox/nvml-lost-forge-etl-python"
    pair.cloud.shell(pair.follower, f"touch {flag}")
    with pytest.raises(AssertionError, match="Failed to initialize NVML: Unknown Error"):
        pair.run(pair.follower, "exec -T forge-etl-python nvidia-smi")
    assert "forge-etl-python" in pair.ill(pair.follower)
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
    pair.run(pair.follower, "up -d --force-recreate pivot streamgl-viz nginx")
    states = pair.states(pair.follower)
    assert states["pivot"]["Health"] == "unhealthy"
    assert (states["nginx"]["State"], states["nginx"]["Health"]) == ("running", "starting")
    until(
        lambda: pair.states(pair.follower)["streamgl-viz"]["State"] == "restarting",
        "streamgl-viz restarts",
    )
    assert "trap `exits`" in pair.run(pair.follower, "logs --no-color --tail=1 streamgl-viz")
    (folder / "traps.json").unlink()
    pair.run(pair.follower, "up -d --force-recreate")
    until(lambda: pair.states(pair.follower)["pivot"]["Health"] == "healthy", "pivot is well")
