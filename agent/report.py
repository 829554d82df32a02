"""The node report: what this node is. Where its site keeps it for the operator, and on this machine's disk."""

from __future__ import annotations

import datetime
import json
import threading
import time
from pathlib import Path
from typing import Any, Callable

from agent import limits
from agent.failures import Failure
from agent.specification import Specification

TRANSIENT = (OSError, ValueError, LookupError)
"""What a call to a site raises that may go well later: no answer, a refusal, half an answer."""
KEPT_REPAIRS = 20
READY_SECONDS = 60.0
"""Between two reports of a node of which there is no news; readiness takes four minutes for silence."""


def now() -> str:
    """The time as ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


class Report:
    """The document and its two copies.

    Every change is written at once; what has not changed every 10 s while the node converges, and every minute when
    it is ready, since a site may keep a version of each.
    """

    def __init__(
        self, instance: dict[str, str], store: Callable[[bytes], None], copy: Path
    ) -> None:
        self._store = store
        self._copy = copy
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._written = 0.0
        self.document: dict[str, Any] = {
            "schemaVersion": 1,
            "cluster": None,
            "node": None,
            "role": None,
            "specification": None,
            "instance": instance,
            "state": "converging",
            "phase": "bootstrap",
            "phases": [],
            "checks": [],
            "failure": None,
            "gpus": [],
            "disks": [],
            "warnings": [],
            "versions": {},
            "repairs": [],
            "startedAt": now(),
            "heartbeat": now(),
        }

    def begin(self, specification: Specification) -> None:
        """A converge to *specification* starts; a failure of the last one stays until this one succeeds."""
        with self._lock:
            state = "failed" if self.document["failure"] else "converging"
            if self.document["specification"] != specification.digest:
                self.document["failure"], state = None, "converging"
            self.document.update(
                cluster=specification.cluster,
                node=specification.node,
                role=specification.role,
                specification=specification.digest,
                state=state,
                phases=[],
                startedAt=now(),
            )
        self.write()

    def phase(self, name: str, state: str, seconds: float) -> None:
        """A phase is running, done or failed, *seconds* after it began."""
        with self._lock:
            entry = {"name": name, "state": state, "seconds": round(seconds, 1)}
            others = [each for each in self.document["phases"] if each["name"] != name]
            self.document["phases"] = [*others, entry]
            self.document["phase"] = name
        self.write()

    def check(self, name: str, ok: bool, detail: str) -> None:
        """What a check has found; it replaces what the same check found before."""
        with self._lock:
            entry = {"name": name, "ok": ok, "detail": detail}
            checks: list[dict[str, Any]] = self.document["checks"]
            for index, each in enumerate(checks):
                if each["name"] == name:
                    checks[index] = entry
                    return
            checks.append(entry)

    def not_proven(self, name: str, why: str) -> None:
        """A check could not see whether all is well: it is not shown as fine, and changes no state."""
        self.check(name, False, f"not proven: {why}")

    def failed(self, phase: str, failure: Failure) -> None:
        """The converge has failed."""
        self.state("failed", {"phase": phase, "at": now(), **_described(failure)})

    def state(self, state: str, failure: dict[str, Any] | None = None) -> None:
        """Change the node's state; *failure* says why it is failed or degraded."""
        with self._lock:
            self.document.update(state=state, failure=failure)
        self.write()

    def degraded(self, failure: Failure) -> None:
        """The node was ready and no longer is; written where that is news."""
        described = {"phase": "verify", "at": now(), **_described(failure)}
        with self._lock:
            before = self.document["failure"] if self.document["state"] == "degraded" else None
        if before is None or {**before, "at": described["at"]} != described:
            print(f"degraded: {failure.code}: {failure.message}", flush=True)
            self.state("degraded", described)

    def may_recover(self, hopeful: bool) -> None:
        """Whether a degraded node may be ready again without anybody doing something."""
        if self.document.get("mayRecover") != hopeful:
            self.set(mayRecover=hopeful)
            self.write()

    def repair(self, what: str, outcome: str) -> None:
        """The agent has tried to mend something."""
        print(f"repair: {what}: {outcome}", flush=True)
        with self._lock:
            entry = {"at": now(), "what": what, "outcome": outcome}
            self.document["repairs"] = [*self.document["repairs"], entry][-KEPT_REPAIRS:]
        self.write()

    def set(self, **members: Any) -> None:
        """Replace members of the document."""
        with self._lock:
            self.document.update(members)

    def version(self, name: str, value: str) -> None:
        """The version of something on this node."""
        with self._lock:
            self.document["versions"][name] = value

    def write(self) -> None:
        """Store the document; where the site cannot be reached, the next write brings it."""
        with self._writing:
            with self._lock:
                self.document["heartbeat"] = now()
                content = json.dumps(self.document, sort_keys=True).encode()
            try:
                partial = self._copy.with_suffix(".partial")
                partial.write_bytes(content)
                partial.replace(self._copy)
            except OSError as error:
                # A disk that is full is what the site must hear of.
                print(f"the report has no copy here: {error}", flush=True)
            try:
                self._store(content)
                self._written = time.monotonic()
            except TRANSIENT as error:
                print(f"the report cannot be written: {error}", flush=True)

    def start_heartbeat(self) -> None:
        """Write the report for ever from a thread of its own, so that a long phase is not silence."""

        def beat() -> None:
            while True:
                time.sleep(min(limits.WATCH, 10.0))
                quiet = time.monotonic() - self._written
                if self.document["state"] != "ready" or quiet >= READY_SECONDS:
                    self.write()

        threading.Thread(target=beat, daemon=True).start()


def _described(failure: Failure) -> dict[str, Any]:
    return {
        "code": failure.code,
        "message": failure.message,
        "hint": failure.hint,
        "log": failure.log,
    }
