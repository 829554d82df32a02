"""A run of Pulumi that was killed, or is still at work: its lock is released, or it is waited for."""

from __future__ import annotations

import json
from pathlib import Path

from model.problems import UserError
from operate.stack.deployment import Deployment
from operate.stack.pulumi_lock import holder_of, is_noted, is_running, locks
from operate.terminal.messages import say


def clear_dead_run(deployment: Deployment) -> None:
    """Undo what a killed Pulumi of this computer leaves where the state is a file: its lock, and torn side files.

    Pulumi replaces the state itself by one rename, but the ``.attrs`` file beside it is written in place, and an empty
    one makes every later command end in ``EOF``. It holds a content type and a checksum that Pulumi does without.
    Other backends write whole and have locks that expire or belong to people; they are left to ``pulumi cancel``, as
    is every lock that another computer may hold. The state of a sandbox is in its checkout, and no other has it.
    """
    for lock in locks(deployment.environment, deployment.stack):
        holder = holder_of(lock)
        is_own = deployment.sandbox is not None or is_noted(deployment.note, lock)
        if not is_own or is_running(holder):
            continue
        say(f"the last run was killed (process {holder['pid']}); releasing its lock")
        for side_file in lock.parents[4].rglob("*.attrs"):
            if not _is_whole(side_file):
                side_file.unlink()
        lock.unlink(missing_ok=True)


def refuse_while_busy(deployment: Deployment) -> None:
    """Raise :class:`UserError` while another Pulumi is changing the stack."""
    for lock in locks(deployment.environment, deployment.stack):
        holder = holder_of(lock)
        if not holder:
            continue  # it has just gone
        raise UserError(
            f"another Pulumi (process {holder['pid']} on {holder['hostname']}) is changing the stack "
            f"{deployment.stack} since {holder['timestamp']}; wait for it to end, or run "
            f"`pulumi cancel --stack {deployment.stack}` if you know that it is gone, on every computer of that name"
        )


def _is_whole(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return True
