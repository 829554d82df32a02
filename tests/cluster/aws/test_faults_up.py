"""Faults around `./cluster up`: it is red within seconds and says why, and the next one after the cure is green."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.nodes import BOUND_SECONDS, Cluster, Report, changed_nothing

NODES = ("leader", "small", "large")
RED_SECONDS = 15
"""From a failure to the line that tells it."""


@pytest.fixture
def workers(cluster: Cluster) -> Iterator[None]:
    """Afterwards, the profiles have the workers that they had."""
    before = cluster.checkout.setting("gpuProfiles")
    yield
    cluster.checkout.change(gpuProfiles=before)
    cluster.succeed()


def set_workers(cluster: Cluster, **forge: int) -> None:
    """Change the workers per GPU of profiles in the stack file."""
    profiles = cluster.checkout.setting("gpuProfiles")
    for profile, count in forge.items():
        profiles[profile.replace("_", "-")]["workersPerGpu"] = {"forge": count}
    cluster.checkout.change(gpuProfiles=profiles)


def forge_workers(cluster: Cluster, node: str) -> str:
    """The count that a node's release is configured with."""
    return (
        cluster.run(node, f"grep ^FORGE_NUM_WORKERS= {cluster.release}/data/config/custom.env")
        .strip()
        .partition("=")[2]
    )


def failed_at(report: Report) -> float:
    """When a node's failure happened."""
    return datetime.fromisoformat(report["failure"]["at"]).timestamp()


def instances(cluster: Cluster) -> dict[str, str]:
    """Every node's machine."""
    return {node: cluster.instance(node) for node in NODES}


def doubled(cluster: Cluster) -> list[str]:
    """Names that more than one living machine has."""
    found = cluster.checkout.client("ec2").describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running", "stopped"]}]
    )["Reservations"]
    names = Counter(
        tag["Value"]
        for one in found
        for instance in one["Instances"]
        for tag in instance["Tags"]
        if tag["Key"] == "Name"
    )
    return [name for name, count in names.items() if count > 1]


@pytest.mark.usefixtures("workers")
def test_up_is_red_within_seconds_and_says_everything(cluster: Cluster) -> None:
    before = instances(cluster)
    cluster.edit_machine("large", nvml="lost")
    set_workers(cluster, t4=2, l4_quad=3)
    up = cluster.begin_up()
    told = up.until_printed("large is not ready: failed in preflight")
    report = cluster.until("large", lambda report: report["state"] == "failed")
    assert told - failed_at(report) < RED_SECONDS
    assert up.wait() != 0
    for words in (
        "phase    preflight",
        "code     GpuUnavailable",
        "reason   nvidia-smi: Failed to initialize NVML",
        "hint     reboot the node",
        f"machine  {before['large']}",
        "log      Failed to initialize NVML: Driver/library version mismatch",
    ):
        assert words in up.text
    assert "leader: ready" in up.text
    assert "small: ready" in up.text
    assert forge_workers(cluster, "small") == "2"
    cluster.edit_machine("large", nvml="ok")
    assert "large: ready" in cluster.succeed()
    assert forge_workers(cluster, "large") == "12"
    assert instances(cluster) == before


@pytest.mark.usefixtures("workers")
def test_a_changed_worker_count_restarts_what_it_is_about(cluster: Cluster) -> None:
    before = instances(cluster)
    started = {node: cluster.services_started(node) for node in NODES}
    configured = {node: configurations(cluster, node) for node in NODES}
    set_workers(cluster, l4_quad=2)
    cluster.succeed()
    assert forge_workers(cluster, "large") == "8"
    assert instances(cluster) == before
    for node in NODES:
        now, config = cluster.services_started(node), configurations(cluster, node)
        restarted = {name for name in now if now[name] != started[node][name]}
        assert restarted == {name for name in now if config[name] != configured[node][name]}
        assert ("forge-etl-python" in restarted) == (node == "large")


def configurations(cluster: Cluster, node: str) -> dict[str, Any]:
    """What each service of a node should run with, by the release's own merged configuration."""
    command = f"cd {cluster.release} && ./graphistry config --format json"
    found: dict[str, Any] = json.loads(cluster.run(node, command))["services"]
    return found


@pytest.mark.usefixtures("workers")
def test_a_specification_that_changes_while_a_node_converges_wins(cluster: Cluster) -> None:
    before = instances(cluster)
    cluster.trap("small", slowStartSeconds={"forge-etl-python": 8})
    set_workers(cluster, t4=2)
    first = cluster.begin_up()
    cluster.until("small", lambda report: report["phase"] == "start" and is_at_work(report))
    first.kill()
    set_workers(cluster, t4=3)
    assert "small: ready" in cluster.succeed()
    assert forge_workers(cluster, "small") == "3"
    container = cluster.service("small", "forge-etl-python")
    running = cluster.run("small", f"docker inspect -f '{{{{json .Config.Env}}}}' {container}")
    assert "FORGE_NUM_WORKERS=3" in json.loads(running)
    assert instances(cluster) == before
    cluster.trap("small")


def is_at_work(report: Report) -> bool:
    """Whether a phase is running."""
    return any(each["state"] == "running" for each in report["phases"])


def test_up_that_is_killed_while_it_waits_is_only_run_again(cluster: Cluster, extra: str) -> None:
    before = instances(cluster)
    up = cluster.begin_up()
    cluster.until(extra, is_at_work)
    up.kill()
    printed = cluster.succeed()
    assert f"{extra}: ready" in printed
    assert doubled(cluster) == []
    assert instances(cluster) == before
    account = cluster.checkout.account()
    assert (account["groups"], account["launch templates"], account["instances"]) == (3, 3, 4)
    assert changed_nothing(cluster.succeed())
    assert cluster.checkout.account() == account


def agent_object(cluster: Cluster) -> dict[str, str]:
    """Bucket and key of the agent's archive."""
    listed = cluster.checkout.client("s3").list_objects_v2(Bucket=cluster.bucket, Prefix="agent/")
    (found,) = listed["Contents"]
    return {"Bucket": cluster.bucket, "Key": found["Key"]}


def test_a_boot_that_gets_another_agent_than_named_says_so(cluster: Cluster, extra: str) -> None:
    where, s3 = agent_object(cluster), cluster.checkout.client("s3")
    up = cluster.begin_up()
    wait_for_machine(cluster, extra)
    s3.put_object(**where, Body=b"somebody else's")
    told = up.until_printed(f"{extra} is not ready: failed in bootstrap")
    report = cluster.until(extra, lambda report: report["state"] == "failed")
    assert told - failed_at(report) < RED_SECONDS
    assert up.wait() != 0
    assert "AgentChecksumMismatch" in up.text
    assert "the specification names" in up.text
    assert "docs/reference/failure-codes.md" in up.text
    printed = cluster.succeed()
    assert f"{extra}: ready" in printed


def wait_for_machine(cluster: Cluster, node: str) -> str:
    """The id of the machine that is launched for a node."""
    end = time.monotonic() + BOUND_SECONDS
    while True:
        try:
            return cluster.instance(node)
        except KeyError:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_a_boot_program_recovers_by_itself_when_the_agent_is_back(cluster: Cluster) -> None:
    where, s3 = agent_object(cluster), cluster.checkout.client("s3")
    archive = s3.get_object(**where)["Body"].read()
    old = cluster.instance("small")
    s3.delete_object(**where)
    try:
        cluster.checkout.client("ec2").terminate_instances(InstanceIds=[old])
        failure = cluster.until_failed("small", "AgentUnavailable")
        assert failure["phase"] == "bootstrap"
        assert "404" in failure["message"]
    finally:
        s3.put_object(**where, Body=archive)
    cluster.until_ready("small")
    assert cluster.instance("small") != old
    cluster.succeed()  # the object's tags, which went with the first one


NOTEBOOKS = "/home/graphistry/notebooks"


def write_notebook(cluster: Cluster, node: str, text: str) -> str:
    """The command by which the container of the notebooks has another one."""
    script = f"echo {text} > {NOTEBOOKS}/mine.ipynb"
    return f"docker exec {cluster.service(node, 'notebook')} sh -c '{script}'"


def test_a_killed_machine_is_replaced_without_up(cluster: Cluster) -> None:
    others = {node: cluster.services_started(node) for node in ("leader", "small")}
    old = cluster.instance("large")
    cluster.run("large", write_notebook(cluster, "large", "years of work"))
    assert (
        cluster.run("leader", "cat /mnt/graphistry/nodes/large/notebooks/mine.ipynb")
        == "years of work\n"
    )
    cluster.machine("large").kill()
    end = time.monotonic() + BOUND_SECONDS
    while wait_for_machine(cluster, "large") == old:
        assert time.monotonic() < end
        time.sleep(0.3)
    cluster.until_ready("large")
    seen = f"docker exec {cluster.service('large', 'notebook')} ls {NOTEBOOKS}"
    assert cluster.run("large", seen).split() == ["mine.ipynb", "welcome.ipynb"]
    assert {node: cluster.services_started(node) for node in others} == others
    assert changed_nothing(cluster.succeed())
    assert doubled(cluster) == []


@pytest.fixture
def shortages(cluster: Cluster) -> Iterator[Path]:
    """The file of what the sandbox's AWS refuses to launch."""
    path = cluster.checkout.root / ".sandbox" / "shortages.json"
    yield path
    path.unlink(missing_ok=True)


def test_a_launch_that_aws_refuses_is_told_at_once(cluster: Cluster, shortages: Path) -> None:
    followers, profiles = (cluster.checkout.setting(key) for key in ("followers", "gpuProfiles"))
    shortages.write_text(json.dumps({"g5.xlarge": "InsufficientInstanceCapacity"}))
    cluster.checkout.change(
        gpuProfiles={**profiles, "a10": {"instanceTypes": ["g5.xlarge"]}},
        followers={**followers, "scarce": {"profile": "a10"}},
    )
    try:
        up = cluster.begin_up()
        told = up.until_printed("scarce is not ready: AWS gives it no machine")
        assert up.wait() != 0
        refused = cluster.checkout.client("autoscaling").describe_scaling_activities()["Activities"]
        first = min(each["StartTime"] for each in refused if each["StatusCode"] == "Failed")
        assert told - first.timestamp() < RED_SECONDS
        assert "code     InsufficientInstanceCapacity" in up.text
        assert "sufficient g5.xlarge capacity" in up.text
        assert "add instance types" in up.text
        assert cluster.nodes()["scarce"]["machine"] is None
        assert {node: cluster.report(node)["state"] for node in NODES} == dict.fromkeys(
            NODES, "ready"
        )
        shortages.unlink()
        assert "scarce: ready" in cluster.succeed()
        assert doubled(cluster) == []
    finally:
        cluster.checkout.change(followers=followers, gpuProfiles=profiles)
        shortages.unlink(missing_ok=True)
        cluster.succeed()
