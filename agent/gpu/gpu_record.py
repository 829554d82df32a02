"""What this machine knows of its GPUs' faults, on its disk: it outlives the agent and reboots."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent.machine.files import write_private
from agent.node import HOME

KEPT_SECONDS = 7 * 86400.0
"""How long what was done is remembered (NVSentinel: five remediations in seven days)."""
PAGE_FAULT_SECONDS = 86400.0
"""How long page faults are remembered (NVSentinel: two in 24 hours on one GPU)."""
KEPT_EVENTS = 10
FIRST_SECONDS = 600.0
"""How far back the first look of a machine's life goes."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
INIT = Path("/proc/1/stat")


@dataclass
class Deed:
    """Something that was done to the machine because of a fault."""

    at: float
    step: str
    fault: str


@dataclass
class Fault:
    """What a GPU has by the kernel log and nobody has cleared; *table* is by its Xids, *verdict* the driver's own."""

    since: float
    table: int
    xid: int
    text: str
    verdict: int | None = None

    @property
    def action(self) -> int:
        """The driver's own recommendation, and the table's without one."""
        return self.table if self.verdict is None else self.verdict


@dataclass
class Record:
    """The content of the file."""

    boot: str = ""
    cursor: str = ""
    not_before: float = field(default_factory=lambda: time.time() - FIRST_SECONDS)
    """Older lines were there before the agent, and may have been dealt with by a person."""
    ready: str = ""
    """The machine that was ready once: what never was is not repaired by force."""
    since: dict[str, float] = field(default_factory=dict)
    """When each failure of a check was seen first."""
    faults: dict[str, Fault] = field(default_factory=dict)
    """By the GPU's PCI address."""
    deeds: list[Deed] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    """The last lines of the driver's, for the report."""
    slow: list[float] = field(default_factory=list)
    """When a GPU was seen slowed down."""
    page_faults: dict[str, list[float]] = field(default_factory=dict)
    """By the GPU's PCI address: when each burst of Xid 31 began."""

    def done_for(self, fault: str) -> list[str]:
        """The steps that were tried against a fault."""
        return [each.step for each in self.deeds if each.fault == fault]

    def shown_deeds(self) -> list[dict[str, str]]:
        """The last steps, for the report."""
        utc = datetime.timezone.utc
        return [
            {
                "at": datetime.datetime.fromtimestamp(each.at, utc).isoformat(timespec="seconds"),
                "step": each.step,
                "fault": each.fault,
            }
            for each in self.deeds[-KEPT_EVENTS:]
        ]

    def add(self, step: str, fault: str) -> None:
        """Remember a step, before it is taken: a reboot leaves no time afterwards."""
        self.deeds.append(Deed(time.time(), step, fault))
        self.save()

    def save(self) -> None:
        """Write the file."""
        now = time.time()
        self.deeds = [each for each in self.deeds if now - each.at < KEPT_SECONDS]
        self.events = self.events[-KEPT_EVENTS:]
        self.page_faults = {
            pci: [at for at in times if now - at < PAGE_FAULT_SECONDS]
            for pci, times in self.page_faults.items()
        }
        write_private(HOME / "gpus.json", json.dumps(asdict(self), sort_keys=True) + "\n")


def load() -> Record:
    """The record; faults of an earlier boot are over, and a file that cannot be read is none."""
    try:
        found = json.loads((HOME / "gpus.json").read_text())
        record = Record(
            **{
                **found,
                "deeds": [Deed(**each) for each in found["deeds"]],
                "faults": {pci: Fault(**each) for pci, each in found["faults"].items()},
            }
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        record = Record()
    boot = _boot()
    if record.boot != boot:
        record.faults, record.cursor, record.slow, record.boot = {}, "", [], boot
    return record


def _boot() -> str:
    """This boot; in a container, which shares the kernel's, the start of its own first process tells boots apart."""
    try:
        started = INIT.read_text().rpartition(")")[2].split()[19]
        return f"{BOOT.read_text().strip()}/{started}"
    except (OSError, IndexError):
        return "unknown"
