"""Where the release of booting machines comes from: an image that has it, or an archive that was published."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.cluster.nodes import Cluster

TARGET = ("--target", "sandbox")
PREINSTALLED = "/home/ubuntu/graphistry"


@pytest.fixture
def of_the_marketplace(empty: Cluster) -> Cluster:
    """A leader alone, on Graphistry's own image."""
    empty.checkout.change(followers={}, image={"marketplace": True})
    empty.boot()
    return empty


def test_the_image_of_the_marketplace_comes_with_its_release(of_the_marketplace: Cluster) -> None:
    node = of_the_marketplace
    assert node.nodes()["leader"]["state"] == "ready"
    assert node.report("leader")["versions"]["release"] == "2.50.1-12"
    unit = "systemctl show -P WorkingDirectory graphistry"
    assert node.run("leader", unit) == f"{PREINSTALLED}\n"
    buckets = node.checkout.client("s3").list_buckets()["Buckets"]
    assert not [each for each in buckets if "releases" in each["Name"]]
    done = node.operate("down")
    assert done.returncode == 0, done.stdout


def test_a_stack_of_an_account_turns_green_from_a_bare_image_and_a_published_archive(
    empty: Cluster,
) -> None:
    dev = Cluster(replace(empty.checkout, stack="dev"))
    file = str(dev.checkout.root / "graphistry.tar.gz")
    refused = dev.operate("up", *TARGET)
    assert refused.returncode == 1
    assert "./cluster publish dev --target sandbox FILE" in refused.stdout
    for words in (("stand-in", file), ("publish", file, *TARGET), ("up", *TARGET)):
        done = dev.operate(*words)
        assert done.returncode == 0, done.stdout
    shown = dev.operate("status", *TARGET, "--json").stdout
    nodes = json.loads(shown[shown.index("[") :])
    assert {each["name"]: each["state"] for each in nodes} == {"leader": "ready", "one": "ready"}
    for node in ("leader", "one"):
        assert dev.report(node)["versions"]["release"] == "2.50.1-12"
        assert dev.run(node, f"ls {PREINSTALLED} 2>&1 || true").endswith(
            "No such file or directory\n"
        )
        unit = "systemctl show -P WorkingDirectory graphistry"
        assert dev.run(node, unit) == f"{dev.release}\n"
