"""What a killed Pulumi leaves beside a state in a file."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model.problems import UserError
from operate.stack import pulumi_lock
from operate.stack.dead_run import clear_dead_run, refuse_while_busy
from operate.stack.pulumi_lock import wait_noting_lock

DEAD = 2**22 + 1
"""A process id that Linux gives to nobody."""


def backend(
    folder: Path,
    *,
    pid: int,
    side_file: str,
    host: str = "",
    query: str = "",
    noted: bool = True,
    where: str = "",
    sandbox: bool = False,
) -> Any:
    """A deployment whose state is a file below *folder*, with the lock of process *pid*, which this checkout has
    *noted* unless it is of another one."""
    locks = folder / ".pulumi" / "locks" / "organization" / "graphistry-cluster" / "sandbox"
    for each in (state_of(folder).parent, locks):
        each.mkdir(parents=True)
    state_of(folder).write_text("{}")
    state_of(folder).with_suffix(".json.attrs").write_text(side_file)
    holder = {"pid": pid, "hostname": host or socket.gethostname(), "timestamp": "now"}
    (locks / "lock.json").write_text(json.dumps(holder))
    environment = {"PULUMI_BACKEND_URL": f"file://{folder}{query}"}
    note = folder / "note.json"
    if noted:
        note.write_text(json.dumps({"lock": "lock.json", "where": where or pulumi_lock._where()}))
    return SimpleNamespace(
        stack="sandbox", environment=environment, note=note, sandbox="one" if sandbox else None
    )


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


@pytest.mark.parametrize(
    "other",
    [
        {"noted": False},  # of another computer of the same name
        {"where": "another boot, or another container on this computer"},
    ],
)
def test_a_lock_that_somebody_else_may_hold_under_this_name_is_respected(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    deployment = backend(tmp_path, pid=DEAD, side_file="", **other)
    clear_dead_run(deployment)
    assert side_file_of(tmp_path).exists()
    with pytest.raises(UserError, match="on every computer of that name"):
        refuse_while_busy(deployment)


def test_nobody_else_has_the_state_of_a_sandbox(tmp_path: Path) -> None:
    deployment = backend(tmp_path, pid=DEAD, side_file="{}", noted=False, sandbox=True)
    clear_dead_run(deployment)
    refuse_while_busy(deployment)


LOCKS = """
import json, os, pathlib, sys, time
folder, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])
lock = folder / "own.json"
lock.write_text(json.dumps({"pid": os.getpid(), "hostname": os.uname().nodename, "timestamp": "now"}))
time.sleep(seconds)
lock.unlink()
"""
"""A Pulumi that takes a lock for some seconds."""


def test_the_lock_of_a_run_is_noted_while_it_runs(tmp_path: Path) -> None:
    deployment = backend(tmp_path, pid=os.getpid(), side_file="{}", noted=False)
    folder = tmp_path / ".pulumi/locks/organization/graphistry-cluster/sandbox"
    with subprocess.Popen([sys.executable, "-c", LOCKS, str(folder), "60"]) as run:
        waiting = threading.Thread(
            target=wait_noting_lock,
            args=(run, deployment.environment, "sandbox", deployment.note),
        )
        waiting.start()
        end = time.monotonic() + 30
        while not deployment.note.exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        assert json.loads(deployment.note.read_text())["lock"] == "own.json"
        run.kill()
        waiting.join()
    # Somebody who waits for a Pulumi that was killed leaves the note, by which the next command releases the lock.
    (folder / "lock.json").unlink()
    clear_dead_run(deployment)
    assert list(folder.iterdir()) == []


def test_no_note_is_left_by_a_run_that_took_no_lock(tmp_path: Path) -> None:
    deployment = backend(tmp_path, pid=os.getpid(), side_file="{}", noted=False)
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as run:
        status = wait_noting_lock(run, deployment.environment, "sandbox", deployment.note)
    assert status == 3
    assert not deployment.note.exists()
