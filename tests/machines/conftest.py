"""One sandbox with machines for all tests that do not harm it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.machines.availability import Machines
from tests.machines import world
from tests.machines.world import World


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, machines: Machines) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("machines")
    yield world.start(directory, machines)
    world.remove(directory)
