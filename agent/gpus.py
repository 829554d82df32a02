"""The GPUs that the driver shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.commands import run
from agent.failures import Failure

QUERY = "--query-gpu=index,name,memory.total,driver_version,uuid"


@dataclass(frozen=True)
class Gpu:
    """One GPU of this machine."""

    index: int
    name: str
    memory_mib: int
    driver: str
    uuid: str

    def described(self) -> dict[str, Any]:
        """What the report says of it."""
        return {"index": self.index, "name": self.name, "memoryMib": self.memory_mib}


def read() -> list[Gpu]:
    """The GPUs; raises Failure GpuUnavailable where the driver cannot tell."""
    done = run(["nvidia-smi", QUERY, "--format=csv,noheader,nounits"])
    if not done.succeeded:
        tail = done.tail()
        raise Failure(
            "GpuUnavailable", f"nvidia-smi: {tail[-1] if tail else f'status {done.status}'}", tail
        )
    return parse(done.output)


def parse(text: str) -> list[Gpu]:
    """The GPUs in nvidia-smi's lines of comma-separated values."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 5 and parts[0].isdigit():
            memory = int(parts[2]) if parts[2].isdigit() else 0
            found.append(Gpu(int(parts[0]), parts[1], memory, parts[3], parts[4]))
    return found


def require(found: list[Gpu], wanted: int) -> None:
    """Raises Failure GpuMissing where there are fewer than *wanted*."""
    if len(found) < wanted:
        raise Failure("GpuMissing", f"{len(found)} of {wanted} GPUs are there")
