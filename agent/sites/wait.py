"""Waits until this host is what its specification says: what the operator's computer runs here."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

from agent import verdict
from agent.failures import HINTS
from agent.machine import unit
from agent.node import HOME
from agent.sites import delivered
from agent.verdict import SILENT_SECONDS, Seen, Verdict

DEAD_SECONDS = 15.0
"""How long the agent's unit may be inactive: somebody may be starting it."""
MOST_RESTARTS = 3
"""An agent that systemd starts again more often during a wait does not get anywhere."""
POLL_SECONDS = 1.0
SILENT_HINT = f"`journalctl -u {unit.UNIT_NAME}` on the host says more"


@dataclass(frozen=True)
class Observation:
    """What is known of the node at one moment."""

    elapsed_seconds: float
    """Since the wait began."""
    agent: str
    """The state of its unit."""
    report: dict[str, Any] | None
    age_seconds: float
    """Of the report."""
    inactive_seconds: float = 0.0
    """Since the unit was last seen active."""
    restarts: int = 0
    """Of the unit, since the wait began."""


def wait(specification: str) -> int:
    """Look until the node is ready for the specification with this hash, or has failed, and show every step."""
    began = active_at = time.monotonic()
    restarts = unit.restarts()

    def look() -> tuple[Verdict, float]:
        nonlocal active_at
        state, (report, age), now = unit.state(), read(), time.monotonic()
        active_at = now if state == "active" else active_at
        seen = Observation(
            now - began, state, report, age or 0.0, now - active_at, unit.restarts() - restarts
        )
        return judge(seen, specification), seen.elapsed_seconds

    found = verdict.follow(look, lambda line: print(line, flush=True), POLL_SECONDS)
    if found.outcome == "ready":
        print(found.line, flush=True)
        return 0
    wanted = delivered.specification()
    print(f"{wanted.node if wanted else 'it'} is not ready: {found.line}", file=sys.stderr)
    for line in found.told():
        print(line, file=sys.stderr)
    return 1


def status() -> dict[str, Any]:
    """The report, its age in seconds, and whether the agent runs."""
    report, age = read()
    return {"report": report, "ageSeconds": age, "agent": unit.state()}


def judge(seen: Observation, specification: str) -> Verdict:
    """What *seen* means for a node that should be what the document with hash *specification* says."""
    if seen.inactive_seconds > DEAD_SECONDS or seen.restarts > MOST_RESTARTS:
        reason = f"{unit.UNIT_NAME} is {seen.agent}, and was started again {seen.restarts} times"
        details = {"code": "AgentStopped", "reason": reason, "hint": HINTS["AgentStopped"]}
        return Verdict("failed", "its agent does not run", details, tuple(unit.log()))
    if seen.report is None:
        line = "its agent starts"
        found = verdict.waiting(seen.elapsed_seconds, line, SILENT_SECONDS, SILENT_HINT)
    else:
        address = seen.report.get("instance", {}).get("address", "")
        told = Seen(seen.report, seen.age_seconds, seen.elapsed_seconds, address, SILENT_HINT)
        found = verdict.judge(told, specification)
    if found.details.get("code") == "Silent":
        return replace(found, log=tuple(unit.log()))
    return found


def read() -> tuple[dict[str, Any] | None, float | None]:
    """The report and its age in seconds; None where there is none."""
    file = HOME / "report.json"
    try:
        report: dict[str, Any] = json.loads(file.read_bytes())
        return report, max(0.0, time.time() - file.stat().st_mtime)
    except (OSError, ValueError):
        return None, None
