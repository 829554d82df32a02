"""The GPUs that the driver shows. nvidia-smi answers with placeholders and warnings too: none is taken for a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from agent import limits
from agent.failures import HINTS, Failure
from agent.gpu.xid import Action
from agent.machine.commands import MISSING, TIMED_OUT, Completed, run

COLUMNS = (
    "index",
    "name",
    "memory.total",
    "driver_version",
    "uuid",
    "pci.bus_id",
    "mig.mode.current",
)
PROBES = 3
"""Tries of a command that hangs, PROBE seconds each: 45 s without an answer is a hanging driver (NVSentinel)."""
CORRUPT_INFOROM = 14
"""Status of nvidia-smi that only warns: the card's inventory data is damaged, and it computes (its manual page)."""
DEVICES = Path("/dev")
PROCESSES = Path("/proc")

_PLACEHOLDER = re.compile(r"\[.*\]|ERR!|N/A|Unknown Error|", re.IGNORECASE)
_NO_HANDLE = re.compile(
    r"Unable to determine the device handle for (GPU\s*[0-9A-Fa-f:.]*[0-9A-Fa-f]): *(.*)"
)
_ACTIONS = {
    8: Action.HUMAN,  # power cables
    12: Action.HUMAN,  # no library
    16: Action.RESET,
    17: Action.HUMAN,  # cgroups
    MISSING: Action.HUMAN,
}
"""What helps for a status of nvidia-smi, which are NVML's; a reboot for the others: 6, 9, 10, 15, 18, 255."""
_HINTS = {
    Action.RESET: "reset the GPU (`nvidia-smi -r`, without programs that use it), or reboot the node",
    Action.REBOOT: "reboot the node, which ends a driver update too; if it stays so: AWS: stop and start the"
    " instance or replace the machine; host: power-cycle it, then replace the GPU",
}
_stuck: set[str] = set()
"""That an nvidia-smi of ours did not even end when it was killed."""


class GpuFailure(Failure):
    """A failure of GPUs; *action* is what may help."""

    def __init__(
        self,
        code: str,
        message: str,
        action: Action,
        log: Sequence[str] = (),
        hint: str | None = None,
        pci: str = "",
    ) -> None:
        super().__init__(code, message, log, hint or _HINTS.get(action))
        self.action = action
        self.pci = pci


@dataclass(frozen=True)
class Gpu:
    """One GPU of this machine."""

    index: int
    name: str
    memory_mib: int
    driver: str
    uuid: str
    pci: str

    def described(self) -> dict[str, Any]:
        """What the report says of it."""
        return {"index": self.index, "name": self.name, "memoryMib": self.memory_mib}


def read() -> list[Gpu]:
    """The GPUs; raises GpuFailure if the driver cannot tell, or not of each, or shares them out with MIG."""
    done = smi([f"--query-gpu={','.join(COLUMNS)}", "--format=csv,noheader,nounits"])
    lost = _NO_HANDLE.search(f"{done.output}\n{done.errors}")
    if lost:
        said = f"{lost.group(1)}: {lost.group(2)}"
        raise GpuFailure("GpuUnavailable", f"nvidia-smi: {said}", Action.REBOOT, done.tail())
    if not done.succeeded and done.status != CORRUPT_INFOROM:
        tail = done.tail()
        said = tail[-1] if tail else f"status {done.status}"
        if "not a valid field" in said:
            raise Failure("DriverTooOld", f"nvidia-smi: {said}", tail)
        action = _ACTIONS.get(done.status, Action.REBOOT)
        raise GpuFailure("GpuUnavailable", f"nvidia-smi: {said}", action, tail)
    return parse(done.output)


def smi(arguments: Sequence[str]) -> Completed:
    """Run nvidia-smi. One that hangs in the kernel is not followed by others, which would hang too and pile up."""
    hangs = Completed(TIMED_OUT, "", "nvidia-smi hangs: the driver does not answer")
    for _ in range(PROBES):
        if _stuck and _hangs_in_kernel():
            return hangs
        _stuck.clear()
        done = run(["nvidia-smi", *arguments], seconds=limits.PROBE)
        if done.status != TIMED_OUT:
            return done
        _stuck.add("nvidia-smi")
    return hangs


def parse(text: str) -> list[Gpu]:
    """The GPUs in nvidia-smi's lines of comma-separated values; other lines are warnings.

    Raises GpuFailure for a placeholder in place of a value.
    """
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == len(COLUMNS) and parts[0].isdigit():
            found.append(_gpu(dict(zip(COLUMNS, parts))))
    return found


def _gpu(row: dict[str, str]) -> Gpu:
    which = f"GPU {row['index']} ({row['pci.bus_id']})"
    for column in ("name", "memory.total", "driver_version", "uuid", "pci.bus_id"):
        value = row[column]
        is_number = value.isdigit() and int(value) > 0
        if _PLACEHOLDER.fullmatch(value) or (column == "memory.total" and not is_number):
            action = Action.RESET if "reset" in value.lower() else Action.REBOOT
            raise GpuFailure(
                "GpuUnavailable",
                f"nvidia-smi says {value or 'nothing'} for the {column} of {which}",
                action,
                pci=row["pci.bus_id"],
            )
    if row["mig.mode.current"].lower() == "enabled":
        raise GpuFailure(
            "GpuPartitioned",
            f"{which} is partitioned: MIG is switched on, and CUDA gives a process one slice at most",
            Action.HUMAN,
        )
    return Gpu(
        int(row["index"]),
        row["name"],
        int(row["memory.total"]),
        row["driver_version"],
        row["uuid"],
        row["pci.bus_id"],
    )


def require(found: list[Gpu], wanted: int, of_type: int = 0) -> None:
    """Raises GpuFailure GpuMissing if there are fewer than *wanted*, than the machine's type has, or device files.

    Driver and device files may agree on a number that is too low; only the type knows better.
    """
    files = len(list(DEVICES.glob("nvidia[0-9]*")))
    expected = max(wanted, of_type, files)
    if len(found) >= expected:
        return
    sources = {"this instance type has": of_type, "device files": files}
    others = [f"{name}: {count}" for name, count in sources.items() if count > wanted]
    more = f" ({', '.join(others)})" if others else ""
    raise GpuFailure(
        "GpuMissing",
        f"{len(found)} of {expected} GPUs are there{more}",
        Action.REBOOT,
        hint=HINTS["GpuMissing"],
    )


def _hangs_in_kernel() -> bool:
    """Whether a process nvidia-smi waits in the kernel and cannot be killed."""
    for file in PROCESSES.glob("[0-9]*/stat"):
        try:
            head, _, rest = file.read_text().rpartition(")")
        except OSError:
            continue  # it has ended meanwhile
        if head.endswith("(nvidia-smi") and rest.split()[:1] == ["D"]:
            return True
    return False
