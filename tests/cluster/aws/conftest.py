"""The cluster on AWS that the files of this folder share: each leaves it as it found it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cluster.conftest import checkout, ready_again
from tests.cluster.nodes import Cluster

SLOW_SECONDS = 20
"""How long the leader's PostgreSQL and Nexus take at its first boot, and no more after it."""


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A ready leader with two ready followers, which had to wait for it."""
    for empty in checkout(tmp_path_factory):
        traps = empty.checkout.root / ".sandbox" / "traps"
        traps.mkdir(parents=True)
        trap = traps / "graphistry-sandbox-leader.json"
        trap.write_text(
            json.dumps({"slowStartSeconds": {"postgres": SLOW_SECONDS, "nexus": SLOW_SECONDS}})
        )
        empty.boot()
        trap.unlink()
        empty.trap("leader")
        yield empty


@dataclass(frozen=True)
class FirstBoot:
    """What is there to see of a cluster's boot before any test."""

    start_seconds: float
    """Of the leader's phase ``start``."""
    said: dict[str, str]
    """What the agent of each follower has said."""


@pytest.fixture(scope="package", autouse=True)
def first_boot(cluster: Cluster) -> FirstBoot:
    """Looked at before the first test, which may restart an agent."""
    phases = {each["name"]: each["seconds"] for each in cluster.report("leader")["phases"]}
    journal = "journalctl -u graphistry-cluster-agent -o cat --no-pager"
    said = {node: cluster.run(node, journal) for node in ("small", "large")}
    return FirstBoot(phases["start"], said)


@pytest.fixture(autouse=True)
def ready(cluster: Cluster) -> None:
    """Every test begins with a ready cluster."""
    ready_again(cluster)


@pytest.fixture
def extra(cluster: Cluster) -> Iterator[str]:
    """A follower that the stack file has beside the others, and the cluster not yet."""
    before = cluster.checkout.setting("followers")
    cluster.checkout.change(followers={**before, "extra": {"profile": "t4"}})
    yield "extra"
    cluster.checkout.change(followers=before)
    cluster.succeed()
