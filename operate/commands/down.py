"""``down``: ends the machines of a stack, and keeps its data."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from operate.commands.ending import (
    refuse_other_state,
    refuse_to_abandon,
    stop_unused_sandbox,
    take_down,
)
from operate.commands.options import PulumisView, Stack, Where, Yes
from operate.stack.session import checked, deployment, sandbox_runs, workbench_of
from operate.terminal.messages import say
from operate.terminal.words import stack_names


def down(
    stack: Stack = "sandbox",
    target: Where = None,
    yes: Yes = False,
    pulumi: PulumisView = False,
    abandon: Annotated[
        str,
        typer.Option(
            help="Stacks of followers that may lose their leader, separated by commas.",
            callback=checked(lambda text: ",".join(sorted(stack_names(text)))),
        ),
    ] = "",
) -> None:
    """Destroy the machines of a stack and keep its data. A sandbox that nothing else uses stops, and keeps nothing."""
    if bench := workbench_of(stack, target, start=False):
        status = bench.run(sys.argv[1:])
        bench.close(say)
        raise typer.Exit(status)
    if not sandbox_runs(stack, target):
        say("the sandbox is not running, and its AWS is gone with it; there is nothing to end")
        return
    with deployment(stack, target) as opened:
        if opened.exists():
            refuse_to_abandon(opened, {each for each in abandon.split(",") if each})
            take_down(opened, yes=yes, pulumis_view=pulumi)
        else:
            refuse_other_state(opened)
            say(f"the stack {stack} was never deployed")
        if opened.sandbox is not None:
            stop_unused_sandbox(opened, opened.sandbox)
