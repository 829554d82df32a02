"""The node report: what a node's agent says of it, as the operator's commands read it.

The agent writes it (``agent/node_report.schema.json``) and may be newer or older than what reads it, so unknown keys
are passed over and all but the state may be missing. Root of the node may write anything into it: what would move a
terminal's cursor, or write to its clipboard, is taken out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


Text = Annotated[str, AfterValidator(_plain)]
"""One line that a terminal shows as it is."""
State = Literal["converging", "ready", "degraded", "failed", "stopped"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


class Instance(_Part):
    """The machine that wrote the report."""

    id: Text


class Phase(_Part):
    """One step of converging, and how long it took or is taking."""

    name: Text
    state: Literal["done", "running", "failed"]
    seconds: float


class Check(_Part):
    """One thing the agent has proven, or could not."""

    name: Text
    ok: bool
    detail: Text


class Failure(_Part):
    """Why a node is not ready."""

    phase: Text
    code: Text
    message: Text
    hint: Text = ""
    log: tuple[Text, ...] = ()
    at: datetime | None = None


class Gpu(_Part):
    """One GPU that the machine sees."""

    index: int
    name: Text
    memory_mib: int


class Disk(_Part):
    """One disk of the machine itself; ``free_mib`` is for whoever is not root."""

    name: Text
    path: Text
    size_mib: int
    used_mib: int
    free_mib: int


class Replacement(_Part):
    """Whether a node that cannot be repaired asked for another machine: ``held`` says why not."""

    state: Literal["asked", "held"]
    reason: Text


class Versions(_Part):
    """What runs on the node, as far as the agent has looked."""

    driver: Text = ""


class NodeReport(_Part):
    """What a node is. ``specification`` is the hash of the document it is about."""

    state: State
    phase: Text
    specification: Text | None = None
    instance: Instance | None = None
    phases: tuple[Phase, ...] = ()
    checks: tuple[Check, ...] = ()
    failure: Failure | None = None
    gpus: tuple[Gpu, ...] = ()
    disks: tuple[Disk, ...] = ()
    warnings: tuple[Text, ...] = ()
    replacement: Replacement | None = None
    versions: Versions = Versions()
    heartbeat: datetime
    may_recover: bool = True
    """Whether the agent of a degraded node has something left to try or to wait for; an older one does not say."""

    def is_of(self, instance_id: str) -> bool:
        """Whether this machine wrote it; a boot that died early may not know its own id."""
        return self.instance is None or self.instance.id == instance_id

    @property
    def running_phase(self) -> Phase | None:
        """The phase that is at work."""
        return next((each for each in self.phases if each.state == "running"), None)
