"""Whether the GPUs are well beyond being seen: kernel log, remapped rows, clocks, Fabric Manager."""

from __future__ import annotations

import datetime
import re
import time
from pathlib import Path

from agent.gpu import gpu_record, kernel_log, xid
from agent.gpu.gpu_record import Fault, Record
from agent.gpu.gpus import GpuFailure, smi
from agent.gpu.xid import Action, Event
from agent.machine.commands import run
from agent.node import Node

SLOW_LOOKS = 6
SLOW_SECONDS = 600.0
"""A GPU that its hardware slows down in six of the last ten minutes is not well (gpud)."""
PAUSE_SECONDS = 60.0
"""Between two looks that cost calls of nvidia-smi."""
PAGE_FAULT = 31
BURST_SECONDS = 180.0
"""Page faults of one GPU that follow each other so fast count once (NVSentinel)."""
NVSWITCH = "nvidia-nvswitch*"
FABRIC_MANAGER = "nvidia-fabricmanager.service"
DEVICES = Path("/dev")
SLOWDOWNS = (
    "clocks_event_reasons.hw_slowdown",
    "clocks_event_reasons.hw_thermal_slowdown",
    "clocks_event_reasons.hw_power_brake_slowdown",
)
_HINTS = {
    Action.HUMAN: "see the line in docs.nvidia.com/deploy/xid-errors, and ask the vendor of the machine",
    Action.RESET: "the agent resets the GPU; by hand: `nvidia-smi -r` without programs that use it",
    Action.REBOOT: "reboot the node; if it comes back, have the GPU replaced",
    Action.REPLACE: "AWS: stop and start the instance or replace it; host: power-cycle it, then replace the GPU",
}


class Health:
    """The looks of one node; calls of nvidia-smi are a minute apart."""

    def __init__(self) -> None:
        self._next = 0.0
        self._last = ""
        self._problem: GpuFailure | None = None

    def look(self, node: Node, *, driver_answers: bool = True) -> str:
        """What was found; raises GpuFailure for what needs something done."""
        record = gpu_record.load()
        log = _read_log(record)
        if driver_answers and time.monotonic() >= self._next:
            self._next = time.monotonic() + PAUSE_SECONDS
            self._problem, self._last = None, ""
            try:
                self._last = _counters(record, time.time())
                _fabric_manager(node)
            except GpuFailure as failure:
                self._problem = failure
        record.save()
        node.report.set(gpuEvents=record.events, gpuActions=record.shown_deeds())
        worst = max(record.faults.values(), key=lambda each: each.action, default=None)
        if worst is not None and (self._problem is None or self._problem.action <= worst.action):
            raise _failure(next(pci for pci, each in record.faults.items() if each is worst), worst)
        if self._problem:
            raise self._problem
        return ", ".join(part for part in (log, self._last) if part)


def _read_log(record: Record) -> str:
    """Bring the faults up to the kernel log's last line; says what it could see."""
    news = kernel_log.read(record.cursor)
    if news is None:
        return "the kernel log cannot be read: Xids are not seen"
    for line in news.lines:
        event = xid.parse(line.text)
        if event and line.at >= record.not_before:
            note(record, event, line.at)
    record.cursor = news.cursor
    return _page_faults(record, time.time()) or "no open Xid"


def _page_faults(record: Record, now: float) -> str:
    """The GPU that alone had page faults twice in a day; on several GPUs they are a program's (NVSentinel)."""
    recent = {
        pci: [at for at in times if now - at < gpu_record.PAGE_FAULT_SECONDS]
        for pci, times in record.page_faults.items()
    }
    faulty = {pci: times for pci, times in recent.items() if times}
    if len(faulty) != 1:
        return ""
    ((pci, times),) = faulty.items()
    if len(times) < 2:
        return ""
    return f"Xid {PAGE_FAULT} {len(times)} times in 24 hours on GPU {pci} only: run `dcgmi diag -r 3` on it"


def note(record: Record, event: Event, at: float) -> None:
    """Enter a line of the driver's into the record."""
    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    record.events.append(
        {
            "at": moment.isoformat(timespec="seconds"),
            "gpu": event.pci,
            "xid": event.xid,
            "action": event.action.name.lower(),
            "text": event.text[:200],
        }
    )
    if event.xid == PAGE_FAULT:
        bursts = record.page_faults.setdefault(event.pci, [])
        if not bursts or at - bursts[-1] > BURST_SECONDS:
            bursts.append(at)
    fault = record.faults.get(event.pci)
    if event.action is Action.CLEARED:
        record.faults.pop(event.pci, None)
    elif event.is_verdict and fault:
        fault.verdict = event.action
    elif event.action < Action.HUMAN:
        return
    elif fault is None:
        verdict = int(event.action) if event.is_verdict else None
        table = 0 if event.is_verdict else int(event.action)
        record.faults[event.pci] = Fault(at, table, event.xid, event.text[:200], verdict)
    elif event.action > fault.table:
        fault.table, fault.xid, fault.text = int(event.action), event.xid, event.text[:200]


def has_application_fault(record: Record, seconds: float) -> bool:
    """Whether a program failed on a GPU by its own fault within so many seconds."""
    since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)
    return any(
        each["action"] == "application" and datetime.datetime.fromisoformat(each["at"]) >= since
        for each in record.events
    )


def _failure(pci: str, fault: Fault) -> GpuFailure:
    action = Action(fault.action)
    line = f"Xid {fault.xid} on GPU {pci}: {fault.text}"
    return GpuFailure("GpuUnhealthy", line, action, hint=_HINTS.get(action), pci=pci)


def _counters(record: Record, now: float) -> str:
    """Remapped rows, slowdowns and hot memory. What a driver or a card does not know is no fault."""
    rows = _query("--query-remapped-rows=gpu_bus_id,remapped_rows.pending,remapped_rows.failure")
    for pci, _, failed in rows:
        if failed.lower() in ("yes", "1"):
            text = (
                f"GPU {pci} has no spare rows left for memory that fails (remapped rows: failure)"
            )
            raise GpuFailure(
                "GpuUnhealthy",
                text,
                Action.REPLACE,
                hint=_HINTS[Action.REPLACE],
                pci=xid.address(pci),
            )
    slow = [
        row[0]
        for row in _query(f"--query-gpu=pci.bus_id,{','.join(SLOWDOWNS)}")
        if "active" in [value.lower() for value in row[1:]]
    ]
    record.slow = [each for each in record.slow if now - each < SLOW_SECONDS] + [now] * bool(slow)
    if len(record.slow) >= SLOW_LOOKS and slow:
        text = f"GPU {slow[0]} is slowed down by its hardware: seen {len(record.slow)} times in 10 minutes"
        raise GpuFailure("GpuThrottled", text, Action.HUMAN, pci=xid.address(slow[0]))
    for pci, celsius, allowed in hot_memory(smi(["-q", "-d", "TEMPERATURE"]).output):
        text = f"the memory of GPU {pci} has {celsius} °C; the card allows {allowed} °C"
        raise GpuFailure("GpuThrottled", text, Action.HUMAN, pci=xid.address(pci))
    # NVIDIA: programs go on undisturbed, and the next reset or reboot takes the row out of use.
    pending = [pci for pci, waits, _ in rows if waits.lower() in ("yes", "1")]
    return f"a row of {pending[0]} is remapped at the next reboot" if pending else ""


def hot_memory(text: str) -> list[tuple[str, int, int]]:
    """The GPUs whose memory is hotter than its card allows: address, temperature and bound in °C.

    By what `nvidia-smi -q -d TEMPERATURE` shows; cards without a sensor there show N/A.
    """
    found, pci, celsius = [], "", 0
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition(" : "))
        if line.startswith("GPU "):
            pci, celsius = line.split()[1], 0
        number = re.fullmatch(r"(\d+) C", value)
        if number and name == "Memory Current Temp":
            celsius = int(number.group(1))
        elif number and name == "Memory Max Operating Temp" and celsius > int(number.group(1)):
            found.append((pci, celsius, int(number.group(1))))
    return found


def _query(query: str) -> list[list[str]]:
    done = smi([query, "--format=csv,noheader"])
    columns = query.count(",") + 1
    rows = [[part.strip() for part in line.split(",")] for line in done.output.splitlines()]
    is_pci = re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d")
    return [row for row in rows if len(row) == columns and is_pci.fullmatch(row[0])]


def _fabric_manager(node: Node) -> None:
    """On machines with NVSwitch no CUDA program starts without it; another machine of this image would be the same."""
    if not any(DEVICES.glob(NVSWITCH)):
        return
    words = ["systemctl", "show", "--property=ActiveState", "--value", FABRIC_MANAGER]
    state = run(words).output.strip() or "unknown"
    if state in ("active", "activating"):
        return
    found = re.search(r"version is\s*:\s*(\S+)", run(["nv-fabricmanager", "--version"]).output)
    version, driver = (
        found.group(1) if found else "",
        node.report.document["versions"].get("driver"),
    )
    if version and driver and version != driver:
        raise GpuFailure(
            "FabricManagerDown",
            f"{FABRIC_MANAGER} is {state}: its version is {version}, the driver's {driver}",
            Action.HUMAN,
            hint=f"install Fabric Manager {driver} on the node, or use an image that has both in one version",
        )
    run(["systemctl", "reset-failed", FABRIC_MANAGER])
    started = run(["systemctl", "restart", FABRIC_MANAGER], seconds=120)
    if started.succeeded:
        node.report.repair("fabricManager", "restarted")
        return
    text = f"{FABRIC_MANAGER} is {state} and does not start"
    raise GpuFailure("FabricManagerDown", text, Action.HUMAN, started.tail())
