"""What the hosts that left a stack keep, read from the engine's log of events.

The program that removes a host prints it; Pulumi shows the lines of a command as a status, which a terminal forgets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from operate.stack.engine_events import Diagnostic, diagnostics

ENDS = ("-removal", "-admission")
"""How the names of the resources end that remove a host, and that have a leader of another stack forget it."""

NOTHING = "nothing was installed"
"""What a removal prints that has found nothing, and what nobody must read twice."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m|<\{%[^%]*%\}>")
"""Of a terminal, and as the engine writes them before it knows one."""


def removal_lines(events: Path, stack: str) -> Iterator[str]:
    """Each line once, in order, with the node whose host printed it; none without a log."""
    for node, text in dict.fromkeys(filter(None, map(_printed, diagnostics(events)))):
        yield f"{node.removeprefix(f'graphistry-{stack}').lstrip('-') or stack}: {text}"


def _printed(shown: Diagnostic) -> tuple[str, str] | None:
    """The resource that removes a host, without its ending, and a line that it printed."""
    text = _COLOURS.sub("", shown.message).rstrip()
    # What is not ephemeral Pulumi itself shows again at the end.
    if not shown.is_ephemeral or not shown.kinds.endswith("command:local:Command"):
        return None
    if not shown.name.endswith(ENDS) or not text or text == NOTHING:
        return None
    return shown.name.rpartition("-")[0], text
