"""``purge``: ends a stack and deletes its data."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from model.problems import UserError
from model.settings.aws import Settings
from model.settings.hosts import FollowersOnHosts
from operate.commands.ending import (
    delete_everything,
    forget_restarted,
    refuse_other_state,
    refuse_to_abandon,
)
from operate.commands.options import Stack, Where
from operate.commands.preparation import known, take_over
from operate.commands.screen import show_kept
from operate.nodes.joined import cluster_of
from operate.stack.kept_data import data_volumes, final_snapshots, snapshot_of_purged
from operate.stack.session import deployment
from operate.terminal.messages import say


def purge(
    stack: Stack = "sandbox",
    target: Where = None,
    name: Annotated[
        str,
        typer.Option(help="The stack's name, to delete its data without being asked for it."),
    ] = "",
) -> None:
    """Destroy a stack and DELETE ITS DATA. Asks for the stack's name."""
    with deployment(stack, target) as opened:
        if not opened.exists():
            refuse_other_state(opened)
            raise UserError(f"the stack {stack} was never deployed; there is nothing to delete")
        if isinstance(opened.settings, FollowersOnHosts):
            show_kept("kept on the hosts:", opened.outputs().get("keptData", {}))
            raise UserError(
                f"nothing is deleted on hosts. `./cluster down{opened.choice}` makes them plain hosts again; then "
                "delete these places by hand, as root"
            )
        refuse_to_abandon(opened, set())
        cluster_of(opened)
        take_over(opened)
        show_kept("to be deleted:", opened.outputs().get("keptData", {}))
        if not name and sys.stdin.isatty():
            name = typer.prompt(f"All of this is deleted for good. Type the stack's name ({stack})")
        if name != stack:
            raise UserError(
                f"got {name!r} as the name of what to delete; allowed is {stack!r}: "
                f"./cluster purge{opened.choice} --name {stack}. Nothing was deleted"
            )
        if forget_restarted(opened):
            return
        volumes, identity = data_volumes(opened), known(opened).identity
        delete_everything(opened)
        opened.read("stack", "rm", "--yes", "--preserve-config", *opened.named())
        say("deleted; Secrets Manager can restore the secret for 30 days")
        for told in final_snapshots(opened, volumes).values():
            say(told)
        if not volumes and isinstance(opened.settings, Settings):
            say(snapshot_of_purged(opened, identity))
