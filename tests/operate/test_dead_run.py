"""What a killed Pulumi leaves beside a state in a file."""

import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from operate.messages import UserError
from operate.recover import clear_dead_run, refuse_while_busy

DEAD = 2**22 + 1
"""A process id that Linux gives to nobody."""


def backend(folder: Path, *, pid: int, state: str, backup: str, host: str = "") -> Any:
    """A deployment whose state is a file below *folder*, with the lock of process *pid*."""
    stacks = folder / ".pulumi" / "stacks" / "graphistry-cluster"
    locks = folder / ".pulumi" / "locks" / "organization" / "graphistry-cluster" / "sandbox"
    for each in (stacks, locks):
        each.mkdir(parents=True)
    (stacks / "sandbox.json").write_text(state)
    (stacks / "sandbox.json.bak").write_text(backup)
    holder = {"pid": pid, "hostname": host or socket.gethostname(), "timestamp": "now"}
    (locks / "lock.json").write_text(json.dumps(holder))
    return SimpleNamespace(stack="sandbox", environment={"PULUMI_BACKEND_URL": f"file://{folder}"})


def state_of(folder: Path) -> str:
    return (folder / ".pulumi/stacks/graphistry-cluster/sandbox.json").read_text()


@pytest.mark.parametrize("torn", ["", '{"version": 3, "checkp'])
def test_half_a_state_is_replaced_by_the_one_before(tmp_path: Path, torn: str) -> None:
    deployment = backend(tmp_path, pid=DEAD, state=torn, backup='{"before": 1}')
    clear_dead_run(deployment)
    assert state_of(tmp_path) == '{"before": 1}'
    refuse_while_busy(deployment)


def test_a_whole_state_is_left_as_it_is(tmp_path: Path) -> None:
    clear_dead_run(backend(tmp_path, pid=DEAD, state='{"now": 2}', backup='{"before": 1}'))
    assert state_of(tmp_path) == '{"now": 2}'


def test_a_process_that_is_no_pulumi_holds_no_lock(tmp_path: Path) -> None:
    deployment = backend(tmp_path, pid=os.getpid(), state="{}", backup="{}")
    clear_dead_run(deployment)
    refuse_while_busy(deployment)


def test_a_lock_of_another_computer_is_respected(tmp_path: Path) -> None:
    deployment = backend(tmp_path, pid=DEAD, state="", backup="{}", host="elsewhere")
    clear_dead_run(deployment)
    assert state_of(tmp_path) == ""
    with pytest.raises(UserError, match=r"another Pulumi .* on elsewhere"):
        refuse_while_busy(deployment)
