"""Checkouts with a deployed cluster; each has a sandbox of its own, stopped at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.lifecycle import stop
from tests.deployment.checkout import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A fresh checkout in which nothing was run yet."""
    yield Checkout.create(tmp_path)
    stop(tmp_path / ".sandbox")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout with the default stack deployed; its tests put back what they change."""
    root = tmp_path_factory.mktemp("deployed")
    found = Checkout.create(root)
    try:
        found.succeed("up")
        yield found
    finally:
        stop(root / ".sandbox")
