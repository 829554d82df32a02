"""Running a command on nodes through AWS Systems Manager, which needs no open port and no key."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed
from tenacity import retry_if_result as retry_if

FINISHED = ("Success", "Failed", "TimedOut", "Cancelled", "DeliveryTimedOut", "Undeliverable")
POLL_SECONDS = 1.0
MOST_INSTANCES = 50
"""Instances that one command may name (AWS: SendCommand)."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command printed on one node."""

    succeeded: bool
    output: str
    error: str
    noise: str = ""
    """What the login shell printed before it, over SSH."""

    def json(self) -> dict[str, Any]:
        """The one JSON object it printed. Raises :class:`ValueError` with what it printed instead."""
        try:
            found: dict[str, Any] = json.loads(self.output)
        except ValueError:
            said = (self.error or self.output).strip().splitlines()
            raise ValueError(said[-1] if said else "it printed nothing") from None
        return found


def run_command(
    ssm: Any, instances: Collection[str], command: str, *, deadline_seconds: int = 300
) -> dict[str, Answer]:
    """Run a shell command on *instances* side by side; id of each to its answer.

    AWS cuts the output at 24,000 characters. Its errors pass through.
    """
    wanted = list(instances)
    answers: dict[str, Answer] = {}
    for start in range(0, len(wanted), MOST_INSTANCES):
        batch = wanted[start : start + MOST_INSTANCES]
        sent = ssm.send_command(
            InstanceIds=batch,
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": [command], "executionTimeout": [str(deadline_seconds)]},
        )["Command"]["CommandId"]
        answers |= {each: _answer(ssm, sent, each, deadline_seconds) for each in batch}
    return answers


def _answer(ssm: Any, command: str, instance: str, deadline_seconds: int) -> Answer:
    @retry(
        # An invocation is not there at once, and then takes its time.
        retry=retry_if(lambda found: found["Status"] not in FINISHED)
        | retry_if_exception_type(ssm.exceptions.InvocationDoesNotExist),
        wait=wait_fixed(POLL_SECONDS),
        stop=stop_after_attempt(int(deadline_seconds / POLL_SECONDS) + 30),
        retry_error_callback=lambda state: {"Status": "TimedOut"},
    )
    def finished() -> dict[str, Any]:
        found: dict[str, Any] = ssm.get_command_invocation(CommandId=command, InstanceId=instance)
        return found

    try:
        found = finished()
    except ClientError as error:
        return Answer(succeeded=False, output="", error=str(error))
    return Answer(
        succeeded=found["Status"] == "Success",
        output=found.get("StandardOutputContent", ""),
        error=found.get("StandardErrorContent", "") or found["Status"],
    )
