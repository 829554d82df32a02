"""What the engine's log of events (``--event-log``) has from resources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """One message of a resource."""

    kinds: str
    """The types of the resource and its parents, as in its URN."""
    name: str
    severity: str
    message: str
    is_ephemeral: bool
    """Whether Pulumi shows it as a status only, which a terminal forgets."""


def diagnostics(events: Path) -> Iterator[Diagnostic]:
    """Every message of the log, in order; none without a log."""
    for line in events.read_text().splitlines() if events.exists() else []:
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError:
            continue  # the last line of an engine that was killed
        shown = event.get("diagnosticEvent", {})
        kinds, _, name = shown.get("urn", "").rpartition("::")
        yield Diagnostic(
            kinds=kinds,
            name=name,
            severity=shown.get("severity", ""),
            message=shown.get("message", ""),
            is_ephemeral=bool(shown.get("ephemeral")),
        )
