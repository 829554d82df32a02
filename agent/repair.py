"""What the watch does about a node that is no longer ready: mend what is safe to mend, a bounded number of times."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Callable

from agent import (
    limits,
    replacement,
)
from agent.containers.compose import Compose
from agent.failures import Failure
from agent.folders import (
    nfs_server,
    node_folder,
)
from agent.folders.mount_errors import REFUSALS
from agent.gpu import (
    gpu_care,
    gpu_health,
    gpu_record,
)
from agent.gpu.gpu_care import SERVICES as GPU_SERVICES
from agent.gpu.gpu_care import Care
from agent.gpu.gpus import GpuFailure
from agent.node import Node
from agent.phases import (
    shared_folder,
    tunnel,
)
from agent.phases.configure import configure
from agent.phases.firewall import firewall
from agent.phases.verify import Check, Memory, look
from agent.replacement import Answer
from agent.specification import MountedPath, NfsOnLeader

TRIES = 3
LAST_PAUSE_SECONDS = 60.0
APPLICATION_SECONDS = 600.0
"""How long a program's fault on a GPU may be the reason that a service is not well."""
STARTED = ("services", "streamglRedis", "http")
"""The checks of what takes as long after a repair as at a boot."""
LEADERS = ("postgres", "redis")
"""The checks of what the leader brings."""
GPUS = ("gpus", "gpuHealth")
"""The checks of which agent/gpu/gpu_care.py takes care when new containers have not helped."""
MACHINES = (
    "tunnel",
    "sharedFolder",
    "exports",
    "firewall",
    "serviceFolder",
    *GPUS,
    "containerGpus",
)
"""The checks of what this machine has without the leader."""
CONFIGURED = ("wiring", "ports", "http")
"""The checks of what the release's files say, its Caddyfile among them: another machine would have the same. Pages that
do not answer for another reason have services that are not well."""
PERSISTENT = ("tunnel", "sharedFolder", "exports", "firewall")
"""The checks of what is mended for ever: nobody works without it, and trying hurts nobody."""
HARMLESS = (
    "SharedFolderFull",
    "SharedFolderForeign",
    "SharedFolderUnclaimed",
    "SharedFolderReadOnly",
    "SharedFolderUnsafe",
)
"""Failures of the shared folder that mounting it anew, or another machine, does not change."""


@dataclass
class Effort:
    """What was done about one check since the node was ready last; times are of the monotonic clock."""

    tries: int = 0
    begun: float = 0.0
    not_before: float = 0.0
    is_given_up: bool = False


class Repairs:
    """The watch over one node that was ready."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._compose = Compose(node.folder)
        self._efforts: dict[str, Effort] = {}
        self._has_full_disk = False
        self._memory = Memory()
        self._care = Care(node)
        self._held: Answer | None = None
        """Why no other machine was asked for."""
        self._missed_others = -math.inf
        """When something was last away that other machines bring, by the monotonic clock."""

    def look(self) -> None:
        """Verify once; repair what is wrong, or say that the node is ready (again)."""
        checks = look(self._node, self._memory)
        failed = [each for each in checks if each.failure]
        self._has_full_disk = any(each.name == "disks" for each in failed)
        if not failed:
            if self._node.report.document["state"] != "ready":
                self._node.report.repair("all checks", "the node is ready again")
                self._node.report.state("ready")
                gpu_care.well(self._node)
            self._efforts, self._held = {}, None
            return
        first = failed[0].failure
        assert first is not None  # noqa: S101, it was just asked for
        self._node.report.degraded(self._shown(first, failed))
        mendable = self._mendable(failed)
        for each in mendable:
            if self._mend(each):
                break
        if self._misses_others(failed):
            self._missed_others = time.monotonic()
        counted = [each for each in failed if each in mendable or each.name in LEADERS]
        is_replaced = self._held is not None and self._held.is_asked
        settles = any(each.name in STARTED and each not in mendable for each in failed)
        settles = settles and not self._misses_others(failed)
        self._node.report.may_recover(is_replaced or settles or any(map(self._goes_on, counted)))

    def _shown(self, first: Failure, failed: list[Check]) -> Failure:
        """The first failure as it is reported: with what comes next, or why nothing does."""
        ill = [each.failure for each in failed if each.name in GPUS]
        worst = max(
            (each for each in ill if isinstance(each, GpuFailure)),
            key=lambda each: (each.action, each.code == "GpuUnhealthy"),
            default=None,
        )
        if worst is not None:
            # A driver that does not answer may be a container's doing, which has its tries first.
            effort = self._efforts.get("gpus")
            is_due = worst.code == "GpuUnhealthy" or (effort is not None and effort.tries >= TRIES)
            cared = self._care.act(worst) if is_due else worst
            return cared if isinstance(first, GpuFailure) else first
        if self._held is None:
            return first
        words = f"{first.message}; {self._held.words}"
        return Failure(first.code, words, first.log, self._held.hint or first.hint)

    def _mendable(self, failed: list[Check]) -> list[Check]:
        """Without the services, where they miss the leader or the shared folder: nothing here mends that, nor does
        another machine."""
        if not self._misses_others(failed):
            unsettled = STARTED if self._are_settling() else ()
            return [each for each in failed if each.name not in unsettled]
        has_own = self._node.specification.runs_data_services
        own = (*MACHINES, *(LEADERS if has_own else ()))
        return [each for each in failed if each.name in own]

    def _are_settling(self) -> bool:
        """Whether services may not have noticed yet that what they missed is back: Docker shows what their last health
        check has found, and nothing newer. One that was restarted has the time that its health check allows."""
        passed = time.monotonic() - self._missed_others
        if passed < limits.SETTLE or passed >= limits.HEALTH:
            return passed < limits.SETTLE
        try:
            containers = self._compose.containers()
        except Failure:
            return False
        unwell = (each.allowed for each in containers if each.health in ("starting", "unhealthy"))
        return passed < max(unwell, default=0.0)

    def _misses_others(self, failed: list[Check]) -> bool:
        """Whether something is away that other machines bring."""
        has_own = self._node.specification.runs_data_services
        return any(each.name in ("sharedFolder", *(() if has_own else LEADERS)) for each in failed)

    def _goes_on(self, check: Check) -> bool:
        """Whether the agent has not given up on *check*, or whatever it needs may come back."""
        if check.name in (*LEADERS, "tunnel") and not self._node.specification.runs_data_services:
            return True
        effort = self._efforts.get(check.name)
        is_given_up = effort is not None and effort.is_given_up
        return self._repair_for(check) is not None and not is_given_up

    def _mend(self, check: Check) -> bool:
        """Try once what mends *check*; True where something was tried, or is about to be."""
        failure = check.failure
        repair = self._repair_for(check)
        if failure is None or repair is None:
            return False
        now = time.monotonic()
        # Events show what passes by itself too, as a restart by Docker or a person: it has until the next look.
        patience = limits.WATCH if check.name in STARTED else 0.0
        effort = self._efforts.setdefault(check.name, Effort(begun=now, not_before=now + patience))
        tries = effort.tries
        if now < effort.not_before:
            return tries < TRIES or check.name in PERSISTENT
        gives_up = tries >= TRIES and not self._is_waited_for(check, effort)
        if gives_up and check.name not in PERSISTENT:
            self._give_up(check, effort, failure)
            return False
        effort.tries += 1
        what = f"{check.name} (try {tries + 1})"
        failed = None
        try:
            outcome = repair()
        except Failure as problem:
            failed, outcome = problem, f"{problem.code}: {problem.message}"
        pause = min(limits.REPAIR * 2**tries, LAST_PAUSE_SECONDS)
        if tries + 1 >= TRIES and check.name in STARTED:
            pause = limits.HEALTH
        effort.not_before = time.monotonic() + pause
        self._node.report.repair(what, outcome)
        if gives_up and failed:
            self._give_up(check, effort, failed)
        return True

    def _repair_for(self, check: Check) -> Callable[[], str] | None:
        """What may mend a check; None where only waiting does."""
        code = check.failure.code if check.failure else ""
        if check.name == "disks":
            return None  # what could go is the operator's to say
        if check.name == "tunnel":
            return self._reconnect if code == "TunnelChanged" else None
        if check.name == "sharedFolder":
            if code == "NodeFolderTaken":
                return lambda: node_folder.leave(self._node, self._compose)
            mounts = not isinstance(self._node.specification.share, MountedPath)
            return self._remount if mounts and code not in HARMLESS else None
        if check.name == "exports":
            return self._export
        if check.name == "firewall":
            return self._close
        if check.name == "containerGpus" and code == "ServiceUnhealthy":
            return None  # the check of all services, which fails too, mends it
        if check.name in ("containerGpus", "serviceFolder") and code == "DockerUnavailable":
            return None  # containers that cannot be asked may be well
        if check.name == "serviceFolder" and code == "ConfigurationIgnored":
            return None  # no restart makes the release read what it does not read
        if check.name == "serviceFolder":
            return self._restart_holders
        if check.name in ("gpus", "containerGpus"):
            return self._restart_gpu_services
        if check.name == "gpuHealth":
            return None
        if check.name in STARTED:
            return self._renew if self._is_applications(check) else self._start_stopped
        if check.name in CONFIGURED:
            return self._configure  # containers may be older than the files
        # The leader's PostgreSQL and Redis: on the leader itself they are services like others. One that answers runs,
        # whatever it says.
        is_down = code == "DataServiceDown"
        return (
            self._start_stopped if self._node.specification.runs_data_services and is_down else None
        )

    def _remount(self) -> str:
        shared_folder.remount(self._node)
        return f"mounted anew, {self._restart_holders()}"

    def _reconnect(self) -> str:
        tunnel.bring_up(self._node.specification)
        return "connected anew"

    def _export(self) -> str:
        share = self._node.specification.share
        assert isinstance(share, NfsOnLeader)  # noqa: S101, else the check is absent
        nfs_server.export(self._node, share)
        return "exported anew"

    def _close(self) -> str:
        firewall(self._node)
        return "closed anew"

    def _restart_holders(self) -> str:
        held = list(shared_folder.holders(self._node, self._compose.services()))
        done = self._compose.restart(held)
        if not done.succeeded:
            return f"its services do not restart: {' '.join(done.tail()[-1:])}"
        return f"restarted {', '.join(held)}"

    def _restart_gpu_services(self) -> str:
        present = self._compose.services()
        services = [name for name in GPU_SERVICES if name in present]
        self._compose.up(services, "--no-deps", "--force-recreate")
        return f"made anew: {', '.join(services)}"

    def _renew(self) -> str:
        self._restart_gpu_services()
        self._compose.up()
        return "GPU services made anew after a fault of a program on the GPU"

    def _is_applications(self, check: Check) -> bool:
        """Whether a GPU service is not well and a program failed on a GPU: it may go on answering with errors."""
        message = check.failure.message if check.failure else ""
        if not any(name in message for name in GPU_SERVICES):
            return False
        return gpu_health.has_application_fault(gpu_record.load(), APPLICATION_SECONDS)

    def _configure(self) -> str:
        configure(self._node)
        self._compose.up()
        return "configured anew"

    def _start_stopped(self) -> str:
        self._compose.up()
        return "./graphistry up -d"

    def _give_up(self, check: Check, effort: Effort, failure: Failure) -> None:
        """Once: a follower asks to be replaced where its site can. A leader stays: its address and data are here."""
        node = self._node
        if effort.is_given_up:
            return
        if check.name in GPUS and gpu_care.is_disposable(node):
            return
        effort.is_given_up = True
        stays = f"given up after {TRIES} tries; the node stays degraded"
        nobody = node.site.asks() is None
        if node.specification.is_leader or check.name in CONFIGURED or nobody:
            # A leader's data are here, another machine would be the same, or there is none.
            node.report.repair(check.name, stays)
            return
        if self._held is None or not self._held.is_asked:
            self._ask(check, effort, failure)

    def _ask(self, check: Check, effort: Effort, failure: Failure) -> None:
        """Another machine, unless too many ask for one: then again after a while."""
        before, self._held = self._held, replacement.ask(self._node, failure.code)
        effort.is_given_up = self._held.is_asked
        effort.not_before = time.monotonic() + replacement.pause_seconds()
        if self._held != before:
            words = f"given up after {TRIES} tries; {self._held.words}"
            self._node.report.repair(check.name, f"{words} ({failure.code})")

    def _is_waited_for(self, check: Check, effort: Effort) -> bool:
        """Whether another machine is no answer, and what is wrong is waited for.

        A full disk is the operator's to empty or enlarge. A shared folder may be away for others too, or refused.

        A server that answers may be too slow for a while, for everybody at once.
        """
        if self._has_full_disk or (check.failure and check.failure.code in REFUSALS):
            return True
        if check.name != "sharedFolder":
            return False
        is_young = time.monotonic() - effort.begun < limits.PATIENCE
        return is_young or not shared_folder.server_answers(self._node)
