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


def backend(folder: Path, *, pid: int, side_file: str, host: str = "", query: str = "") -> Any:
    """A deployment whose state is a file below *folder*, with the lock of process *pid*."""
    locks = folder / ".pulumi" / "locks" / "organization" / "graphistry-cluster" / "sandbox"
    for each in (state_of(folder).parent, locks):
        each.mkdir(parents=True)
    state_of(folder).write_text("{}")
    state_of(folder).with_suffix(".json.attrs").write_text(side_file)
    holder = {"pid": pid, "hostname": host or socket.gethostname(), "timestamp": "now"}
    (locks / "lock.json").write_text(json.dumps(holder))
    environment = {"PULUMI_BACKEND_URL": f"file://{folder}{query}"}
    return SimpleNamespace(stack="sandbox", environment=environment)


def state_of(folder: Path) -> Path:
    return folder / ".pulumi/stacks/graphistry-cluster/sandbox.json"


def side_file_of(folder: Path) -> Path:
    return state_of(folder).with_suffix(".json.attrs")


@pytest.mark.parametrize("torn", ["", '{"md5": "nmk'])
@pytest.mark.parametrize("query", ["", "?metadata=skip"])
def test_a_torn_side_file_goes_with_the_lock(tmp_path: Path, torn: str, query: str) -> None:
    deployment = backend(tmp_path, pid=DEAD, side_file=torn, query=query)
    clear_dead_run(deployment)
    assert not side_file_of(tmp_path).exists()
    assert state_of(tmp_path).read_text() == "{}"
    refuse_while_busy(deployment)


def test_a_whole_side_file_is_left_as_it_is(tmp_path: Path) -> None:
    clear_dead_run(backend(tmp_path, pid=DEAD, side_file='{"md5": null}'))
    assert side_file_of(tmp_path).read_text() == '{"md5": null}'


def test_a_process_that_is_no_pulumi_holds_no_lock(tmp_path: Path) -> None:
    deployment = backend(tmp_path, pid=os.getpid(), side_file="{}")
    clear_dead_run(deployment)
    refuse_while_busy(deployment)


def test_a_lock_of_another_computer_is_respected(tmp_path: Path) -> None:
    deployment = backend(tmp_path, pid=DEAD, side_file="", host="elsewhere")
    clear_dead_run(deployment)
    assert side_file_of(tmp_path).exists()
    with pytest.raises(UserError, match=r"another Pulumi .* on elsewhere"):
        refuse_while_busy(deployment)
