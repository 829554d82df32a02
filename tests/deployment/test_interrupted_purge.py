"""A purge that is stopped or killed: what is left of the data is kept by whatever command comes next."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from operate.stack.kept_data import KEPT
from tests.deployment.checkout import Checkout
from tests.deployment.test_end import DATA, MACHINES, snapshots

PATIENCE_SECONDS = 120

DOWN = """
from operate.commands.ending import take_down
from operate.stack.session import deployment
with deployment("sandbox", None) as opened:
    take_down(opened, yes=True)
"""
"""`./cluster down` without the end of the sandbox, in which nothing would be left to look at."""


def stop_purge(checkout: Checkout, log: Path, number: int, moment: str = "Destroying") -> None:
    """Send a signal to `./cluster purge` and to all that it has started, once it says that it destroys."""
    with log.open("w") as printed:
        running = subprocess.Popen(
            checkout.command("purge", "--name", "sandbox"),
            cwd=checkout.root,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        end = time.monotonic() + PATIENCE_SECONDS
        while moment not in "".join(log.read_text().partition("Destroying")[1:]):
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.01)
        os.killpg(running.pid, number)
        assert running.wait(timeout=PATIENCE_SECONDS) != 0


def unprotected(checkout: Checkout) -> list[str]:
    return [
        each["urn"]
        for each in checkout.resources()
        if each["type"] in KEPT and not each.get("protect")
    ]


def test_what_is_protected_is_what_is_protected_again(deployed: Checkout) -> None:
    protected = {each["type"] for each in deployed.resources() if each.get("protect")}
    # The snapshots' role is kept by their policy, which needs it.
    assert protected - {"aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"} == KEPT
    assert unprotected(deployed) == []


def test_a_killed_purge_is_not_finished_by_down(checkout: Checkout, tmp_path: Path) -> None:
    checkout.succeed("up")
    stop_purge(checkout, tmp_path / "purge.log", signal.SIGKILL)
    assert unprotected(checkout)
    down = subprocess.run(
        [sys.executable, "-c", DOWN], cwd=checkout.root, capture_output=True, text=True
    )
    assert down.returncode == 0, down.stdout + down.stderr
    assert "it is protected again" in " ".join((down.stdout + down.stderr).split())
    assert unprotected(checkout) == []
    after = checkout.account()
    assert all(after[kind] == 0 for kind in MACHINES), after
    assert {kind: after[kind] for kind in DATA} == {**dict.fromkeys(DATA, 1), "secrets": 2}
    checkout.succeed("purge", "--name", "sandbox")
    assert not any(checkout.account().values())


@pytest.mark.parametrize("moment", ["Destroying", "deleting ("])
def test_a_purge_that_is_stopped_protects_what_is_left(
    checkout: Checkout, tmp_path: Path, moment: str
) -> None:
    """Once it has deleted something, a Pulumi that is stopped says that it has deleted all, with status 0."""
    checkout.succeed("up")
    stop_purge(checkout, tmp_path / "purge.log", signal.SIGINT, moment)
    assert unprotected(checkout) == []
    assert "it is protected again" in " ".join((tmp_path / "purge.log").read_text().split())


def test_a_killed_purge_is_finished_by_another_which_makes_nothing_and_names_the_last_snapshot(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.succeed("up")
    stop_purge(checkout, tmp_path / "purge.log", signal.SIGKILL)
    # As far as a purge comes whose last step is what was killed.
    ended = checkout.pulumi("destroy", "--yes", "--skip-preview")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    finished = checkout.succeed("purge", "--name", "sandbox")
    assert "creat" not in finished
    assert not any(checkout.account().values())
    (last,) = snapshots(checkout)
    assert f"{last['SnapshotId']} is its last snapshot" in " ".join(finished.split())
