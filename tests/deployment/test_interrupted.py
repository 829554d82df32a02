"""Deployments that are killed, and the one command after them: the same cluster, nothing twice."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.lifecycle import stop
from tests.deployment.checkout import Checkout

PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """The account after a deployment that nobody disturbed."""
    root = tmp_path_factory.mktemp("whole")
    undisturbed = Checkout.create(root)
    try:
        undisturbed.succeed("up")
        return undisturbed.account()
    finally:
        stop(root / ".sandbox")


def killed_when(checkout: Checkout, log: Path, moment: Callable[[str], bool]) -> None:
    """Start a deployment and ``kill -9`` all of it when *moment* says so of what it printed."""
    with log.open("w") as printed:
        running = subprocess.Popen(
            checkout.command("up"),
            cwd=checkout.root,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        end = time.monotonic() + PATIENCE_SECONDS
        while not moment(log.read_text()):
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def made(number: int) -> Callable[[str], bool]:
    """The moment when so many resources were made."""
    return lambda text: len(re.findall(r" created", text)) >= number


@pytest.mark.parametrize("number", [1, 12, 30, 50, 70])
def test_a_killed_deployment_is_taken_over_by_the_next(
    checkout: Checkout, whole: Counter[str], tmp_path: Path, number: int
) -> None:
    killed_when(checkout, tmp_path / "killed.log", made(number))
    shown = checkout.succeed("up")
    assert "the last run was killed" in shown
    assert checkout.account() == whole
    assert checkout.plan("--refresh") == {}


def test_a_deployment_killed_twice_is_taken_over(
    checkout: Checkout, whole: Counter[str], tmp_path: Path
) -> None:
    killed_when(checkout, tmp_path / "first.log", made(20))
    killed_when(checkout, tmp_path / "second.log", made(25))
    checkout.succeed("up")
    assert checkout.account() == whole


def test_a_sandbox_killed_halfway_is_started_again(
    checkout: Checkout, whole: Counter[str], tmp_path: Path
) -> None:
    log = tmp_path / "up.log"
    with log.open("w") as printed:
        running = subprocess.Popen(
            checkout.command("up"), cwd=checkout.root, stdout=printed, stderr=subprocess.STDOUT
        )
        while not made(20)(log.read_text()):
            assert running.poll() is None, log.read_text()
            time.sleep(0.01)
        os.kill(checkout.daemon()["pid"], signal.SIGKILL)
        assert running.wait(timeout=PATIENCE_SECONDS) != 0
    shown = checkout.succeed("up")
    assert "sandbox AWS started" in shown
    assert checkout.account() == whole


def test_a_deployment_at_work_is_not_disturbed(checkout: Checkout, tmp_path: Path) -> None:
    # Enough of them that the first is still at work when the second has begun.
    checkout.change(followers={f"follower-{n}": {"profile": "t4"} for n in range(20)})
    log = tmp_path / "up.log"
    with log.open("w") as printed:
        running = subprocess.Popen(
            checkout.command("up"), cwd=checkout.root, stdout=printed, stderr=subprocess.STDOUT
        )
        while not made(5)(log.read_text()):
            assert running.poll() is None, log.read_text()
            time.sleep(0.01)
        refused = checkout.operate("up")
        assert running.wait(timeout=PATIENCE_SECONDS) == 0, log.read_text()
    assert refused.returncode == 1
    assert "another command" in refused.stdout
    assert "Traceback" not in refused.stdout
