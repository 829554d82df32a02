"""What this node's report means to whoever waits for it; operate/steps/node_ready.py judges nodes of AWS alike."""

from __future__ import annotations

import datetime
import json
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any

from agent.failures import HINTS
from agent.machine import unit
from agent.node import HOME
from agent.sites import delivered

DEADLINE_SECONDS = 3600.0
"""Longest wait: a release of some 15 GB is unpacked and loaded, and services take minutes to be healthy."""
SILENT_SECONDS = 240.0
"""Longest silence of an agent that has reported; it does every minute or more often."""
RETRY_SECONDS = 120.0
"""How long a failure from before the wait may stand, for the agent tries again within a minute."""
DEGRADED_SECONDS = 300.0
"""How long a node may be degraded: its agent's repairs are over sooner, and what it waits for is somebody's to mend."""
DEAD_SECONDS = 15.0
"""How long the agent's unit may be inactive: somebody may be starting it."""
MOST_RESTARTS = 3
"""An agent that systemd starts again more often during a wait does not get anywhere."""
POLL_SECONDS = 1.0
STILL_SECONDS = 30.0
"""How often a phase that takes long is shown again; it also finds out whether anybody still listens."""


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

    @property
    def failure_age_seconds(self) -> float:
        """Since the failure in the report, which may be older than it."""
        failure = (self.report or {}).get("failure") or {}
        if "at" not in failure or self.report is None:
            return self.age_seconds
        return self.age_seconds + _seconds(self.report["heartbeat"]) - _seconds(failure["at"])

    @property
    def running(self) -> str | None:
        """The phase that is at work."""
        phases = (self.report or {}).get("phases", [])
        return next((each["name"] for each in phases if each["state"] == "running"), None)


@dataclass(frozen=True)
class Verdict:
    """What an observation means: `ready`, `waiting` or `failed`, and what to show."""

    outcome: str
    line: str
    details: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)


def wait(specification: str) -> int:
    """Look until the node is ready for the specification with this hash, or has failed, and show every step."""
    began, shown, shown_at = time.monotonic(), "", 0.0
    restarts, active_at = unit.restarts(), began
    while True:
        seen = look(time.monotonic() - began)
        active_at = time.monotonic() if seen.agent == "active" else active_at
        seen = replace(
            seen,
            inactive_seconds=time.monotonic() - active_at,
            restarts=unit.restarts() - restarts,
        )
        verdict = judge(seen, specification)
        if verdict.outcome != "waiting":
            break
        now = time.monotonic()
        if verdict.line != shown or now - shown_at > STILL_SECONDS:
            print(f"{verdict.line} ({seen.elapsed_seconds:.0f} s)", flush=True)
            shown, shown_at = verdict.line, now
        time.sleep(POLL_SECONDS)
    if verdict.outcome == "ready":
        print(verdict.line, flush=True)
        return 0
    wanted = delivered.specification()
    print(f"{wanted.node if wanted else 'it'} is not ready: {verdict.line}", file=sys.stderr)
    for name, text in verdict.details.items():
        print(f"  {name:8} {text}", file=sys.stderr)
    for line in verdict.log:
        print(f"  log      {line}", file=sys.stderr)
    return 1


def look(elapsed_seconds: float) -> Observation:
    """The present moment."""
    report, age = _read()
    return Observation(elapsed_seconds, unit.state(), report, age or 0.0)


def status() -> dict[str, Any]:
    """The report, its age in seconds, and whether the agent runs."""
    report, age = _read()
    return {"report": report, "ageSeconds": age, "agent": unit.state()}


def judge(seen: Observation, specification: str) -> Verdict:
    """What *seen* means for a node that should be what the document with hash *specification* says."""
    if seen.inactive_seconds > DEAD_SECONDS or seen.restarts > MOST_RESTARTS:
        reason = f"{unit.UNIT_NAME} is {seen.agent}, and was started again {seen.restarts} times"
        details = {"code": "AgentStopped", "reason": reason, "hint": HINTS["AgentStopped"]}
        return Verdict("failed", "its agent does not run", details, unit.log())
    report = seen.report
    if report is None:
        return _waiting(seen, "its agent starts", SILENT_SECONDS)
    failure = report.get("failure")
    if (
        failure
        and report["state"] == "failed"
        and report.get("specification") in (None, specification)
    ):
        return _reported_failure(seen, failure)
    if seen.age_seconds > SILENT_SECONDS:
        silent = f"its agent is silent for {seen.age_seconds:.0f} s"
        return _waiting(seen, silent, RETRY_SECONDS)
    if report.get("specification") != specification:
        patience = DEADLINE_SECONDS if seen.running else SILENT_SECONDS
        return _waiting(seen, "its agent has not read the new specification", patience)
    if report["state"] == "ready":
        return Verdict("ready", _times(report))
    if report["state"] == "degraded" and failure and seen.elapsed_seconds >= DEGRADED_SECONDS:
        return _told(report, "degraded", failure)
    unproven = [f"{each['name']}: {each['detail']}" for each in report["checks"] if not each["ok"]]
    line = report["phase"]
    if report["state"] != "converging":
        line = f"{report['state']}: {', '.join(unproven)}"
    return _waiting(seen, line, DEADLINE_SECONDS)


def _reported_failure(seen: Observation, failure: dict[str, Any]) -> Verdict:
    """A failure ends the wait, unless it is from before the wait and the agent may be trying again."""
    at_work = seen.running if seen.age_seconds < SILENT_SECONDS else None
    patience = DEADLINE_SECONDS if at_work else RETRY_SECONDS
    if seen.failure_age_seconds > seen.elapsed_seconds and seen.elapsed_seconds < patience:
        where = f" ({at_work})" if at_work else ""
        return Verdict("waiting", f"was {failure['code']}; its agent tries again{where}")
    return _told(seen.report or {}, f"failed in {failure['phase']}", failure)


def _told(report: dict[str, Any], line: str, failure: dict[str, Any]) -> Verdict:
    """The end of a wait, with everything that the agent says of the failure."""
    details = {
        "phase": failure["phase"],
        "code": failure["code"],
        "reason": failure["message"],
        "hint": failure.get("hint") or "docs/failures.md has the code",
        "machine": report.get("instance", {}).get("address", ""),
    }
    return Verdict("failed", line, details, failure.get("log", []))


def _waiting(seen: Observation, line: str, patience_seconds: float) -> Verdict:
    if seen.elapsed_seconds < patience_seconds:
        return Verdict("waiting", line)
    details = {
        "code": "Silent",
        "reason": f"for {seen.elapsed_seconds:.0f} s: {line}",
        "hint": f"`journalctl -u {unit.UNIT_NAME}` on the host says more",
    }
    return Verdict("failed", line, details, unit.log())


def _times(report: dict[str, Any]) -> str:
    """How long each phase took that took a while."""
    spent = [f"{each['name']} {each['seconds']:.0f} s" for each in report["phases"]]
    long = [text for text, each in zip(spent, report["phases"]) if each["seconds"] >= 1]
    return "ready" + (f" ({', '.join(long)})" if long else "")


def _read() -> tuple[dict[str, Any] | None, float | None]:
    """The report and its age in seconds; None where there is none."""
    file = HOME / "report.json"
    try:
        report: dict[str, Any] = json.loads(file.read_bytes())
        return report, max(0.0, time.time() - file.stat().st_mtime)
    except (OSError, ValueError):
        return None, None


def _seconds(text: str) -> float:
    """An ISO 8601 time as seconds since 1970."""
    return datetime.datetime.fromisoformat(text).timestamp()
