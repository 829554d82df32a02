"""What is done about a GPU's fault when new containers have not helped: reset, reboot, another machine, or a person."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Sequence

from agent import limits, replacement
from agent.containers.compose import Compose
from agent.failures import Failure
from agent.gpu import gpu_record
from agent.gpu.gpu_record import Record
from agent.gpu.gpus import GpuFailure
from agent.gpu.xid import Action
from agent.machine.commands import run
from agent.node import Node
from agent.replacement import Answer
from agent.specification import AwsPlace

MOST_DEEDS = 5
"""In seven days, of one machine; then a person decides (NVSentinel)."""
SERVICES = ("forge-etl-python", "dask-scheduler", "dask-cuda-worker", "streamgl-gpu")
RESET, REBOOT, REPLACE = "reset", "reboot", "replace"
LADDERS: dict[tuple[str, Action], tuple[str, ...]] = {
    # The number of GPUs, and a driver that does not answer: EKS, HyperPod.
    ("seen", Action.RESET): (RESET, REBOOT, REPLACE),
    ("seen", Action.REBOOT): (REBOOT, REPLACE),
    # By the kernel log and NVML. The same Xid after two reboots is hardware, and a person's (gpud).
    ("log", Action.RESET): (RESET, REBOOT, REBOOT),
    ("log", Action.REBOOT): (REBOOT, REBOOT),
    ("log", Action.REPLACE): (REPLACE,),
}
"""What is tried one after the other. What is not here is a person's at once."""


@dataclass(frozen=True)
class Decision:
    """The next step, or None and why there is none."""

    step: str | None
    reason: str = ""
    hint: str | None = None


def decide(failure: GpuFailure, now: float, record: Record, node: Node) -> Decision:
    """The next step against a fault. A plain function of what is known."""
    source = "log" if failure.code == "GpuUnhealthy" else "seen"
    ladder = LADDERS.get((source, failure.action), ())
    done = record.done_for(fault(failure))
    rest = ladder[len(done) :]
    if not rest:
        tried = f"{', '.join(done)} did not help; " if done else ""
        return Decision(None, f"{tried}a person has to look" if ladder else "")
    if record.ready != node.instance["id"]:
        return Decision(None, "this machine never was ready: nothing is tried by force", _BY_HAND)
    kind, types = node.instance.get("type", ""), node.specification.gpus_by_type
    if failure.code == "GpuMissing" and types and kind not in types:
        # Its GPUs are all there: the profile names other types now.
        return Decision(
            None, f"this machine is a {kind}, the GPU profile wants {', '.join(types)}", _TYPE
        )
    if len(record.deeds) >= MOST_DEEDS:
        return Decision(None, f"{MOST_DEEDS} interventions in 7 days: a person has to look", _GO_ON)
    step = rest[0]
    if step != RESET and not is_disposable(node):
        return Decision(None, f"the agent does not {step} {_whose(node)}", _hint(failure, node))
    steps = [each.at for each in record.deeds if each.fault == fault(failure)]
    due = max([record.since.get(fault(failure), now), *steps]) + limits.GPU_FAULT
    if now < due:
        at = time.strftime("%H:%M:%S UTC", time.gmtime(due))
        return Decision(None, f"{step} at {at} unless it passes")
    return Decision(step)


def fault(failure: GpuFailure) -> str:
    """Which fault it is, so that it is recognized after a reboot."""
    if failure.code != "GpuUnhealthy":
        return failure.code
    return " ".join([*failure.message.partition(":")[0].split()[:2], failure.pci])


def is_disposable(node: Node) -> bool:
    """Whether nobody but this node needs the machine: a leader has everybody's data, a host may have other tasks."""
    return not node.specification.is_leader and isinstance(node.specification.place, AwsPlace)


class Care:
    """The care for one node's GPUs."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._answer: Answer | None = None
        self._next_ask = 0.0

    def act(self, failure: Failure) -> Failure:
        """Take the next step if it is time; the failure, with what comes next or what is left to a person."""
        if not isinstance(failure, GpuFailure):
            return failure
        if self._answer and (self._answer.is_asked or time.monotonic() < self._next_ask):
            return _told(failure, self._answer.words, self._answer.hint)
        record = gpu_record.load()
        self._node.report.set(gpuActions=record.shown_deeds())
        key = fault(failure)
        if key not in record.since:
            record.since[key] = time.time()
            record.save()
        decision = decide(failure, time.time(), record, self._node)
        if decision.step is None:
            return _told(failure, decision.reason, decision.hint)
        if decision.step == REPLACE:
            before, answer = self._answer, replacement.ask(self._node, failure.code)
            self._answer = answer
            self._next_ask = time.monotonic() + replacement.pause_seconds()
            if answer.is_asked:
                record.add(REPLACE, key)
            if answer != before:
                self._node.report.repair(key, f"{failure.code}: {answer.words}")
            return _told(failure, answer.words, answer.hint)
        record.add(decision.step, key)
        self._node.report.repair(key, f"{decision.step} ({failure.code}: {failure.message})")
        if decision.step == REBOOT:
            run(["systemctl", "reboot"])
            return _told(failure, "the machine reboots", None)
        return _told(failure, self._reset(record), None)

    def _reset(self, record: Record) -> str:
        """Reset all GPUs, which no program may use meanwhile; machines with NVSwitch only know all at once."""
        compose = Compose(self._node.folder) if self._node.release else None
        services = [name for name in SERVICES if name in compose.services()] if compose else []
        if compose:
            compose.stop(services)
        done = run(["nvidia-smi", "-r"], seconds=120)
        if done.succeeded:
            record.faults, record.since = {}, {}
            record.save()
        if compose:
            compose.up(services, "--no-deps", "--force-recreate")
        outcome = (
            "the GPUs were reset" if done.succeeded else f"no reset: {' '.join(done.tail()[-1:])}"
        )
        self._node.report.repair("nvidia-smi -r", outcome)
        return outcome


def well(node: Node) -> None:
    """Everything is proven: what was wrong is over, and another machine is wanted no more."""
    record = gpu_record.load()
    if record.ready != node.instance["id"] or record.since:
        record.ready, record.since = node.instance["id"], {}
        record.save()
    replacement.settle(node)


def _told(failure: GpuFailure, reason: str, hint: str | None) -> GpuFailure:
    if not reason:
        return failure
    message = f"{failure.message}; {reason}"
    log: Sequence[str] = failure.log
    return GpuFailure(failure.code, message, failure.action, log, hint or failure.hint, failure.pci)


def _whose(node: Node) -> str:
    return (
        "a leader: its data services are everybody's" if node.specification.is_leader else "a host"
    )


def _hint(failure: GpuFailure, node: Node) -> str:
    if isinstance(node.specification.place, AwsPlace):
        return "reboot the instance; if that does not help, stop and start it: it moves to other hardware"
    if failure.action is Action.REPLACE:
        return "power-cycle the host (a reboot is not enough); if it comes back, replace the GPU"
    return "reboot the host; if that does not help, power-cycle it; then replace the GPU"


_BY_HAND = (
    "see whether image, driver and GPU profile fit; AWS: terminate the machine to get another one"
)
_TYPE = "terminate the machine: its group brings one of the wanted type"
_GO_ON = (
    "find the cause; then `rm /opt/graphistry-cluster/gpus.json` on the node lets the agent go on"
)
