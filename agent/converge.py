"""Converging to the specification, phase by phase; each is idempotent and tells how long it took."""

from __future__ import annotations

import time
import traceback
from typing import Callable

from agent.failures import Failure
from agent.node import Node
from agent.phases.configure import configure
from agent.phases.disks import disks
from agent.phases.firewall import firewall
from agent.phases.preflight import preflight
from agent.phases.release import release
from agent.phases.secrets import cluster_secret
from agent.phases.shared_folder import shared_folder
from agent.phases.start import start
from agent.phases.tunnel import tunnel
from agent.phases.verify import verify

PHASES: tuple[tuple[str, Callable[[Node], None]], ...] = (
    ("preflight", preflight),
    ("disks", disks),
    ("tunnel", tunnel),
    ("sharedFolder", shared_folder),
    ("secrets", cluster_secret),
    ("firewall", firewall),
    ("release", release),
    ("configure", configure),
    ("start", start),
    ("verify", verify),
)


def converge(node: Node, changed: Callable[[], bool]) -> bool:
    """Make the machine what *node* says; True when it is.

    False where the specification has *changed* meanwhile, or a phase failed, which the report then says.
    """
    node.report.begin(node.specification)
    for name, function in PHASES:
        if changed():
            print("the specification has changed: starting over", flush=True)
            return False
        if not _run(node, name, function):
            return False
    node.report.state("ready")
    return True


def _run(node: Node, name: str, function: Callable[[Node], None]) -> bool:
    begin = time.monotonic()
    print(f"phase {name}", flush=True)
    node.report.phase(name, "running", 0)
    try:
        function(node)
    except Exception as error:
        failure = error if isinstance(error, Failure) else crash(error)
        node.failure = failure
        print(f"phase {name} failed: {failure.code}: {failure.message}", flush=True)
        node.report.phase(name, "failed", time.monotonic() - begin)
        node.report.failed(name, failure)
        return False
    node.report.phase(name, "done", time.monotonic() - begin)
    return True


def crash(error: Exception) -> Failure:
    """A surprise as a failure; the lines of its traceback, which hold no values."""
    lines = traceback.format_tb(error.__traceback__)
    log = [line.strip() for entry in lines for line in entry.splitlines()]
    return Failure("AgentCrashed", f"{type(error).__name__}: {error}", log[-20:])
