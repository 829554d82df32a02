"""Clusters on machines that really boot.

A file has one of its own, or shares that of its folder, which it leaves as it found it. Those of a group in
``tests.conftest.TOGETHER`` are run in one process.
"""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.lifecycle import stop
from sandbox.machines import hosts
from sandbox.machines.availability import impossible
from sandbox.machines.hosts import HostMachine
from tests.cluster.nodes import Cluster
from tests.cluster.on_hosts import NODES, OnHosts
from tests.deployment.checkout import Checkout


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A checkout in which nothing was run yet; whatever boots in it is ended with the file."""
    yield from checkout(tmp_path_factory)


def checkout(folders: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A checkout in which nothing was run yet, and the end of whatever boots in it."""
    if reason := impossible():
        pytest.skip(f"machines do not boot here: {reason}")
    root = folders.mktemp("cluster")
    try:
        yield Cluster(Checkout.create(root))
    finally:
        stop(root / ".sandbox")
        # Its images, of which every cluster has its own: pytest keeps the folders of three runs.
        shutil.rmtree(root / ".sandbox" / "machines", ignore_errors=True)


_broken: set[str] = set()


def ready_again(cluster: Cluster) -> None:
    """Wait for a shared cluster's nodes; where that was in vain once, no test after it waits again."""
    root = str(cluster.checkout.root)
    assert root not in _broken, "a test before this one has left the cluster broken"
    try:
        for node in NODES:
            cluster.until_ready(node)
    except AssertionError:
        _broken.add(root)
        raise


@pytest.fixture
def stranger(cluster: OnHosts) -> Iterator[Any]:
    """A machine in the network of a file's cluster on hosts that is none of its nodes."""
    sandbox = cluster.checkout.root / ".sandbox"
    hosts.want(sandbox, "strangers", [HostMachine("one", "10.77.0.99", 0, "", 0)])
    hosts.reach(sandbox, "strangers")
    yield cluster.container(hosts.container("strangers", "one"))
    hosts.want(sandbox, "strangers", [])
