"""Whether a deployed cluster is ready: what passes by itself is waited for, and what does not is explained."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from agent.verdict import BOOT_SECONDS, DEGRADED_SECONDS, RETRY_SECONDS, SILENT_SECONDS
from operate.nodes.on_aws import Node, Seen
from operate.terminal.messages import say

REPORT_PATIENCE = {
    "degraded": DEGRADED_SECONDS,
    "converging": DEGRADED_SECONDS,
    "failed": RETRY_SECONDS,
}
"""Seconds that a node may report this: its agent is done sooner, or somebody has to do something."""

MACHINE_PATIENCE = {
    "pending": BOOT_SECONDS,
    "booting": BOOT_SECONDS,
    "no machine": RETRY_SECONDS,
    "shutting-down": RETRY_SECONDS,
    "terminated": RETRY_SECONDS,
}
"""Seconds that a node of AWS may have no report of its machine: its group is replacing it, or it boots."""

POLL_SECONDS = 2.0


def settled(look: Callable[[], Sequence[Seen]]) -> list[Node]:
    """The nodes once whatever passes by itself has passed, a leader that restarts its services for example.

    Bounded by the patience above, counted from when each node became so as far as that is known.
    """
    began, shown = time.monotonic(), ""
    while True:
        found = look()
        elapsed = time.monotonic() - began
        passing = [each.node for each in found if _may_pass(each, elapsed)]
        if not passing:
            return [each.node for each in found]
        line = ", ".join(f"{node.name} ({node.state})" for node in passing)
        if line != shown:
            say(f"waiting for {line}")
            shown = line
        time.sleep(POLL_SECONDS)


def _may_pass(seen: Seen, elapsed_seconds: float) -> bool:
    """Whether a node is not ready, for less time than passing by itself takes."""
    if seen.report is None:
        patience = MACHINE_PATIENCE.get(seen.node.state, 0.0)
        return max(seen.machine_age_seconds, elapsed_seconds) < patience
    if seen.report.age_seconds > SILENT_SECONDS:
        return False
    state = seen.report.report.state
    if state == "degraded" and not seen.report.report.may_recover:
        return False
    since = seen.report.failure_age_seconds if state == "degraded" else 0.0
    return max(since, elapsed_seconds) < REPORT_PATIENCE.get(state, 0.0)


def unready(found: Sequence[Node], *, booted: bool) -> list[Node]:
    """The nodes for which no success may be reported; a machine that is only recorded (not *booted*) is none."""
    return [
        node for node in found if node.state != "ready" and (booted or node.state != "not booted")
    ]


def explanation(node: Node) -> list[str]:
    """Why a node is not ready, as its agent reports it: lines of at most one thing each."""
    log = "" if node.log in node.reason else node.log
    details = {"reason": node.reason, "hint": node.hint, "log": log}
    lines = [f"  {name:8} {text}" for name, text in details.items() if text]
    return [f"{node.name} is not ready: {node.state}", *lines]
