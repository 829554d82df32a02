"""That the benchmark works: its numbers are for a quiet machine, and no test asserts a time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.harness import ROOT

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """What `python -m bench --quick --json` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_cluster_and_floor_are_the_same_number_of_resources(measured: dict[str, Any]) -> None:
    assert set(measured["resources"]) == {"1", "10"}
    for made in measured["resources"].values():
        assert made["cluster"] == made["floor"]
    assert measured["resources"]["10"]["floor"] > measured["resources"]["1"]["floor"]


def test_every_aim_has_its_ratio(measured: dict[str, Any]) -> None:
    ratios = [
        *measured["overhead"]["1"].items(),
        *measured["overhead"]["10"].items(),
        *measured["growth"]["cluster"].items(),
        *measured["growth"]["floor"].items(),
    ]
    assert {command for command, _ in ratios} == {"preview", "up"}
    assert all(ratio > 0 for _, ratio in ratios)
    assert all(ratio > 0 for ratio in measured["startup"].values())
