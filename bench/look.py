"""``python -m bench.look``: the processor time that the agent of a ready node spends while nobody touches it.

Beside it what one look cost before the agent asked Docker's engine: ``./graphistry config`` and ``./graphistry ps``,
once each. Time that Docker spends on its answers, and on health checks, is in neither.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import docker
import psutil
import typer

from agent.limits import WATCH
from bench.workbench import COMMANDS, STACK, Stack, Workbench, cluster_config, workbench
from model.problems import UserError
from operate.stack.deployment import ROOT
from operate.terminal.messages import say
from sandbox.lifecycle import find
from sandbox.machines.availability import prepare

IDLE_SECONDS = 120.0
"""Two of the minutes in which the driver is asked once."""
RELEASES = "/opt/graphistry-cluster/releases"
BEFORE = f"""
import os, resource, subprocess
os.chdir(next(os.scandir({RELEASES!r})).path)
for command in ("config", "ps"):
    subprocess.run(["./graphistry", command], stdout=subprocess.DEVNULL, check=True)
spent = resource.getrusage(resource.RUSAGE_CHILDREN)
print(spent.ru_utime + spent.ru_stime)
"""


def main(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Measure on the leader of a cluster of one, and print ratios of one run."""
    machines = prepare(say)
    if machines is None:
        raise UserError("without machines that boot there is nothing to measure")
    with (
        workbench(["up"], destroy=False, machines=machines) as bench,
        TemporaryDirectory(dir=bench.directory) as name,
    ):
        stack = Stack.new(Path(name), ROOT, cluster_config(0), bench.environment)
        stack.pulumi(*COMMANDS["up"], *stack.configured())
        outputs = json.loads(stack.pulumi("stack", "output", "--json", "--stack", STACK))
        machine = _machine(bench, outputs["leader"]["instanceId"])
        agent = _agent(machine)
        before = _spent(agent)
        say(f"an idle cluster for {IDLE_SECONDS:g} s")
        time.sleep(IDLE_SECONDS)
        idle = _spent(agent) - before
        commands = float(machine.exec_run(["python3", "-c", BEFORE]).output)
    look = idle * WATCH / IDLE_SECONDS
    found = {
        "processor seconds of a look": look,
        "processor seconds of an idle hour": idle * 3600 / IDLE_SECONDS,
        "percent of one core": 100 * idle / IDLE_SECONDS,
        "look over `./graphistry config` and `ps`": look / commands,
    }
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name}: {value:.3g}")


def _machine(bench: Workbench, identifier: str) -> Any:
    sandbox = find(bench.directory / "sandbox")
    if sandbox is None or sandbox.docker_host is None:
        raise UserError(f"the machines are gone; {bench.directory}/sandbox/daemon.log may say why")
    return docker.DockerClient(base_url=sandbox.docker_host).containers.get(identifier)


def _agent(machine: Any) -> psutil.Process:
    """The agent's process, as this computer sees it."""
    for each in psutil.Process(machine.attrs["State"]["Pid"]).children(recursive=True):
        words = each.cmdline()
        if "run" in words and any(word.endswith("agent.pyz") for word in words):
            return each
    raise UserError("no agent runs on the machine")


def _spent(process: psutil.Process) -> float:
    """Processor seconds of a process and of those it has waited for."""
    return sum(process.cpu_times()[:4])


if __name__ == "__main__":
    typer.run(main)
