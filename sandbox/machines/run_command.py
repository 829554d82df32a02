"""Systems Manager's Run Command: what moto only records is really run, as root on the machine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import docker.errors
from moto.ssm.exceptions import SSMException
from moto.ssm.models import Command, SimpleSystemManagerBackend

from ..provider.moto_gaps import MEMORY
from . import inside

DOCUMENT = "AWS-RunShellScript"
OUTPUT_CHARACTERS = 24_000
"""What GetCommandInvocation returns of each output (AWS: its API reference)."""

Execute = Callable[[str, str], tuple[int, str, str]]
"""Instance id and script -> exit status, standard output, standard error."""


def mend(execute: Execute, is_reachable: Callable[[str], bool]) -> None:
    """Let moto's SendCommand run shell scripts; other documents succeed at once, as in moto.

    moto takes a command without targets for one to every instance, whichever ids it names.
    """
    original = SimpleSystemManagerBackend.send_command

    def send(backend: Any, **named: Any) -> Any:
        asked = list(named["instance_ids"] or [])
        command = original(backend, **named)
        if command.document_name != DOCUMENT:
            return command
        if not named["targets"]:
            kept = [each for each in command.invocations if each["InstanceId"] in asked]
            command.instance_ids, command.invocations = asked, kept
            command.target_count = len(kept)
        alien = [each for each in command.instance_ids if not is_reachable(each)]
        if alien:
            backend._commands.remove(command)
            message = f"Instances [[{', '.join(alien)}]] not in a valid state for account"
            raise SSMException("InvalidInstanceId", message)
        begin(command, execute)
        return command

    SimpleSystemManagerBackend.send_command = send


def begin(command: Command, execute: Execute) -> None:
    """Start a command on each of its machines and return at once."""
    command.status = command.status_details = "InProgress"
    command.completed_count = 0
    script = "\n".join(command.parameters.get("commands", []))
    for invocation in command.invocations:
        invocation.update(
            Status="InProgress",
            StatusDetails="InProgress",
            ResponseCode=-1,
            ExecutionEndDateTime="",
            ExecutionElapsedTime="",
        )
        threading.Thread(
            target=_finish, args=(command, invocation, script, execute), daemon=True
        ).start()


def _finish(command: Any, invocation: dict[str, Any], script: str, execute: Execute) -> None:
    started = datetime.now(UTC)
    try:
        code, output, errors = execute(invocation["InstanceId"], script)
    except Exception as error:  # the machine went away: the invocation must end all the same
        logging.warning("run command on %s: %r", invocation["InstanceId"], error)
        code, output, errors = -1, "", f"the machine is not reachable: {error}"
    ended = datetime.now(UTC)
    status = "Success" if code == 0 else "Failed"
    with MEMORY:
        invocation.update(
            Status=status,
            StatusDetails=status,
            ResponseCode=code,
            StandardOutputContent=output[:OUTPUT_CHARACTERS],
            StandardErrorContent=errors[:OUTPUT_CHARACTERS],
            ExecutionEndDateTime=ended.isoformat(),
            ExecutionElapsedTime=f"PT{(ended - started).total_seconds():.3f}S",
        )
        command.completed_count += 1
        command.error_count += code != 0
        if command.completed_count == len(command.invocations):
            failed = any(each["Status"] == "Failed" for each in command.invocations)
            command.status = command.status_details = "Failed" if failed else "Success"


def execute_in(client: Any) -> Execute:
    """How a script is run in the container of a machine."""

    def execute(instance: str, script: str) -> tuple[int, str, str]:
        done = inside.execute(client, instance, ["/bin/sh", "-c", script])
        return done.returncode, _text(done.stdout), _text(done.stderr)

    return execute


def reachable_in(client: Any) -> Callable[[str], bool]:
    """Whether the container of an instance runs."""

    def is_reachable(instance: str) -> bool:
        try:
            return bool(client.api.inspect_container(instance)["State"]["Running"])
        except docker.errors.APIError:
            return False

    return is_reachable


def _text(output: bytes) -> str:
    return output.decode(errors="replace")
