"""What the watch does about a node that is no longer ready: mend what is safe to mend, a bounded number of times."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable

from agent import limits, nfs_server, shared_folder
from agent.compose import Compose
from agent.configure import configure
from agent.failures import Failure
from agent.firewall import firewall
from agent.mount_errors import REFUSALS
from agent.node import Node
from agent.specification import MountedPath, NfsOnLeader
from agent.verify import Check, look

TRIES = 3
GPU_SERVICES = ("forge-etl-python", "dask-scheduler", "dask-cuda-worker", "streamgl-gpu")
LAST_PAUSE_SECONDS = 60.0
STARTED = ("services", "streamglRedis", "http")
"""The checks of what takes as long after a repair as at a boot."""
LEADERS = ("postgres", "redis")
"""The checks of what the leader brings."""
MACHINES = ("sharedFolder", "exports", "firewall", "serviceFolder", "gpus", "containerGpus")
"""The checks of what this machine has without the leader."""
PERSISTENT = ("sharedFolder", "exports", "firewall")
"""The checks of what is mended for ever: nobody works without it, and trying hurts nobody."""
HARMLESS = (
    "SharedFolderFull",
    "SharedFolderForeign",
    "SharedFolderUnclaimed",
    "SharedFolderReadOnly",
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
        self._is_marked = False
        self._has_full_disk = False

    def look(self) -> None:
        """Verify once; repair what is wrong, or say that the node is ready (again)."""
        checks = look(self._node)
        failed = [each for each in checks if each.failure]
        self._has_full_disk = any(each.name == "disks" for each in failed)
        if not failed:
            if self._node.report.document["state"] != "ready":
                self._node.report.repair("all checks", "the node is ready again")
                self._node.report.state("ready")
            self._efforts = {}
            return
        first = failed[0].failure
        assert first is not None  # noqa: S101, it was just asked for
        self._node.report.degraded(first)
        mendable = self._mendable(failed)
        for each in mendable:
            if self._mend(each):
                break
        counted = [each for each in failed if each in mendable or each.name in LEADERS]
        self._node.report.may_recover(self._is_marked or any(map(self._goes_on, counted)))

    def _mendable(self, failed: list[Check]) -> list[Check]:
        """Without the services, where they miss the leader or the shared folder: nothing here mends that, nor does
        another machine."""
        has_own = self._node.specification.runs_data_services
        needed = ("sharedFolder", *(() if has_own else LEADERS))
        if not any(each.name in needed for each in failed):
            return failed
        own = (*MACHINES, *(LEADERS if has_own else ()))
        return [each for each in failed if each.name in own]

    def _goes_on(self, check: Check) -> bool:
        """Whether the agent has not given up on *check*, or whatever it needs may come back."""
        if check.name in LEADERS and not self._node.specification.runs_data_services:
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
        effort = self._efforts.setdefault(check.name, Effort(begun=now))
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
        if check.name == "sharedFolder":
            mounts = not isinstance(self._node.specification.share, MountedPath)
            return self._remount if mounts and code not in HARMLESS else None
        if check.name == "exports":
            return self._export
        if check.name == "firewall":
            return self._close
        if check.name == "containerGpus" and code == "ServiceUnhealthy":
            return None  # the check of all services, which fails too, mends it
        if check.name == "serviceFolder":
            return self._restart_holders
        if check.name in ("gpus", "containerGpus"):
            return self._restart_gpu_services
        if check.name in STARTED:
            return self._start_stopped
        if check.name == "wiring":
            return self._configure
        # The leader's PostgreSQL and Redis: on the leader itself they are services like others. One that answers runs,
        # whatever it says.
        is_down = code == "DataServiceDown"
        return (
            self._start_stopped if self._node.specification.runs_data_services and is_down else None
        )

    def _remount(self) -> str:
        shared_folder.remount(self._node)
        return f"mounted anew, {self._restart_holders()}"

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
        effort.is_given_up = True
        stays = f"given up after {TRIES} tries; the node stays degraded"
        if node.specification.is_leader or check.name == "wiring":
            # A leader's data are here, and another machine would have the same release.
            node.report.repair(check.name, stays)
            return
        if self._is_marked:
            return
        try:
            asked = node.site.request_replacement(node.instance["id"])
            self._is_marked = asked is not None
            outcome = f"given up after {TRIES} tries; {asked}" if asked else stays
        except OSError as error:
            effort.is_given_up = False
            outcome = (
                f"given up after {TRIES} tries; the machine cannot be marked unhealthy: {error}"
            )
        node.report.repair(check.name, f"{outcome} ({failure.code})")

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
