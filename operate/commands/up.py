"""``up``: deploys a stack."""

from __future__ import annotations

from typing import Annotated

import typer

from model.problems import counted
from operate.commands.options import PulumisView, Stack, Where, Yes
from operate.commands.preparation import check_hosts, data_to_give_up, prepare, tell_changes
from operate.commands.screen import next_steps, show_nodes, show_unready
from operate.nodes.present import hosts_in, is_deployed, present_nodes, settled_nodes
from operate.stack.kept_data import unprotected
from operate.stack.session import consent, deployment
from operate.terminal.messages import say


def up(
    stack: Stack = "sandbox",
    target: Where = None,
    yes: Yes = False,
    pulumi: PulumisView = False,
    name: Annotated[
        str,
        typer.Option(
            help="Kept data that this deployment may give up: the names that the refusal shows, separated by commas."
        ),
    ] = "",
) -> None:
    """Deploy a stack and show its nodes. Except in the sandbox it shows the plan and asks first."""
    with deployment(stack, target, boots=True) as opened:
        looked = prepare(opened)
        changes = tell_changes(opened)
        # A node that fails must not keep the others from getting ready.
        options = ["--refresh", "--suppress-outputs", "--continue-on-error"]
        with hosts_in(opened) as hosts:
            if hosts is not None:
                options += check_hosts(opened, hosts)
            typed = {each for each in name.split(",") if each}
            lost = data_to_give_up(opened, changes, typed)
            with unprotected(opened, lost):
                status, refused = opened.up(
                    *options, *consent(opened, yes=yes), pulumis_view=pulumi
                )
            outputs = opened.outputs()
            look = present_nodes if status else settled_nodes
            found = look(opened, outputs, hosts) if is_deployed(opened, outputs) else []
        if found:
            show_nodes(found, as_json=False)
        failing = show_unready(opened, found)
        if looked and looked.could_not_run:
            say(looked.could_not_run)
        if status:
            for told in refused:
                say(told)
            say(
                f"failures are listed above; after fixing them, `./cluster up{opened.choice}` continues from here"
            )
            raise typer.Exit(status)
        if failing:
            say(
                f"{len(failing)} of {counted(len(found), 'node')} "
                f"{'is' if len(failing) == 1 else 'are'} not ready; "
                f"`./cluster up{opened.choice}` continues from here"
            )
            raise typer.Exit(1)
        next_steps(opened, outputs)
