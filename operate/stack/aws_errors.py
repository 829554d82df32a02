"""How AWS answers with errors; what it refused while Pulumi was deploying is told again at the end: which resource,
AWS's code, what to do.

Pulumi shows AWS's own words among everything else; the engine's log of events has them by resource.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from model.refusals import DENIED, missing_right, reason_of
from operate.stack.engine_events import Diagnostic, diagnostics

LEADERS: Mapping[str, str] = {
    "InsufficientInstanceCapacity": (
        "AWS has no such machine free in this zone now: put another type first in its profile, name another "
        "leader.availabilityZone while the cluster is new, or reserve capacity and name it in "
        "leader.capacityReservation"
    ),
}
"""Hints for the machine that a deployment itself launches, where a follower's are others."""


def refused(events: Path) -> Iterator[str]:
    """A line for each known reason for which AWS refused resources, from the engine's log of events; none without."""
    told = dict(filter(None, map(_refusal, diagnostics(events))))
    for why in dict.fromkeys(told.values()):
        yield f"{', '.join(each for each in told if told[each] == why)}: {why}"


def _refusal(said: Diagnostic) -> tuple[str, str] | None:
    # What waits for a node tells the node's own errors, which may have the same words.
    if said.severity != "error" or "aws:" not in said.kinds.rpartition("$")[2]:
        return None
    why = _why(said.message)
    return (said.name, why) if why else None


def _why(message: str) -> str | None:
    if denied := DENIED.search(message):
        right = missing_right(message) or "the right to this call"
        hint = "have it given to them; `aws sts get-caller-identity` shows who"
        return f"{denied[0]}: whoever deploys lacks {right}: {hint}"
    reason = reason_of(message)
    return f"{reason.code}: {LEADERS.get(reason.code, reason.hint)}" if reason else None
