"""Clusters on machines that really boot; each file of tests has one of its own."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sandbox.lifecycle import stop
from sandbox.machines import hosts
from sandbox.machines.availability import impossible
from sandbox.machines.hosts import HostMachine
from tests.cluster.nodes import Cluster
from tests.cluster.on_hosts import STACK, OnHosts
from tests.deployment.checkout import Checkout


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A checkout in which nothing was run yet; whatever boots in it is ended with the file."""
    if reason := impossible():
        pytest.skip(f"machines do not boot here: {reason}")
    root = tmp_path_factory.mktemp("cluster")
    try:
        yield Cluster(Checkout.create(root))
    finally:
        stop(root / ".sandbox")


@pytest.fixture(scope="module")
def cluster(empty: Cluster) -> Cluster:
    """A ready leader with two ready followers; tests put back what they change."""
    empty.succeed()
    return empty


@pytest.fixture(scope="module")
def on_hosts(empty: Cluster) -> OnHosts:
    """The same on hosts."""
    cluster = OnHosts(replace(empty.checkout, stack=STACK))
    cluster.succeed()
    return cluster


@pytest.fixture
def stranger(cluster: OnHosts) -> Iterator[Any]:
    """A machine in the network of a file's cluster on hosts that is none of its nodes."""
    sandbox = cluster.checkout.root / ".sandbox"
    hosts.want(sandbox, "strangers", [HostMachine("one", "10.77.0.99", 0, "", 0)])
    hosts.reach(sandbox, "strangers")
    yield cluster.container(hosts.container("strangers", "one"))
    hosts.want(sandbox, "strangers", [])
