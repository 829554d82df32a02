"""``preview``: what a deployment would change."""

from __future__ import annotations

import typer

from operate.commands.options import Stack, Where
from operate.commands.preparation import check_hosts, data_to_give_up, prepare, tell_changes
from operate.nodes.present import hosts_in
from operate.stack.session import deployment
from operate.terminal.messages import say


def preview(stack: Stack = "sandbox", target: Where = None) -> None:
    """Show what a deployment would change, compared with what is deployed now."""
    with deployment(stack, target) as opened:
        looked = prepare(opened)
        changes = tell_changes(opened)
        options = ["--refresh"]
        with hosts_in(opened) as hosts:
            if hosts is not None:
                options += check_hosts(opened, hosts)
        data_to_give_up(opened, changes, set())
        status = opened.run("preview", *options, *opened.configured())
        if looked:  # once more, as the plan may be longer than a screen
            for line in filter(None, (looked.could_not_run, looked.cost)):
                say(line)
        raise typer.Exit(status)
