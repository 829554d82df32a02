"""Pulumi's lock where the state is a file: whose it is, and whether whoever holds it still runs.

A lock has a process id and a host name, and two computers or containers that share a folder may have both in common.
So the lock of a run is noted while it runs, by its own file name, and only what this checkout has noted is released.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from model.settings.stack_keys import PROJECT

LOOK_SECONDS = 0.1
"""How often a run that has no lock yet is looked at."""


def wait_noting_lock(
    process: subprocess.Popen[Any], environment: Mapping[str, str], stack: str, note: Path
) -> int:
    """Wait for a run of Pulumi and return its exit status; *note* says which lock is its own.

    The note stays: a lock's name comes once, and whoever was killed leaves both.
    """
    before = {each.name for each in locks(environment, stack)}
    while has_locks(environment):
        try:
            return process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        for lock in locks(environment, stack):
            if lock.name not in before and holder_of(lock).get("pid") == process.pid:
                with contextlib.suppress(
                    OSError
                ):  # without a note, `pulumi cancel` is for a person
                    note.parent.mkdir(parents=True, exist_ok=True)
                    note.write_text(json.dumps({"lock": lock.name, "where": _where()}))
                return process.wait()
    return process.wait()


def has_locks(environment: Mapping[str, str]) -> bool:
    """Whether locks of this backend are files."""
    return environment.get("PULUMI_BACKEND_URL", "").startswith("file://")


def locks(environment: Mapping[str, str], stack: str) -> list[Path]:
    """The locks of a stack; none where they are no files."""
    if not has_locks(environment):
        return []
    backend = environment["PULUMI_BACKEND_URL"].removeprefix("file://").partition("?")[0]
    folder = Path(backend).expanduser() / ".pulumi" / "locks"
    return list(folder.glob(f"organization/{PROJECT}/{stack}/*.json"))


def holder_of(lock: Path) -> dict[str, Any]:
    """Who holds a lock; nothing of one that has just gone, or is being written."""
    try:
        found: dict[str, Any] = json.loads(lock.read_text())
    except (OSError, ValueError):
        return {}
    return found


def is_noted(note: Path, lock: Path) -> bool:
    """Whether this checkout took the lock, here and since this computer's last boot."""
    try:
        noted = json.loads(note.read_text())
    except (OSError, ValueError):
        return False
    return bool(noted == {"lock": lock.name, "where": _where()})


def _where() -> str:
    """Where a process id means one process: this boot, and in it this container."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:  # no Linux
        parts.append(str(round(psutil.boot_time(), -1)))
    return " ".join(parts)


def is_running(holder: Mapping[str, Any]) -> bool:
    """Whether the Pulumi that holds a lock lives: not one that only waits to be reaped, nor a later one of its
    number. One on another computer is taken to live."""
    if holder.get("hostname") != socket.gethostname():
        return True
    try:
        process = psutil.Process(int(holder["pid"]))
        return process.name() == "pulumi" and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
