"""The nodes of a cluster on hosts as a person sees them, from one SSH connection a host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from model.node_report import NodeReport
from model.specification import INSTALLED_AGENT, RUN_AGENT
from operate.hosts.connected import Hosts
from operate.nodes.on_aws import Machine, Node, Seen, entries, explained, state_of, warnings_of
from operate.nodes.reports import Read
from operate.stack.rehearsed_hosts import Unlike
from operate.stack.run_command import Answer

STATUS = f"sudo -n sh -c 'test -e {INSTALLED_AGENT} && exec {RUN_AGENT} status || echo {{}}'"
HOST = "host"
"""What stands for an instance type."""


def nodes_on_hosts(hosts: Hosts, outputs: Mapping[str, Any]) -> list[Seen]:
    """The nodes of a deployed stack with the hosts under them, and what their agents report."""
    deployed = entries(outputs)
    # A host that the file names no more is not asked.
    answers = hosts.run([node for node in deployed if node in hosts.access], STATUS, seconds=30)
    return [
        _seen(name, entry, answers.get(name), _machine_state(hosts, name))
        for name, entry in deployed.items()
    ]


def _machine_state(hosts: Hosts, node: str) -> str:
    if hosts.unlike.get(node) is Unlike.NOT_BOOTED:
        return "not booted"
    return "unreachable" if node in hosts.failures else "running"


def _seen(name: str, entry: Mapping[str, Any], answer: Answer | None, machine_state: str) -> Seen:
    said = _said(answer)
    report = _report(said)
    seen = report.report.gpus if report else ()
    machine = Machine(
        instance_id=(report.report.instance.id if report and report.report.instance else ""),
        instance_type=HOST,
        availability_zone="-",
        address=entry["address"],
        state=machine_state,
    )
    used = entry["gpus"]
    node = Node(
        name=name,
        role="leader" if name == "leader" else "follower",
        profile=entry["profile"],
        market="-",
        gpus_used=used,
        gpus=f"{'' if used == len(seen) else f'{used} of '}{len(seen)} x {seen[0].name}"
        if seen
        else str(used),
        machine=machine,
        state=_state(machine, said, report),
        **explained(report),
        warnings=warnings_of(machine, report),
    )
    return Seen(node=node, report=report)


def _state(machine: Machine, said: Mapping[str, Any], report: Read | None) -> str:
    if machine.state != "running":
        return machine.state
    if said.get("agent") != "active":
        return "agent stopped" if said.get("report") else "no agent"
    return state_of(machine, report)


def _said(answer: Answer | None) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(answer.output) if answer else {}
    except ValueError:
        return {}
    return found


def _report(said: Mapping[str, Any]) -> Read | None:
    try:
        return Read(
            report=NodeReport.model_validate(said["report"]), age_seconds=float(said["ageSeconds"])
        )
    except (LookupError, ValidationError, TypeError, ValueError):
        return None
