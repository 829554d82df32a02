"""Waits for one node: ``python -m operate.steps.node_ready``, a resource of the deployment runs it.

The wait ends well when the node's agent reports, for exactly the wanted specification and from the machine that runs
the node now, that everything is proven. It ends badly within seconds of a failure that the agent, EC2 or the Auto
Scaling group tells, and at the latest at the deadline. A refusal is no failure yet while AWS tries other zones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from agent import verdict
from agent.verdict import (
    BOOT_SECONDS,
    DEADLINE_SECONDS,
    RETRY_SECONDS,
    SILENT_SECONDS,
    Seen,
    Verdict,
)
from operate.nodes.group_members import node_of, replace_delisted
from operate.nodes.refusals import Refusal, refusal_of, refused_launches
from operate.nodes.reports import Read, read_report
from operate.steps import step_output

REFUSED_SECONDS = 300.0
"""How long launches may be refused while AWS may still give a machine by itself: when the refusal is from before the
wait, while zones are untried, and for spot, which falls back to on-demand."""

NEW_SECONDS = 60.0
"""How long before the wait a group was made at most that this deployment made."""

LEADERS_PHASES = ("sharedFolder", "secrets", "start", "verify")
"""Phases in which a follower may wait for its leader; in the others it has its own things to say."""

LEADERS_CODES = (
    "SharedFolderUnclaimed",
    "SecretNotFilled",
    "LeaderUnreachable",
    "AdministratorMissing",
    "PostgresStarting",
    "RedisStarting",
)
"""What a follower's agent fails for where its leader takes longer than the agent waits; it goes on trying."""

POLL_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Everything that is known of a node at one moment."""

    elapsed_seconds: float
    """Since the wait began."""
    machine: str | None
    """Id of the instance that should be the node; ``None`` while there is none."""
    machine_state: str
    """What EC2 says of it."""
    report: Read | None
    """The last report, whoever wrote it."""
    refusal: Refusal | None = None
    refused_seconds: float = 0.0
    """How long this wait has seen refusals and no machine."""
    leader: Read | None = None
    """A follower's leader."""
    leaving: str | None = None
    """The machine that is to leave and stays until AWS has launched another, where there is no machine yet."""


def judge(seen: Observation, specification: str) -> Verdict:
    """What *seen* means for a node that should be what the document with hash *specification* says."""
    if seen.refusal:
        return _refused(seen, seen.refusal)
    if seen.machine is None:
        return _waiting(seen, _without(seen), BOOT_SECONDS)
    if seen.machine_state in ("shutting-down", "terminated", "stopping", "stopped"):
        return _waiting(seen, f"machine {seen.machine} is {seen.machine_state}", RETRY_SECONDS)
    read = seen.report
    if read is None or not read.report.is_of(seen.machine):
        return _waiting(seen, f"machine {seen.machine} is booting", BOOT_SECONDS)
    document = read.report.model_dump(mode="json", by_alias=True)
    told = Seen(document, read.age_seconds, seen.elapsed_seconds, seen.machine, _hint(seen))
    return _waits_for_leader(seen, told, specification) or verdict.judge(told, specification)


def _waits_for_leader(seen: Observation, told: Seen, specification: str) -> Verdict | None:
    """What a follower's report means that its leader explains, who is not ready yet or has failed."""
    leader, report, failure = seen.leader, told.report, told.report["failure"]
    if leader is None:
        return None
    if report["state"] == "failed" and failure and told.is_of(specification):
        if failure["code"] in LEADERS_CODES and _is_at_work(leader):
            line = f"was {failure['code']}; its leader is not ready yet"
            return _waiting(seen, line, DEADLINE_SECONDS)
        return None
    is_at_work = not told.is_silent and report["specification"] == specification
    needs_leader = report["state"] != "ready" and report["phase"] in LEADERS_PHASES
    failed = leader.report.failure if leader.report.state == "failed" else None
    if not (is_at_work and needs_leader and failed):
        return None
    if leader.failure_age_seconds >= seen.elapsed_seconds:
        return None
    details = {
        "code": "LeaderFailed",
        "reason": f"it is in {report['phase']} and needs the leader, which failed: {failed.code}",
        "hint": "fix the leader, whose failure is shown next to this one; then run the same command again",
    }
    return Verdict("failed", "waits for the leader", details)


def _without(seen: Observation) -> str:
    """What a node is that has no machine yet."""
    return (
        f"{seen.leaving} leaves when AWS has launched another" if seen.leaving else "no machine yet"
    )


def _is_at_work(leader: Read) -> bool:
    """Whether a leader is on its way to be ready."""
    return leader.report.state == "converging" and leader.age_seconds < SILENT_SECONDS


def _refused(seen: Observation, refusal: Refusal) -> Verdict:
    """A refusal ends the wait, unless AWS may still give a machine by itself."""
    old = refusal.age_seconds > seen.elapsed_seconds and not refusal.of_new_group
    if old or refusal.passes:
        follows = "AWS tries again"
    elif refusal.spot:
        follows = "spot falls back to on-demand"
    else:
        follows = _next(refusal)
    return _still_refused(seen, refusal, follows) if follows else _told_refusal(seen, refusal)


def judge_recorded(seen: Observation) -> Verdict:
    """What *seen* means where machines are recorded and none boots: AWS has given one, or has refused it."""
    if seen.refusal is None and seen.leaving:
        return _waiting(seen, _without(seen), BOOT_SECONDS)
    if seen.refusal is None:
        return Verdict(
            outcome="ready", line="not booted; this sandbox records machines and boots none"
        )
    follows = "AWS tries again" if seen.refusal.passes else _next(seen.refusal)
    if follows:
        return _still_refused(seen, seen.refusal, follows)
    return _told_refusal(seen, seen.refusal)


def _next(refusal: Refusal) -> str:
    """Which zones AWS tries after the refusal; empty when another cannot mend it."""
    return f"next {' or '.join(refusal.next_zones)}" if refusal.next_zones else ""


def _still_refused(seen: Observation, refusal: Refusal, follows: str) -> Verdict:
    if seen.refused_seconds >= REFUSED_SECONDS:
        return _told_refusal(seen, refusal)
    return Verdict(outcome="waiting", line=f"{_without(seen)}: {refusal.where}; {follows}")


def _told_refusal(seen: Observation, refusal: Refusal) -> Verdict:
    details = {"code": refusal.code, "reason": refusal.message, "hint": refusal.hint}
    if refusal.tries:
        details["tried"] = refusal.tries
    stays = f" to take the place of {seen.leaving}, which stays" if seen.leaving else ""
    return Verdict(outcome="failed", line=f"AWS gives it no machine{stays}", details=details)


def _waiting(seen: Observation, line: str, patience_seconds: float) -> Verdict:
    return verdict.waiting(seen.elapsed_seconds, line, patience_seconds, _hint(seen))


def _hint(seen: Observation) -> str:
    """How to find out more about a machine that says nothing."""
    if seen.machine:
        return f"aws ec2 get-console-output --latest --output text --instance-id {seen.machine}"
    return "the group's activities say more: aws autoscaling describe-scaling-activities"


class Watcher:
    """Asks AWS about one node, and for another machine if the node's has a type that is not one of *types*."""

    def __init__(
        self,
        region: str,
        bucket: str,
        node: str,
        *,
        instance: str = "",
        group: str = "",
        types: tuple[str, ...] = (),
    ) -> None:
        import boto3  # `./cluster status` imports this module too

        config = Config(retries={"mode": "adaptive", "total_max_attempts": 8})
        self._s3, self._ec2, self._groups = (
            boto3.client(service, region_name=region, config=config)
            for service in ("s3", "ec2", "autoscaling")
        )
        self._bucket, self._node, self._instance, self._group = bucket, node, instance, group
        self._types = types
        self._began = time.monotonic()
        self._refused_since: float | None = None

    def look(self) -> Observation:
        """The present moment. AWS's errors pass through."""
        machine: str | None
        leaving: str | None = None
        if self._group:
            machine, state, refusal, leaving = self._member()
        else:
            machine, state, refusal = self._instance, self._instance_state(), None
        now = time.monotonic()
        if machine:
            self._refused_since = None
        elif refusal and self._refused_since is None:
            self._refused_since = now
        return Observation(
            elapsed_seconds=now - self._began,
            machine=machine,
            machine_state=state,
            report=read_report(self._s3, self._bucket, self._node),
            refusal=refusal,
            refused_seconds=0.0 if self._refused_since is None else now - self._refused_since,
            leader=read_report(self._s3, self._bucket, "leader") if self._group else None,
            leaving=leaving,
        )

    def _instance_state(self) -> str:
        found = self._ec2.describe_instances(InstanceIds=[self._instance])["Reservations"]
        return str(found[0]["Instances"][0]["State"]["Name"]) if found else "terminated"

    def _member(self) -> tuple[str | None, str, Refusal | None, str | None]:
        """The machine of the group that stays and its state; or why there is none, and the one that leaves."""
        found = self._groups.describe_auto_scaling_groups(AutoScalingGroupNames=[self._group])
        for group in found["AutoScalingGroups"]:
            leaving = replace_delisted(self._groups, group, self._types)
            member = node_of(group, self._types)
            if member and not leaving:
                return str(member["InstanceId"]), "running", None, None
            return None, "", self._refusal(group), _described(leaving) if leaving else None
        return None, "", None, None

    def _refusal(self, group: dict[str, Any]) -> Refusal | None:
        """The group's last launches, when AWS refused them."""
        launches = refused_launches(self._groups, self._group)
        if not launches:
            return None
        now, waited = time.time(), time.monotonic() - self._began
        return refusal_of(
            group,
            launches,
            now=now,
            waited_seconds=waited,
            of_new_group=now - group["CreatedTime"].timestamp() < waited + NEW_SECONDS,
        )


def _described(member: Mapping[str, Any]) -> str:
    return f"{member['InstanceId']} ({member['InstanceType']} in {member['AvailabilityZone']})"


def wait(watcher: Watcher, node: str, meaning: Callable[[Observation], Verdict]) -> Verdict:
    """Look until the node is ready or has failed, which *meaning* says of each moment, and show every step."""

    def look() -> tuple[Verdict, float]:
        seen = watcher.look()
        return meaning(seen), seen.elapsed_seconds

    try:
        return verdict.follow(look, lambda line: step_output.show(f"{node}: {line}"), POLL_SECONDS)
    except (BotoCoreError, ClientError) as error:
        details = {"reason": str(error), "hint": "fix it; the same command continues to wait"}
        return Verdict("failed", "AWS cannot be asked", details)


def main(
    node: Annotated[str, typer.Option()],
    region: Annotated[str, typer.Option()],
    bucket: Annotated[str, typer.Option()],
    specification: Annotated[str, typer.Option(help="Hash of the specification.")],
    instance: Annotated[str, typer.Option(help="The instance that is the node.")] = "",
    group: Annotated[str, typer.Option(help="The group whose instance is the node.")] = "",
    types: Annotated[
        str, typer.Option(help="By comma, the types that the group's instance may have.")
    ] = "",
) -> None:
    """Wait until a node has proven itself; exit status 1 when it cannot."""
    recorded = os.environ.get("SANDBOX_MACHINES") == "off"
    meaning = judge_recorded if recorded else partial(judge, specification=specification)
    listed = tuple(filter(None, types.split(",")))
    watcher = Watcher(region, bucket, node, instance=instance, group=group, types=listed)
    found = wait(watcher, node, meaning)
    if found.outcome == "ready":
        step_output.show(f"{node}: {found.line}")
        return
    step_output.complain(f"{node} is not ready: {found.line}")
    for line in found.told():
        step_output.complain(line)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
