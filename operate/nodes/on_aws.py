"""What a person sees of a cluster: its nodes in a table, what is kept, and what to do next."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from agent.verdict import SILENT_SECONDS
from model.gpu_catalogue import CATALOGUE
from model.tags import CLUSTER_TAG
from operate.nodes.group_members import node_of
from operate.nodes.refusals import code_of, refused_launches
from operate.nodes.reports import Read, read_reports
from operate.stack.deployment import Deployment
from preflight.tables import plain_table


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The EC2 instance or the host under a node."""

    instance_id: str
    instance_type: str
    availability_zone: str
    address: str
    state: str
    spot: bool = False
    """Whether it was bought as spot."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One row of the table."""

    name: str
    role: str
    profile: str
    market: str
    gpus_used: int
    machine: Machine | None
    """``None`` when AWS has no machine for the node, for want of capacity or of quota."""
    state: str
    """What the node's agent says: ``ready``, or what it is doing or lacks."""
    gpus: str = "-"
    """GPUs of the machine, and how many of them are used: ``4 x L40S``, ``6 of 8 x H100``."""
    reason: str = ""
    """What its agent reports as the failure of a node that is not ready."""
    hint: str = ""
    """What to do about it."""
    log: str = ""
    """The last line of the log that belongs to it."""
    warnings: tuple[str, ...] = ()
    """What will soon keep the node from being ready, as its agent reports it."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A node at one moment."""

    node: Node
    report: Read | None
    """Of the machine that it has now; ``None`` until that has written one."""
    machine_age_seconds: float = 0.0
    """Since AWS launched its machine; 0 without one."""


def nodes(deployment: Deployment, outputs: Mapping[str, Any]) -> list[Seen]:
    """The nodes of a deployed stack with the machines under them, and what their agents report.

    Two calls to AWS, whatever their number, one more for each without a machine, and a report read per node.
    """
    groups = {follower["group"]: name for name, follower in outputs["followers"].items()}
    types = {each["group"]: each["instanceTypes"] for each in outputs["followers"].values()}
    members = _members(deployment, types)
    by_node = {groups[group]: instance for group, instance in members.items()}
    if "leader" in outputs:
        by_node["leader"] = outputs["leader"]["instanceId"]
    machines = _machines(deployment)
    booted = deployment.sandbox is None or deployment.sandbox.machines
    reports = (
        read_reports(deployment.client("s3"), outputs["bucket"], by_node.keys()) if booted else {}
    )

    def seen(name: str, entry: Mapping[str, Any]) -> Seen:
        found = machines.get(by_node.get(name, ""))
        machine = found.machine if found else None
        read = reports.get(name)
        report = read if read and machine and read.report.is_of(machine.instance_id) else None
        if machine is None:
            state = without_machine(deployment, entry.get("group"))
        else:
            state = state_of(machine, report) if booted else "not booted"
        node = Node(
            name=name,
            role="leader" if name == "leader" else "follower",
            profile=entry["profile"],
            market=entry.get("market", "on-demand"),
            gpus_used=entry["gpus"],
            gpus=gpus_of(machine, entry["gpus"]) if machine else "-",
            machine=machine,
            state=state,
            **explained(report),
            warnings=warnings_of(machine, report),
        )
        age = found.age_seconds if found else 0.0
        return Seen(node=node, report=report, machine_age_seconds=age)

    return [seen(name, entry) for name, entry in entries(outputs).items()]


def entries(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a stack's outputs say of each of its nodes, the leader first, where this stack has it."""
    leader = {"leader": outputs["leader"]} if "leader" in outputs else {}
    return {**leader, **outputs["followers"]}


def gpus_of(machine: Machine, used: int) -> str:
    """GPUs of a machine of AWS, and how many of them are used."""
    found = CATALOGUE[machine.instance_type]
    part = "" if used == found.gpus else f"{used} of "
    return f"{part}{found.gpus} x {found.gpu_name}"


def state_of(machine: Machine, read: Read | None) -> str:
    """One word for what a machine is as a node, by its own report, and why it is not ready."""
    if machine.state != "running":
        return machine.state
    if read is None:
        return "booting" if machine.instance_type in CATALOGUE else "starting"
    report = read.report
    if read.age_seconds > SILENT_SECONDS:
        return f"silent for {read.age_seconds:.0f} s"
    if report.failure:
        held = report.replacement is not None and report.replacement.state == "held"
        return f"{report.state}: {report.failure.code}{', replacement held' if held else ''}"
    return f"converging: {report.phase}" if report.state == "converging" else report.state


def explained(read: Read | None) -> dict[str, Any]:
    """The fields of a :class:`Node` that explain why it is not ready, as its agent reports it."""
    failure = read.report.failure if read else None
    if failure is None:
        return {}
    log = failure.log[-1] if failure.log else ""
    return {"reason": failure.message, "hint": failure.hint, "log": log}


def warnings_of(machine: Machine | None, read: Read | None) -> tuple[str, ...]:
    """What a machine's agent warns of in its own report, as long as it reports."""
    if machine is None or machine.state != "running" or read is None:
        return ()
    return read.report.warnings if read.age_seconds <= SILENT_SECONDS else ()


def without_machine(deployment: Deployment, group: str | None) -> str:
    """What a node is that has no machine, and AWS's code of why its *group* has none; a leader has no group."""
    refused = refused_launches(deployment.client("autoscaling"), group) if group else []
    return (
        f"no machine: {code_of(refused[0].get('StatusMessage', ''))}" if refused else "no machine"
    )


def _members(deployment: Deployment, types: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Auto Scaling group of the cluster that *types* has to the id of the machine in it that is the node."""
    pages = deployment.client("autoscaling").get_paginator("describe_auto_scaling_groups")
    ours = {"Name": f"tag:{CLUSTER_TAG}", "Values": [deployment.cluster]}
    found = {
        name: node_of(group, types[name])
        for page in pages.paginate(Filters=[ours])
        for group in page["AutoScalingGroups"]
        if (name := group["AutoScalingGroupName"]) in types
    }
    return {name: member["InstanceId"] for name, member in found.items() if member}


@dataclass(frozen=True)
class _Launched:
    machine: Machine
    age_seconds: float


def _machines(deployment: Deployment) -> dict[str, _Launched]:
    """Id of each machine of the cluster to what AWS says of it."""
    now = time.time()
    pages = deployment.client("ec2").get_paginator("describe_instances")
    ours = {"Name": f"tag:{CLUSTER_TAG}", "Values": [deployment.cluster]}
    return {
        each["InstanceId"]: _Launched(
            Machine(
                instance_id=each["InstanceId"],
                instance_type=each["InstanceType"],
                availability_zone=each["Placement"]["AvailabilityZone"],
                address=each.get("PrivateIpAddress", "-"),
                state=each["State"]["Name"],
                spot=each.get("InstanceLifecycle") == "spot",
            ),
            now - each["LaunchTime"].timestamp(),
        )
        for page in pages.paginate(Filters=[ours])
        for reservation in page["Reservations"]
        for each in reservation["Instances"]
    }


def node_table(found: list[Node]) -> Table:
    """The table that ends ``./cluster up``."""
    columns = ("node", "profile", "machine", "GPUs", "zone", "address", "state")
    table = plain_table(*columns, prose=("machine", "GPUs", "state"))
    for node in found:
        machine = node.machine
        wants_spot = node.market == "spot"
        if machine is None:
            spot = " (spot)" if wants_spot else ""
            table.add_row(node.name, node.profile, f"none{spot}", "-", "-", "-", node.state)
        else:
            bought = "spot" if machine.spot else "on-demand" if wants_spot else ""
            table.add_row(
                node.name,
                node.profile,
                f"{machine.instance_type} ({bought})" if bought else machine.instance_type,
                node.gpus,
                machine.availability_zone,
                machine.address,
                coloured(node.state),
            )
    return table


def coloured(state: str) -> str:
    """A state in the colour that says whether to look closer."""
    colour = (
        "green"
        if state == "ready"
        else "red"
        if state.startswith(("failed", "silent", "unreachable", "no ", "agent stopped"))
        else "yellow"
    )
    return f"[{colour}]{escape(state)}[/]"


KEPT_BECAUSE = {
    "postgres": "accounts, settings and metadata of every dataset (PostgreSQL)",
    "dataVolume": "accounts, settings and metadata of every dataset (PostgreSQL)",
    "sharedFolder": "uploads, files and datasets",
    "secret": "passwords and keys; without them the database cannot be read",
    "followersSecret": "what followers read of them",
    "bucket": "specifications and reports of every node",
}
"""Why each is kept when the machines go."""


def kept_table(kept: Mapping[str, str]) -> Table:
    """The table that ends ``./cluster down``."""
    table = plain_table("kept", "where", "why", prose=("why",))
    for what, identity in kept.items():
        table.add_row(what, identity, KEPT_BECAUSE[what])
    return table
