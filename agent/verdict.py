"""What a node's report means to whoever waits for the node: one judgement, on the host, on AWS and in every table."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass, field
from typing import Any, Callable

DEADLINE_SECONDS = 3600.0
"""Longest wait: a machine, its boot, a release of some 15 GB that is fetched and loaded, services that take minutes."""
BOOT_SECONDS = 900.0
"""Longest silence of a machine that has not reported yet; GPU machines boot in two to five minutes."""
SILENT_SECONDS = 240.0
"""Longest silence of an agent that has reported; it does every minute or more often."""
RETRY_SECONDS = 120.0
"""How long a failure from before the wait may stand, for the agent tries again within a minute."""
DEGRADED_SECONDS = 300.0
"""How long a node may be degraded: its agent's repairs are over sooner, and what it waits for is somebody's to mend."""
STILL_SECONDS = 30.0
"""How often a phase that takes long is shown again; it also finds out whether anybody still listens."""


@dataclass(frozen=True)
class Seen:
    """A report at one moment of a wait. `machine` names what wrote it, `silent_hint` says how to find out more."""

    report: dict[str, Any]
    age_seconds: float
    elapsed_seconds: float
    """Since the wait began."""
    machine: str = ""
    silent_hint: str = ""

    @property
    def is_silent(self) -> bool:
        """Whether its agent has not reported for longer than it may."""
        return self.age_seconds > SILENT_SECONDS

    @property
    def failure_age_seconds(self) -> float:
        """Since the failure in the report, which may be older than it."""
        failure = self.report.get("failure") or {}
        if not failure.get("at"):
            return self.age_seconds
        return self.age_seconds + _seconds(self.report["heartbeat"]) - _seconds(failure["at"])

    @property
    def running(self) -> str | None:
        """The phase that is at work."""
        phases = self.report.get("phases", [])
        return next((each["name"] for each in phases if each["state"] == "running"), None)

    def is_of(self, specification: str) -> bool:
        """Whether it is about the document with this hash, or about none: who cannot read a document has no hash."""
        return self.report.get("specification") in (None, specification)


@dataclass(frozen=True)
class Verdict:
    """What was seen means: `ready`, `waiting` or `failed`, and what to show."""

    outcome: str
    line: str
    details: dict[str, str] = field(default_factory=dict)
    log: tuple[str, ...] = ()

    def told(self) -> list[str]:
        """What to show of a failure below its first line."""
        lines = [f"  {name:8} {text}" for name, text in self.details.items()]
        return [*lines, *(f"  log      {line}" for line in self.log)]


def judge(seen: Seen, specification: str) -> Verdict:
    """What *seen* means for a node that should be what the document with hash *specification* says."""
    report, failure = seen.report, seen.report.get("failure")
    if failure and report["state"] == "failed" and seen.is_of(specification):
        return _reported_failure(seen, failure)
    if seen.is_silent:
        silent = f"its agent is silent for {seen.age_seconds:.0f} s"
        return waiting(seen.elapsed_seconds, silent, RETRY_SECONDS, seen.silent_hint)
    if report.get("specification") != specification:
        patience = DEADLINE_SECONDS if seen.running else SILENT_SECONDS
        line = "its agent has not read the new specification"
        return waiting(seen.elapsed_seconds, line, patience, seen.silent_hint)
    if report["state"] == "ready":
        return Verdict("ready", _times(report))
    if report["state"] == "degraded" and failure and seen.elapsed_seconds >= DEGRADED_SECONDS:
        return _told(seen, "degraded", failure)
    unproven = [f"{each['name']}: {each['detail']}" for each in report["checks"] if not each["ok"]]
    line = report["phase"]
    if report["state"] != "converging":
        line = f"{report['state']}: {', '.join(unproven)}"
    return waiting(seen.elapsed_seconds, line, DEADLINE_SECONDS, seen.silent_hint)


def waiting(elapsed_seconds: float, line: str, patience_seconds: float, hint: str) -> Verdict:
    """Something that may last so long; longer is a failure with the code `Silent`."""
    if elapsed_seconds < patience_seconds:
        return Verdict("waiting", line)
    details = {"code": "Silent", "reason": f"for {elapsed_seconds:.0f} s: {line}", "hint": hint}
    return Verdict("failed", line, details)


def follow(
    look: Callable[[], tuple[Verdict, float]], show: Callable[[str], None], poll_seconds: float
) -> Verdict:
    """Look, until a verdict is not to wait any longer, and show every step; *look* says how long the wait is too."""
    shown, shown_at = "", 0.0
    while True:
        verdict, elapsed = look()
        if verdict.outcome != "waiting":
            return verdict
        now = time.monotonic()
        if verdict.line != shown or now - shown_at > STILL_SECONDS:
            show(f"{verdict.line} ({elapsed:.0f} s)")
            shown, shown_at = verdict.line, now
        time.sleep(poll_seconds)


def _reported_failure(seen: Seen, failure: dict[str, Any]) -> Verdict:
    """A failure ends the wait, unless it is from before the wait and the agent may be trying again."""
    at_work = None if seen.age_seconds >= SILENT_SECONDS else seen.running
    patience = DEADLINE_SECONDS if at_work else RETRY_SECONDS
    if seen.failure_age_seconds > seen.elapsed_seconds and seen.elapsed_seconds < patience:
        where = f" ({at_work})" if at_work else ""
        return Verdict("waiting", f"was {failure['code']}; its agent tries again{where}")
    return _told(seen, f"failed in {failure['phase']}", failure)


def _told(seen: Seen, line: str, failure: dict[str, Any]) -> Verdict:
    """The end of a wait, with everything that the agent says of the failure."""
    details = {
        "phase": failure["phase"],
        "code": failure["code"],
        "reason": failure["message"],
        "hint": failure.get("hint") or "docs/reference/failure-codes.md has the code",
        "machine": seen.machine,
    }
    return Verdict("failed", line, details, tuple(failure.get("log", ())))


def _times(report: dict[str, Any]) -> str:
    """How long each phase took that took a while."""
    spent = [(each["name"], each["seconds"]) for each in report["phases"] if each["seconds"] >= 1]
    return "ready" + (
        f" ({', '.join(f'{name} {took:.0f} s' for name, took in spent)})" if spent else ""
    )


def _seconds(text: str) -> float:
    """An ISO 8601 time as seconds since 1970; Python 3.8 reads no `Z`."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
