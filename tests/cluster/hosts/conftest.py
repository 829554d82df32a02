"""The cluster on hosts that the files of this folder share: each leaves it as it found it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.cluster.conftest import checkout, ready_again
from tests.cluster.on_hosts import STACK, OnHosts


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnHosts]:
    """A ready leader with two ready followers on hosts."""
    for empty in checkout(tmp_path_factory):
        found = OnHosts(replace(empty.checkout, stack=STACK))
        found.boot()
        yield found


@pytest.fixture(autouse=True)
def ready(cluster: OnHosts) -> None:
    """Every test begins with a ready cluster."""
    ready_again(cluster)
