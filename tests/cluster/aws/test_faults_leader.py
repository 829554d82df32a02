"""Faults of the leader and of the secret that it makes: what each node says, and how it is well again."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.aws.conftest import SLOW_SECONDS, FirstBoot
from tests.cluster.nodes import Cluster, tells

FOLLOWERS = ("small", "large")


def test_followers_wait_for_a_slow_leader(first_boot: FirstBoot) -> None:
    assert first_boot.start_seconds > SLOW_SECONDS
    for node in FOLLOWERS:
        assert re.search(r"waiting: PostgreSQL at \S+ does not answer", first_boot.said[node])
        assert "failed" not in first_boot.said[node]


@contextmanager
def stopped(cluster: Cluster, node: str) -> Iterator[None]:
    """Meanwhile, EC2 has a node's machine stopped."""
    ec2, instance = cluster.checkout.client("ec2"), cluster.instance(node)
    ec2.stop_instances(InstanceIds=[instance])
    try:
        yield
    finally:
        ec2.start_instances(InstanceIds=[instance])


def test_a_follower_that_boots_without_its_leader_says_so(cluster: Cluster, extra: str) -> None:
    with stopped(cluster, "leader"):
        for node in FOLLOWERS:
            cluster.until_failed(node, "LeaderUnreachable")
        done = cluster.up()
        assert done.returncode != 0, done.stdout
        assert f"{extra} is not ready: failed in start" in done.stdout
        assert "LeaderUnreachable" in done.stdout
        assert "bring the leader up" in done.stdout
        failure = cluster.until_failed(extra, "LeaderUnreachable")
        assert "PostgreSQL" in failure["message"]
    for node in ("leader", *FOLLOWERS, extra):
        cluster.until_ready(node)
    assert f"{extra}: ready" in cluster.succeed()


def test_followers_outlive_a_restart_of_the_leader(cluster: Cluster) -> None:
    members = cluster.members()
    before = {node: cluster.report(node) for node in FOLLOWERS}
    cluster.reboot("leader")
    cluster.until_ready("leader")
    dataset = cluster.exercise("leader", "upload", "after")["datasetId"]
    for node in FOLLOWERS:
        cluster.until_reads(node, dataset)
        report = cluster.until_ready(node)
        # Nothing of theirs is restarted for it; one that was busy may not even have noticed.
        repairs = report["repairs"][len(before[node]["repairs"]) :]
        assert {each["outcome"] for each in repairs} <= {"the node is ready again"}
    assert cluster.members() == members
    assert {health for _, health in members.values()} == {"Healthy"}


def test_a_data_disk_that_is_nearly_full_is_shown_and_costs_no_restart(cluster: Cluster) -> None:
    disk, filler = "/mnt/graphistry-data", "/mnt/graphistry-data/filler"
    free = f"df --block-size=1 --output=avail {disk} | tail -1"
    before = cluster.services_started("leader")
    cluster.run("leader", f"fallocate -l $(($({free}) * 90 / 100)) {filler}")
    report = cluster.until("leader", lambda report: report["warnings"])
    assert report["state"] == "ready"
    assert f"data ({disk}) is 90 % full" in report["warnings"][0]
    shown = cluster.operate("status")
    assert tells(shown.stdout, f"warning: leader: data ({disk}) is 90 % full,"), shown.stdout
    cluster.run("leader", f"fallocate -o 0 -l $(($({free}) * 97 / 100)) {filler}2")
    failure = cluster.until_failed("leader", "DiskAlmostFull")
    assert "leader.dataVolume.sizeGib" in failure["hint"]
    cluster.run("leader", f"rm {filler} {filler}2")
    assert cluster.until_ready("leader")["warnings"] == []
    assert cluster.services_started("leader") == before


def test_a_redis_that_refuses_is_quoted_by_every_node_and_started_by_none(
    cluster: Cluster,
) -> None:
    before = {node: cluster.services_started(node) for node in ("leader", *FOLLOWERS)}
    secret = json.loads(cluster.run("leader", "cat /opt/graphistry-cluster/secrets.json"))
    login = f"-e REDISCLI_AUTH={secret['adminPassword']} redis redis-cli --user administrator"
    ask = f"cd {cluster.release} && ./graphistry exec -T {login} config set maxmemory"
    assert cluster.run("leader", f"{ask} 1") == "OK\n"
    for node in before:
        failure = cluster.until_failed(node, "RedisMemoryFull")
        assert "answers: OOM command not allowed" in failure["message"]
    cluster.run("leader", f"{ask} 0")
    for node, started in before.items():
        cluster.until_ready(node)
        assert cluster.services_started(node) == started


def test_a_replaced_leader_keeps_address_and_data(cluster: Cluster) -> None:
    before, address = cluster.instance("leader"), cluster.report("leader")["instance"]["address"]
    cluster.exercise("leader", "sign-up", "alice")
    dataset = cluster.exercise("small", "upload", "kept")["datasetId"]
    members = cluster.members()

    cluster.checkout.client("ec2").terminate_instances(InstanceIds=[before])
    for node in FOLLOWERS:
        cluster.until_failed(node, "LeaderUnreachable")
    cluster.succeed()

    assert cluster.instance("leader") != before
    assert cluster.until_ready("leader")["instance"]["address"] == address
    for node in FOLLOWERS:
        cluster.until_ready(node)
    for node in ("leader", *FOLLOWERS):
        assert cluster.exercise(node, "sign-in", "alice") == {"signedIn": True}
        assert cluster.exercise(node, "read", dataset) == {"edges": 5}
    assert cluster.members() == members


class Secret:
    """The secret that a node reads, in Secrets Manager."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self._client = cluster.checkout.client("secretsmanager")
        listed = self._client.list_secrets()["SecretList"]
        (self.arn,) = (
            each["ARN"]
            for each in listed
            if ("-followers-secret" in each["Name"]) is (node != "leader")
        )

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._current()["SecretString"])
        return found

    def put(self, text: str) -> None:
        self._client.put_secret_value(SecretId=self.arn, SecretString=text)

    def restore_previous(self) -> None:
        """What docs/reference/failure-codes.md tells: the version AWSPREVIOUS becomes AWSCURRENT again."""
        stages = self._client.describe_secret(SecretId=self.arn)["VersionIdsToStages"]
        by_stage = {stage: version for version in stages for stage in stages[version]}
        self._client.update_secret_version_stage(
            SecretId=self.arn,
            VersionStage="AWSCURRENT",
            MoveToVersionId=by_stage["AWSPREVIOUS"],
            RemoveFromVersionId=by_stage["AWSCURRENT"],
        )

    def empty(self) -> None:
        """As before the leader's first boot; AWS itself would not allow this to one that was filled."""
        version = self._current()["VersionId"]
        self._client.update_secret_version_stage(
            SecretId=self.arn, VersionStage="AWSCURRENT", RemoveFromVersionId=version
        )

    def _current(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get_secret_value(SecretId=self.arn)
        return found


def test_a_secret_with_other_values_is_refused_and_nothing_is_changed(cluster: Cluster) -> None:
    nodes = ("leader", "small")
    secrets = {node: Secret(cluster, node) for node in nodes}
    first = {node: secret.get() for node, secret in secrets.items()}
    kept = {node: cluster.run(node, "cat /opt/graphistry-cluster/secrets.json") for node in nodes}
    started = {node: cluster.services_started(node) for node in nodes}

    for node, secret in secrets.items():
        secret.put(json.dumps({**first[node], "postgresPassword": "other"}))
    # Who is ready does not look at it; whoever boots does, and an agent that starts.
    for node in nodes:
        cluster.restart_agent(node)
    for node in nodes:
        failure = cluster.until_failed(node, "SecretInvalid")
        assert "other values" in failure["message"]
        assert "AWSPREVIOUS" in failure["hint"]
        # Users notice nothing.
        assert cluster.exercise(node, "upload", "meanwhile")["datasetId"]
    assert cluster.report("large")["state"] == "ready"

    for secret in secrets.values():
        secret.restore_previous()
    for node in nodes:
        cluster.until_ready(node)
        assert cluster.run(node, "cat /opt/graphistry-cluster/secrets.json") == kept[node]
        assert cluster.services_started(node) == started[node]
    assert {node: secret.get() for node, secret in secrets.items()} == first


def test_a_damaged_secret_is_refused_without_showing_it(cluster: Cluster) -> None:
    secret = Secret(cluster, "small")
    first = secret.get()
    assert "adminPassword" not in first
    secret.put(json.dumps({**first, "nexusEncryptionKey": ""}))
    cluster.restart_agent("small")
    failure = cluster.until_failed("small", "SecretInvalid")
    assert "lacks nexusEncryptionKey" in failure["message"]
    assert first["postgresPassword"] not in json.dumps(cluster.report("small"))
    secret.restore_previous()
    cluster.until_ready("small")


def test_a_new_machine_waits_for_the_secret_and_says_so(cluster: Cluster) -> None:
    before = cluster.instance("small")
    secrets = [Secret(cluster, node) for node in ("leader", "small")]
    first = [secret.get() for secret in secrets]
    for secret in secrets:
        secret.empty()
    cluster.restart_agent("leader")
    cluster.checkout.client("autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=before, ShouldDecrementDesiredCapacity=False
    )
    failure = cluster.until_failed("small", "SecretNotFilled")
    assert "leader" in failure["hint"]
    assert cluster.instance("small") != before
    # The leader never makes new values where there were some.
    cluster.until_failed("leader", "SecretNotFilled")

    for secret, values in zip(secrets, first, strict=True):
        secret.put(json.dumps(values))
    for node in ("leader", "small"):
        cluster.until_ready(node)


RACE = """
import json, sys, types
from pathlib import Path
sys.path.insert(0, "/opt/graphistry-cluster/agent.pyz")
from agent import specification
from agent.phases import secrets
from agent.sites.aws_site import AwsSite
document = json.loads(Path("/opt/graphistry-cluster/specification.json").read_text())
document["secret"] = {"arn": "%(arn)s", "followersArn": "%(followers)s"}
document["sharedFolder"]["path"] = "/run/race"
read = specification.read(json.dumps(document).encode())
site = AwsSite(read.place.region, "", "")
one = types.SimpleNamespace(specification=read, site=site)
site.aws._credentials()
Path("/run/race/" + sys.argv[1]).touch()
while not Path("/run/race/go").exists():
    pass
secrets.cluster_secret(one)
print(json.dumps(one.secret, sort_keys=True))
"""


def test_two_leaders_that_race_for_the_empty_secret_end_with_one(cluster: Cluster) -> None:
    client = cluster.checkout.client("secretsmanager")
    for attempt in range(3):
        arn, followers = (
            client.create_secret(Name=f"race-{whose}{attempt}")["ARN"]
            for whose in ("", "followers-")
        )
        program = RACE % {"arn": arn, "followers": followers}
        cluster.run("leader", f"mkdir /run/race && cat > /run/race.py <<'END'\n{program}\nEND")
        answers = cluster.run(
            "leader",
            """
            for one in a b; do
                systemd-run --quiet --pipe --wait --collect -E GRAPHISTRY_CLUSTER_HOME=/run/race/home-$one \
                    python3 /run/race.py $one > /run/race/out-$one &
            done
            timeout 60 sh -c "until [ -e /run/race/a -a -e /run/race/b ]; do sleep 0.1; done"
            touch /run/race/go
            wait
            cat /run/race/out-a /run/race/out-b
            rm -r /run/race
            """,
        ).splitlines()
        assert len(answers) == 2
        assert answers[0] == answers[1]
        stages = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
        assert list(stages.values()) == [["AWSCURRENT"]]
        stored = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
        assert {**stored, **json.loads(answers[0])} == stored
        shared = json.loads(client.get_secret_value(SecretId=followers)["SecretString"])
        assert shared.items() < stored.items()
        for each in (arn, followers):
            client.delete_secret(SecretId=each, ForceDeleteWithoutRecovery=True)
