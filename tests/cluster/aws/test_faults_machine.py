"""Faults of one machine: what its node says, and how it is well again."""

import hashlib
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.release import build_release
from tests.cluster.nodes import Cluster, Report, changed_nothing, check

FOLLOWERS = ("small", "large")
NODES = ("leader", *FOLLOWERS)


def repaired(report: Report) -> list[str]:
    """What the agent has tried to repair, and with which outcome."""
    return [f"{each['what']}: {each['outcome']}" for each in report["repairs"]]


def test_a_driver_that_is_too_old_is_told_before_anything_else(cluster: Cluster) -> None:
    before = cluster.services_started("small")
    cluster.edit_machine("small", driver="550.54.15")
    cluster.restart_agent("small")
    failure = cluster.until_failed("small", "DriverTooOld")
    assert failure["phase"] == "preflight"
    assert "550.54.15" in failure["message"]
    assert "575.51.03" in failure["message"]
    assert "newer NVIDIA driver" in failure["hint"]
    assert cluster.report("small")["state"] == "failed"
    assert cluster.services_started("small") == before, "what runs goes on running"
    cluster.edit_machine("small", driver="580.126.20")
    assert cluster.until_ready("small")["versions"]["driver"] == "580.126.20"


def test_three_of_four_gpus_are_not_enough(cluster: Cluster) -> None:
    instance = cluster.instance("large")
    path = cluster.sandbox_file("large", "machine.json")
    gpus = json.loads(path.read_text())["gpus"]
    assert len(cluster.report("large")["gpus"]) == 4
    cluster.edit_machine("large", gpus=gpus[:3])
    failure = cluster.until_failed("large", "GpuMissing")
    assert failure["message"] == "3 of 4 GPUs are there"
    assert "other hardware" in failure["hint"]
    report = cluster.report("large")
    assert report["state"] == "degraded"
    assert check(report, "gpus") == {
        "name": "gpus",
        "ok": False,
        "detail": "3 of 4 GPUs are there",
    }
    cluster.edit_machine("large", gpus=gpus)
    assert len(cluster.until_ready("large")["gpus"]) == 4
    assert cluster.instance("large") == instance


def test_a_driver_that_no_longer_answers_is_told_in_its_own_words(cluster: Cluster) -> None:
    instance = cluster.instance("large")
    cluster.edit_machine("large", nvml="lost")
    failure = cluster.until_failed("large", "GpuUnavailable")
    words = "Failed to initialize NVML: Driver/library version mismatch"
    assert words in failure["message"]
    assert failure["log"] == [words]
    assert "reboot" in failure["hint"]
    cluster.edit_machine("large", nvml="ok")
    cluster.until_ready("large")
    assert cluster.instance("large") == instance


def test_up_never_succeeds_with_a_broken_leader(cluster: Cluster) -> None:
    cluster.edit_machine("leader", nvml="lost")
    try:
        cluster.until_failed("leader", "GpuUnavailable")
        done = cluster.up()
    finally:
        cluster.edit_machine("leader", nvml="ok")
    assert done.returncode == 1, done.stdout
    after = done.stdout[done.stdout.index("leader is not ready: degraded: GpuUnavailable") :]
    assert "reason   nvidia-smi: Failed to initialize NVML: Driver/library version" in after
    assert "hint     reboot the " in after
    assert after.rstrip().endswith(
        "1 of 3 nodes is not ready; `./cluster up sandbox` continues from here"
    )
    assert "./cluster prove" not in done.stdout
    cluster.until_ready("leader")
    assert "not ready" not in cluster.succeed()


KMSG = "/etc/graphistry-sandbox/kmsg"


def touch_machines_at_once(cluster: Cluster, node: str) -> None:
    """Let a node's agent act on a GPU's fault after 3 s, and read a stand-in for the kernel log.

    A container has none of its own. It stays so for the machine's life.
    """
    unit = "graphistry-cluster-agent.service"
    variables = f"Environment=GRAPHISTRY_CLUSTER_GPU_FAULT_SECONDS=3 GRAPHISTRY_CLUSTER_KMSG={KMSG}"
    cluster.run(
        node,
        f"mkdir -p /etc/systemd/system/{unit}.d && touch {KMSG} &&"
        f" printf '[Service]\\n{variables}\\n' > /etc/systemd/system/{unit}.d/fast.conf &&"
        f" systemctl daemon-reload && systemctl restart {unit}",
    )
    cluster.until(node, lambda report: report["state"] == "converging")
    cluster.until_ready(node)


def write_kernel_log(cluster: Cluster, node: str, *messages: str) -> None:
    """Let the driver of a node write to the kernel log now, in records as /dev/kmsg has them."""
    path = cluster.sandbox_file(node, "kmsg")
    known = path.read_text().count(",-;")
    uptime = int(float(Path("/proc/uptime").read_text().split()[0]) * 1e6)
    records = [f"3,{known + n},{uptime},-;{each}\n" for n, each in enumerate(messages)]
    with path.open("a") as stream:
        stream.write("".join(records))


def test_a_fault_of_a_gpu_is_judged_by_the_kernel_log(cluster: Cluster) -> None:
    instance = cluster.instance("large")
    touch_machines_at_once(cluster, "large")
    write_kernel_log(
        cluster,
        "large",
        "NVRM: Xid (PCI:0000:00:1e): 31, pid=1587983, name=python3, Ch 0000000a, intr 00000000. MMU Fault",
        "NVRM: Xid (PCI:0000:00:1d): 94, pid=7062, Contained: CE User Channel (0x9). RST: No, D-RST: No",
    )
    report = cluster.until("large", lambda report: len(report["gpuEvents"]) == 2)
    assert [each["action"] for each in report["gpuEvents"]] == ["application", "application"]
    assert report["state"] == "ready"
    cluster.edit_machine("large", dead={"1": "[GPU requires reset]"})
    write_kernel_log(
        cluster,
        "large",
        "NVRM: Xid (PCI:0000:00:1d): 119, pid=452531, name=cache_mgr_main, Timeout after 6s of waiting for RPC",
        "NVRM: Xid (PCI:0000:00:1d): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
    )
    report = cluster.until("large", lambda report: report["state"] == "degraded")
    assert report["failure"]["code"] in ("GpuUnavailable", "GpuUnhealthy")
    report = cluster.until_ready("large")
    assert [each["step"] for each in report["gpuActions"]] == ["reset"]
    assert "nvidia-smi -r: the GPUs were reset" in repaired(report)
    assert [each["memoryMib"] for each in report["gpus"]] == [23034] * 4
    assert cluster.instance("large") == instance
    cluster.run(
        "large",
        "rm -r /etc/systemd/system/graphistry-cluster-agent.service.d && systemctl daemon-reload",
    )
    cluster.restart_agent("large")
    cluster.until("large", lambda report: report["state"] == "converging")


LOSE_NVML = "rm /dev/nvidiactl"
"""What a container has lost when systemd has taken its devices; it has it again once it is started again."""


def test_a_container_that_lost_its_gpus_is_made_anew(cluster: Cluster) -> None:
    before = cluster.services_started("small")
    container = cluster.service("small", "forge-etl-python")
    cluster.run("small", f"docker exec {container} {LOSE_NVML}")
    failure = cluster.until_failed("small", "GpuUnavailable")
    assert "in the container forge-etl-python: Failed to initialize NVML" in failure["message"]
    report = cluster.until_ready("small")
    assert any(each.startswith("containerGpus (try 1): made anew") for each in repaired(report))
    after = cluster.services_started("small")
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"forge-etl-python", "dask-scheduler", "dask-cuda-worker", "streamgl-gpu"}


def test_a_service_that_never_gets_healthy_is_told_with_its_log(cluster: Cluster) -> None:
    cluster.run("small", f"cd {cluster.release} && ./graphistry stop pivot")
    cluster.trap("small", unhealthy=["pivot"])
    cluster.restart_agent("small")
    failure = cluster.until_failed("small", "ServiceUnhealthy")
    assert failure["phase"] == "start"
    assert "pivot (running unhealthy)" in failure["message"]
    assert any("pivot" in line for line in failure["log"])
    assert "log lines" in failure["hint"]
    cluster.trap("small")
    cluster.until_ready("small")


def test_a_service_that_was_stopped_is_started_again(cluster: Cluster) -> None:
    instance, before = cluster.instance("small"), cluster.report("small")["repairs"]
    cluster.run("small", f"cd {cluster.release} && ./graphistry stop streamgl-viz")
    # A look that had just counted the services misses what answers no more instead.
    cluster.until(
        "small",
        lambda report: (
            (
                (report["failure"] or {}).get("code") == "ServiceUnhealthy"
                and "streamgl-viz (exited)" in report["failure"]["message"]
            )
            or [each for each in report["repairs"] if each not in before]
        ),
    )
    report = cluster.until_ready("small")
    mended = repaired({"repairs": [each for each in report["repairs"] if each not in before]})
    started_anew = {f"{name} (try 1): ./graphistry up -d" for name in ("services", "http")}
    assert started_anew & set(mended), mended
    assert cluster.services_started("small")["streamgl-viz"] != "0"
    assert cluster.instance("small") == instance


def test_a_service_that_was_killed_is_running_again(cluster: Cluster) -> None:
    before = cluster.services_started("small")
    container = cluster.service("small", "streamgl-viz")
    # Docker's own `kill` counts as a wish: it starts nothing again after it.
    cluster.run("small", f"kill -KILL $(docker inspect -f '{{{{.State.Pid}}}}' {container})")
    cluster.until(
        "small",
        lambda _: (
            cluster.services_started("small")["streamgl-viz"] not in ("0", before["streamgl-viz"])
        ),
    )
    cluster.until_ready("small")


def machines(cluster: Cluster, node: str) -> dict[str, str]:
    """Every instance that ever was a node, with its state."""
    found = cluster.checkout.client("ec2").describe_instances(
        Filters=[{"Name": "tag:Name", "Values": [f"graphistry-sandbox-{node}"]}]
    )
    instances = [each for one in found["Reservations"] for each in one["Instances"]]
    return {each["InstanceId"]: each["State"]["Name"] for each in instances}


def test_a_follower_beyond_repair_is_replaced_once(cluster: Cluster) -> None:
    old = cluster.instance("small")
    others = {
        node: (cluster.instance(node), cluster.services_started(node))
        for node in ("leader", "large")
    }
    ever = set(machines(cluster, "small"))
    touch_machines_at_once(cluster, "small")
    cluster.edit_machine("small", gpus=[])
    cluster.until_failed("small", "GpuUnavailable")
    told: list[Report] = []
    cluster.until("small", lambda report: _told(told, report, old))
    marks = [
        each
        for each in repaired(told[-1])
        if "the Auto Scaling group replaces this machine" in each
    ]
    tries = [each for each in repaired(told[-1]) if each.startswith("gpus (try ")]
    assert len(tries) in (0, 3), told[-1]["repairs"]
    assert len(marks) <= 1
    assert [each["step"] for each in told[-1]["gpuActions"]][:1] == ["reboot"]
    cluster.until_ready("small")
    new = {name for name in machines(cluster, "small") if name not in ever}
    assert new == {cluster.instance("small")}, "one new machine, and no more"
    assert machines(cluster, "small")[old] == "terminated"
    log = (cluster.checkout.root / ".sandbox" / "daemon.log").read_text()
    assert log.count(f"{old} (graphistry-sandbox-small) is replaced by its group") == 1
    for node, (instance, started) in others.items():
        assert cluster.instance(node) == instance
        assert cluster.services_started(node) == started
        assert cluster.report(node)["state"] == "ready"
    assert changed_nothing(cluster.succeed())


def _told(told: list[Report], report: Report, old: str) -> bool:
    """Keep what the old machine says; whether another one speaks."""
    if report["instance"]["id"] == old:
        told.append(report)
        return False
    return True


def test_a_release_that_ignores_the_override_is_called_with_it(cluster: Cluster) -> None:
    """By Compose itself, with the files that the labels of the running containers name."""
    cluster.trap("small", overrideIgnored=True)
    failure = cluster.until_failed("small", "ComposeOverrideIgnored")
    assert "nexus.environment.REDIS_URL" in failure["message"]
    report = cluster.until_ready("small")
    assert "wiring (try 1): configured anew" in repaired(report)
    shown = cluster.run("small", "cat /opt/graphistry-cluster/compose-files.json")
    (origin,) = json.loads(shown).values()
    assert origin["project"] == "graphistry"
    assert [each.rpartition("/")[2] for each in origin["files"]] == [
        "docker-compose.yml",
        "follower.yml",
    ]
    unit = cluster.run("small", "systemctl cat graphistry.service")
    assert "docker compose -p graphistry" in unit
    cluster.trap("small")
    cluster.run("small", "rm /opt/graphistry-cluster/compose-files.json")
    cluster.restart_agent("small")
    cluster.until_ready("small")


def test_services_that_would_share_the_leaders_redis_are_found_and_parted(cluster: Cluster) -> None:
    cluster.trap("small", redisEverywhereLeader=True)
    failure = cluster.until_failed("small", "ComposeOverrideIgnored")
    assert "streamgl-viz.environment.REDIS_URL" in failure["message"]
    report = cluster.until_ready("small")
    assert "wiring (try 1): configured anew" in repaired(report)
    shown = json.loads(
        cluster.run("small", f"cd {cluster.release} && ./graphistry config --format json")
    )
    leader = cluster.nodes()["leader"]["machine"]["address"]
    urls = {
        name: service["environment"]["REDIS_URL"]
        for name, service in shown["services"].items()
        if "REDIS_URL" in service.get("environment", {})
    }
    endpoint = json.loads(cluster.run("small", "cat /opt/graphistry-cluster/specification.json"))[
        "endpoints"
    ]["redis"]["host"]
    shared = {name for name, url in urls.items() if leader in url or endpoint in url}
    assert shared == {"nexus", "forge-etl-python"}
    cluster.trap("small")
    cluster.restart_agent("small")
    cluster.until("small", lambda report: report["state"] == "converging")


@pytest.fixture
def stored(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A release in a bucket of its own: address and checksum. Afterwards the cluster fetches the one that it had.

    The same release in another archive, as one that is unpacked already is not fetched again.
    """
    archive = build_release(tmp_path, compression="none")
    s3 = cluster.checkout.client("s3")
    s3.create_bucket(Bucket="vendor-releases")
    s3.upload_file(str(archive), "vendor-releases", archive.name)
    before = cluster.checkout.setting("release")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    yield f"s3://vendor-releases/{archive.name}", digest
    cluster.checkout.change(release=before)
    cluster.succeed()
    s3.delete_object(Bucket="vendor-releases", Key=archive.name)
    s3.delete_bucket(Bucket="vendor-releases")


RELEASES = "/opt/graphistry-cluster/releases"


@contextmanager
def full_disk(cluster: Cluster, node: str) -> Iterator[None]:
    """Meanwhile, the disk on which a node unpacks releases is nearly full."""
    cluster.run(node, f"mkdir -p {RELEASES} && mount -t tmpfs -o size=16k none {RELEASES}")
    yield
    cluster.run(node, f"umount {RELEASES}")


def test_only_the_release_with_the_right_checksum_is_used(
    cluster: Cluster, stored: tuple[str, str]
) -> None:
    source, digest = stored
    release: dict[str, Any] = {**cluster.checkout.setting("release"), "source": source}
    cluster.checkout.change(release={**release, "sha256": "0" * 64})
    done = cluster.up()
    assert done.returncode != 0
    assert any(f"{node} is not ready: failed in release" in done.stdout for node in NODES)
    for node in NODES:
        failure = cluster.until_failed(node, "ReleaseChecksumMismatch")
        assert failure["phase"] == "release"
        assert digest in failure["message"]
        assert "0" * 64 in failure["message"]
        assert cluster.run(node, f"ls -A {shlex.quote(RELEASES)}") == "2.50.1-12\n"
    assert "ReleaseChecksumMismatch" in done.stdout
    assert "release.sha256" in done.stdout

    cluster.checkout.change(release={**release, "sha256": digest})
    with full_disk(cluster, "small"):
        done = cluster.up()
        assert done.returncode != 0
        assert "small is not ready: failed in release" in done.stdout
        assert "leader is not ready" not in done.stdout
        failure = cluster.until_failed("small", "DiskFull")
        assert "bigger disk" in failure["hint"]
        assert cluster.run("small", f"ls -A {RELEASES}") == ""
        for node in ("leader", "large"):
            assert cluster.report(node)["state"] == "ready"
    cluster.succeed()
    for node in NODES:
        report = cluster.report(node)
        assert report["state"] == "ready"
        assert report["versions"]["release"] == "2.50.1-12"
        assert cluster.run(node, f"ls {RELEASES}") == "2.50.1-12\n"
        unit = "systemctl show -P WorkingDirectory graphistry"
        assert cluster.run(node, unit) == f"{RELEASES}/2.50.1-12\n"
