"""How far a run of Pulumi is, from the engine's log of events: a row for each node, and its resources in number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from operate.terminal.progress_view import NodeProgress, Shown

WAIT = "-ready"
"""How the name of the resource ends that waits for a node."""

DEFAULT_PROVIDER = re.compile(r"::pulumi:providers:[^:]*::default")

_COLOURS = re.compile(r"\x1b\[[0-9;]*m|<\{%[^%]*%\}>")
_SECONDS = re.compile(r" \(\d+ s\)$")


def deployed_nodes(resources: Iterable[Mapping[str, Any]], stack: str) -> list[str]:
    """The nodes among the resources of a stack's state, the leader first."""
    names = [
        urn.rpartition("::")[2].removeprefix(f"graphistry-{stack}-")
        for urn in (each["urn"] for each in resources)
        if urn.rpartition("::")[0].endswith(("index:LeaderNode", "index:FollowerNode"))
    ]
    return sorted(names, key=lambda name: (name != "leader", name))


@dataclass
class Progress:
    """What the events of a run say so far; *now* is seconds of a clock that only rises."""

    stack: str
    nodes: Iterable[str]
    resources: int
    """In the state before the run: Pulumi knows the new ones only as it comes to them."""
    _rows: dict[str, NodeProgress] = field(default_factory=dict, init=False)
    _looked: set[str] = field(default_factory=set, init=False)
    _begun: set[str] = field(default_factory=set, init=False)
    _done: set[str] = field(default_factory=set, init=False)
    _ended: bool | None = field(default=None, init=False)
    _named: str = field(default="", init=False)
    """What the last diagnostic was of: a traceback comes in many."""

    def __post_init__(self) -> None:
        self._rows = {node: NodeProgress(name=node) for node in self.nodes}

    def take(self, event: Mapping[str, Any], now: float) -> list[str]:
        """Count an event; the lines of a diagnostic that is to stay on the screen."""
        if said := event.get("diagnosticEvent"):
            return self._said(said, now)
        for kind in ("resourcePreEvent", "resOutputsEvent", "resOpFailedEvent"):
            if kind in event:
                step = event[kind].get("metadata", {})
                self._step(kind, step.get("op", ""), step.get("urn", ""), now)
        return []

    def end(self, *, succeeded: bool) -> None:
        """The run is over."""
        self._ended = succeeded
        for row in self._rows.values():
            if succeeded and row.phase == "ending":
                row.phase, row.message = "ended", ""

    def shown(self) -> Shown:
        """What to draw now."""
        rows = tuple(self._rows.values())
        if self._looked and not self._begun:
            total = max(self.resources, len(self._looked))
            return Shown(rows, "compared", len(self._looked), total)
        done = len(self._done)
        total = done if self._ended else max(self.resources, len(self._begun))
        return Shown(rows, "resources", done, total)

    def _said(self, said: Mapping[str, Any], now: float) -> list[str]:
        text = _COLOURS.sub("", said.get("message", "")).rstrip()
        if said.get("severity") == "debug" or not text:
            return []
        name = said.get("urn", "").rpartition("::")[2]
        if not said.get("ephemeral"):
            first, *rest = text.splitlines()
            heading = [f"{name}:"] if name and name != self._named else []
            self._named = name
            return [
                *heading,
                f"  {said.get('prefix', '')}{first}",
                *(f"  {each}" for each in rest),
            ]
        row = self._row(said.get("urn", ""))
        if row is not None and not text.startswith(" "):
            row.begin(now)
            for opening in (f"{row.name} is not ready: ", f"{row.name}: ", "ready "):
                text = text.removeprefix(opening)
            row.message = _SECONDS.sub("", text)
        return []

    def _step(self, kind: str, op: str, urn: str, now: float) -> None:
        if op == "refresh":
            if kind != "resourcePreEvent":
                self._looked.add(urn)
            return
        if DEFAULT_PROVIDER.search(urn):
            return  # Pulumi makes it and counts it nowhere
        self._begun.add(urn)
        if kind != "resourcePreEvent":
            self._done.add(urn)
        row = self._row(urn)
        if row is None:
            return
        is_wait = urn.endswith(WAIT)
        if kind == "resOpFailedEvent":
            row.end("failed", now)
        elif op == "same":
            if is_wait and kind == "resOutputsEvent":
                row.end("as before", now)
        elif "delete" in op or op in ("discard", "discard-replaced"):
            if row.phase not in ("waiting", "ready", "failed") and op == "delete":
                row.begin(now, "ending")
                row.message = _part(urn, row.name)
        elif is_wait:
            if kind == "resourcePreEvent":
                row.begin(now, "waiting")
                row.message = ""
            else:
                row.end("ready", now)
        elif row.phase not in ("waiting", "ready", "failed"):
            row.begin(now, "making")
            row.message = _part(urn, row.name)

    def _row(self, urn: str) -> NodeProgress | None:
        """The row of the node that a resource belongs to."""
        kinds, _, name = urn.rpartition("::")
        if "Node$" not in kinds and not kinds.endswith("Node"):
            return None
        rest = name.removeprefix(f"graphistry-{self.stack}-")
        owners = [each for each in self._rows if rest == each or rest.startswith(f"{each}-")]
        return self._rows[max(owners, key=len)] if owners else None


def _part(urn: str, node: str) -> str:
    """What of a node a resource is, as its name says it: ``template`` of ``graphistry-dev-small-template``."""
    _, is_part, part = urn.rpartition("::")[2].rpartition(f"-{node}-")
    return part.replace("-", " ") if is_part else ""
