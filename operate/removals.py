"""What the hosts that left a stack keep, read from the engine's log of events.

The program that removes a host prints it; Pulumi shows the lines of a command as a status, which a terminal forgets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ENDS = ("-removal", "-admission")
"""How the names of the resources end that remove a host, and that have a leader of another stack forget it."""

NOTHING = "nothing was installed"
"""What a removal prints that has found nothing, and what nobody must read twice."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m|<\{%[^%]*%\}>")
"""Of a terminal, and as the engine writes them before it knows one."""


def removal_lines(events: Path, stack: str) -> Iterator[str]:
    """Each line once, in order, with the node whose host printed it; none without a log."""
    lines = events.read_text().splitlines() if events.exists() else []
    for node, text in dict.fromkeys(filter(None, map(_printed, lines))):
        yield f"{node.removeprefix(f'graphistry-{stack}').lstrip('-') or stack}: {text}"


def _printed(line: str) -> tuple[str, str] | None:
    """The resource that removes a host, without its ending, and a line that it printed."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None  # the last line of an engine that was killed
    shown = event.get("diagnosticEvent", {})
    kinds, _, name = shown.get("urn", "").rpartition("::")
    text = _COLOURS.sub("", shown.get("message", "")).rstrip()
    # What is not ephemeral Pulumi itself shows again at the end.
    if not shown.get("ephemeral") or not kinds.endswith("command:local:Command"):
        return None
    if not name.endswith(ENDS) or not text or text == NOTHING:
        return None
    return name.rpartition("-")[0], text
