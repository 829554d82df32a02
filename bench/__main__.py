"""``python -m bench``: preview and up of clusters of several sizes, against the same resources registered flat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from bench.comparison import CLUSTER, FLOOR, Comparison
from bench.recording import custom, record, shape
from bench.startup import startup_seconds
from bench.workbench import COMMANDS, Deployed, Workbench, workbench
from model.problems import UserError
from operate.stack.engine import EngineError
from operate.terminal.messages import console, say


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured, and how often."""

    runs: Mapping[int, int]
    """Followers to the number of deployments of each program."""

    commands: Sequence[str]
    """Which of ``bench.workbench.COMMANDS``."""

    startup_runs: int
    careful: bool
    """Whether the sandbox is warm before the first run and empty before each."""


FULL = Plan(runs={1: 3, 10: 3, 100: 1}, commands=[*COMMANDS], startup_runs=5, careful=True)
"""Three runs where they are cheap: one with 100 followers takes minutes."""

QUICK = Plan(runs={1: 1, 10: 1}, commands=["preview", "up"], startup_runs=1, careful=False)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    quick: Annotated[
        bool, typer.Option(help="One run of 1 and 10 followers, to see that it works.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Measure the cluster's program against the same resources registered flat; print ratios."""
    try:
        comparison = compare(QUICK if quick else FULL)
    except (UserError, EngineError) as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(comparison.as_json(), indent=2))
    else:
        Console().print(comparison.tables())
        if quick:
            say("--quick runs cold and once: these ratios show that it works, and nothing else")


def compare(plan: Plan) -> Comparison:
    """Deploy cluster and floor in turns. Raises :class:`UserError`, also when the two did not make the same."""
    resources: dict[int, dict[str, int]] = {}
    seconds: dict[int, dict[str, dict[str, list[float]]]] = {
        followers: {
            program: {command: [] for command in plan.commands} for program in (CLUSTER, FLOOR)
        }
        for followers in plan.runs
    }
    startup = startup_seconds(plan.startup_runs)
    with workbench(plan.commands, destroy=plan.careful) as bench:
        if plan.careful:
            say("warming the sandbox up")
            deploy_both(bench, 1)
        for run in range(max(plan.runs.values())):
            for followers in (each for each, wanted in plan.runs.items() if run < wanted):
                say(f"run {run + 1} of {plan.runs[followers]} with {followers} followers")
                for program, deployed in deploy_both(bench, followers).items():
                    resources.setdefault(followers, {})[program] = len(custom(deployed.resources))
                    for command, taken in deployed.seconds.items():
                        seconds[followers][program][command].append(taken)
    return Comparison(resources=resources, seconds=seconds, startup=startup)


def deploy_both(bench: Workbench, followers: int) -> dict[str, Deployed]:
    """A cluster, then its floor."""
    cluster = bench.deploy_cluster(followers)
    floor = bench.deploy_floor(record(cluster.resources))
    wanted, found = shape(cluster.resources), shape(floor.resources)
    if wanted != found:
        other = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
        raise UserError(
            f"with {followers} followers the floor is not the cluster's graph of resources, so a ratio would say "
            f"nothing; bench/recording.py lost a resource, an input or a dependency: {other}"
        )
    return {CLUSTER: cluster, FLOOR: floor}


if __name__ == "__main__":
    app()
