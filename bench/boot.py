"""``python -m bench.boot``: from the start of an instance to a ready node, for one follower and for six at once.

The leader is ready before. All machines of the sandbox share this computer's processors, which real ones do not; so
beside the ratio of the wall times there is one from which the processor time of the additional followers is taken out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import boto3
import docker
import psutil
import typer
from rich.console import Console
from rich.table import Table

from bench.workbench import COMMANDS, STACK, Stack, Workbench, cluster_config, workbench
from model.problems import UserError
from model.settings.stack_keys import PROJECT
from model.specification import report_key
from operate.stack.deployment import ROOT
from operate.terminal.messages import say
from sandbox.lifecycle import find
from sandbox.machines.availability import prepare

FEW, MANY = 1, 6


@dataclass(frozen=True, kw_only=True)
class Boot:
    """Followers that were started together."""

    wall_seconds: float
    """From the first machine's start to the last node's readiness."""
    processor_seconds: float
    """That this computer spent meanwhile, whatever on."""
    phases: dict[str, float]
    """Phase of the agent to its mean time."""


def main(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Measure, and print ratios of one run."""
    machines = prepare(say)
    if machines is None:
        raise UserError("without machines that boot there is nothing to measure")
    with workbench(["up"], destroy=False, machines=machines) as bench:
        boots = [boot(bench, number) for number in (FEW, MANY)]
    few, many = boots
    share = (many.processor_seconds - few.processor_seconds) / (os.cpu_count() or 1)
    ratios = {
        "wall": many.wall_seconds / few.wall_seconds,
        "without the processor's share": (many.wall_seconds - share) / few.wall_seconds,
    }
    if as_json:
        print(json.dumps({"ratios": ratios, "phases": few.phases}, indent=2))
        return
    table = Table("followers", "wall s", "processor s", *few.phases, box=None)
    for number, each in zip((FEW, MANY), boots, strict=True):
        spent = [f"{seconds:.1f}" for seconds in each.phases.values()]
        table.add_row(
            str(number), f"{each.wall_seconds:.1f}", f"{each.processor_seconds:.1f}", *spent
        )
    Console(width=120).print(table)
    for name, ratio in ratios.items():
        print(f"{MANY} followers over {FEW}, {name}: {ratio:.2f}")


def boot(bench: Workbench, followers: int) -> Boot:
    """Deploy a leader, then add *followers* to it at once, and take all of it away again."""
    say(f"{followers} at once")
    with TemporaryDirectory(dir=bench.directory) as name:
        stack = Stack.new(Path(name), ROOT, cluster_config(0), bench.environment)
        stack.pulumi(*COMMANDS["up"], *stack.configured())
        config = cluster_config(followers)
        stack.configure(config)
        before = sum(psutil.cpu_times()[:3])
        stack.pulumi(*COMMANDS["up"], *stack.configured())
        spent = sum(psutil.cpu_times()[:3]) - before
        outputs = json.loads(stack.pulumi("stack", "output", "--json", "--stack", STACK))
        nodes = list(config[f"{PROJECT}:followers"])
        starts, ends, phases = zip(*observed(bench, outputs["bucket"], nodes), strict=True)
        stack.pulumi("destroy", "--yes", "--skip-preview", *stack.configured())
    return Boot(
        wall_seconds=(max(ends) - min(starts)).total_seconds(),
        processor_seconds=spent,
        phases={phase: sum(each[phase] for each in phases) / len(phases) for phase in phases[0]},
    )


def observed(
    bench: Workbench, bucket: str, nodes: Sequence[str]
) -> Iterator[tuple[datetime, datetime, dict[str, float]]]:
    """When each node's machine started, when it was first ready, and how long its phases took."""
    sandbox = find(bench.directory / "sandbox")
    if sandbox is None or sandbox.docker_host is None:
        raise UserError(f"the machines are gone; {bench.directory}/sandbox/daemon.log may say why")
    containers = docker.DockerClient(base_url=sandbox.docker_host).containers
    s3 = boto3.client(
        "s3",
        endpoint_url=sandbox.aws_endpoint,
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",  # noqa: S106 moto takes any
    )
    for node in nodes:
        key = report_key(node)
        versions = s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
        for version in sorted(versions, key=lambda each: each["LastModified"]):
            body = s3.get_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])["Body"]
            report: dict[str, Any] = json.loads(body.read())
            if report["state"] == "ready":
                break
        started = containers.get(report["instance"]["id"]).attrs["State"]["StartedAt"]
        phases = {each["name"]: float(each["seconds"]) for each in report["phases"]}
        yield datetime.fromisoformat(started[:19] + "+00:00"), version["LastModified"], phases


if __name__ == "__main__":
    typer.run(main)
