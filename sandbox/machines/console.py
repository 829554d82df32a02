"""What EC2 calls a machine's console output: moto has one text for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.responses.general import General

OUTPUT_BYTES = 64 * 1024
"""What GetConsoleOutput returns: the last 64 KB (AWS: its API reference)."""


def mend(read: Callable[[str], str]) -> None:
    """Let GetConsoleOutput tell what `read` gives for an instance's id."""

    def answer(request: Any) -> ActionResult:
        instance = request.ec2_backend.get_instance(request._get_param("InstanceId"))
        text = read(instance.id).encode()[-OUTPUT_BYTES:].decode(errors="ignore")
        return ActionResult(
            {
                "InstanceId": instance.id,
                "Timestamp": utcnow(),
                "Output": Base64EncodedString.from_raw_string(text),
            }
        )

    General.get_console_output = answer
