"""The words that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

from operate.stack.deployment import Target, stack_file_of, stacks_here
from operate.stack.session import checked
from operate.terminal.words import node_name, stack_name


def existing_stack(text: str) -> str:
    """The name of a stack that has a file, before a lock is made for it. Raises :class:`UserError`."""
    stack_file_of(stack_name(text))
    return text


def _stacks(incomplete: str) -> list[str]:
    return [each for each in stacks_here() if each.startswith(incomplete)]


_stack = typer.Argument(
    metavar="STACK",
    help="The stack: stacks/Pulumi.STACK.yaml.",
    callback=checked(existing_stack),
    autocompletion=_stacks,
)
Stack = Annotated[str, _stack]
"""Comes first wherever a command takes more than one word."""
Node = Annotated[
    str,
    typer.Argument(
        metavar="NODE",
        help="The node: leader, or the name of a follower.",
        callback=checked(node_name),
    ),
]
Where = Annotated[
    Target | None,
    typer.Option(
        "--target",
        help="Where to; without it the stacks sandbox and …-sandbox go to the sandbox, others to AWS or their hosts.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for machines.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
PulumisView = Annotated[
    bool,
    typer.Option(
        "--pulumi", help="Pulumi's own view of the run, in place of a line for each node."
    ),
]
