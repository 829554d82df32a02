"""What NVIDIA's driver writes to the kernel log about a GPU, and what to do about it: one table.

Sources: NVIDIA's Xid catalogue and its Xid 154 (docs.nvidia.com/deploy/xid-errors), what leptonai/gpud, NVIDIA's
NVSentinel and AWS's EKS node monitoring agent do; read in 2026-11.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum


class Action(IntEnum):
    """What to do about a fault. The greater one wins if a GPU has several."""

    CLEARED = 0
    """The driver says that nothing is to be done any more."""
    RECORD = 1
    APPLICATION = 2
    """A program's own fault: never a reason to touch the machine."""
    HUMAN = 3
    RESET = 4
    REBOOT = 5
    REPLACE = 6


_TABLE: dict[Action, tuple[int, ...]] = {
    Action.APPLICATION: (
        *(8, 11, 13, 25, 31, 32, 39, 40, 41, 60, 68, 69, 70, 71, 72, 75, 76, 77, 80),
        *(82, 83, 84, 85, 86, 94, *range(96, 106), *range(126, 136), 139),
    ),
    # 48, a double-bit error, has a workflow of NVIDIA's own, which ends with a reset.
    Action.RESET: (46, 48, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158),
    Action.REBOOT: (151,),
    Action.REPLACE: (74, 79),
    Action.HUMAN: (54, 78),
}
"""Every other Xid is only recorded: 63 (a row is remapped at the next reset) and 45 (what follows other faults) too."""
_ACTIONS = {xid: action for action, xids in _TABLE.items() for xid in xids}
_NVLINK = range(144, 151)
"""NVLink of the fifth generation: each of them has many causes, which the line calls fatal or not."""
_RECOVERY = 154
_LOST = 79

_PCI = r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}|[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}"
_LINE = re.compile(
    rf"NVRM: Xid \((?:PCI:)?({_PCI})(?:\.\d)?(?: [^)]*)?\): (\d+)\b,?\s*(.*)", re.DOTALL
)
_OFF_THE_BUS = re.compile(
    rf"NVRM: (?:The NVIDIA )?GPU (?:at )?(?:PCI:)?({_PCI})(?:\.\d)?\b.*fallen off the bus",
    re.DOTALL,
)


@dataclass(frozen=True)
class Event:
    """One line of the driver's about one GPU."""

    pci: str
    """The GPU's address as the driver's kernel module writes it: domain, bus and device."""
    xid: int
    action: Action
    text: str

    @property
    def is_verdict(self) -> bool:
        """Whether it is the driver's own recommendation, which overrides the table."""
        return self.xid == _RECOVERY


def parse(line: str) -> Event | None:
    """The event in a line of the kernel log; None if it holds none."""
    found = _LINE.search(line)
    if found:
        xid, text = int(found.group(2)), " ".join(found.group(3).split())
        return Event(address(found.group(1)), xid, _action(xid, text), text)
    lost = _OFF_THE_BUS.search(line)
    if lost:
        return Event(address(lost.group(1)), _LOST, _ACTIONS[_LOST], "GPU has fallen off the bus.")
    return None


def address(pci: str) -> str:
    """A PCI address as kernel and nvidia-smi both have it: 0000:3b:00."""
    parts = pci.lower().partition(".")[0].split(":")
    domain = parts[-3][-4:] if len(parts) > 2 else "0000"
    return ":".join([domain, *parts[-2:]])


def _action(xid: int, text: str) -> Action:
    if xid == _RECOVERY:
        return _recommended(text)
    if xid in _NVLINK:
        is_fatal = re.search(r"\bfatal\b", text, re.IGNORECASE) is not None
        return Action.HUMAN if is_fatal else Action.RECORD
    return _ACTIONS.get(xid, Action.RECORD)


def _recommended(text: str) -> Action:
    """What Xid 154 changed to (nvmlDeviceGpuRecoveryAction_t); a word that is not known is a person's to judge."""
    wanted = text.rpartition(" to ")[2].lower()
    if "none" in wanted:
        return Action.CLEARED
    if "reboot" in wanted:
        return Action.REBOOT
    if "reset" in wanted or "flr" in wanted:
        return Action.RESET
    return Action.HUMAN
