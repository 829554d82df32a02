"""The cluster on AWS that the files of this folder share: each leaves it as it found it."""

import json
from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def ready(cluster: Cluster) -> None:
    """Every test begins with a ready cluster."""
    ready_again(cluster)
