"""The words that several commands take."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import typer

from model.problems import UserError, did_you_mean
from operate.commands.completion import node_words, stack_words
from operate.stack.deployment import Target, stack_file_of
from operate.stack.session import checked
from operate.terminal.words import node_name, stack_name


def existing_stack(text: str) -> str:
    """The name of a stack that has a file, before a lock is made for it. Raises :class:`UserError`."""
    stack_file_of(stack_name(text))
    return text


def require_node(node: str, known: Collection[str], problem: str = "") -> None:
    """Raise :class:`UserError` for a node that is not among those *known*, with the one that is meant."""
    if node not in known:
        problem = problem or f"NODE: got {node!r}"
        meant = did_you_mean(node, known)
        raise UserError(
            f"{problem}{f'; {meant}' if meant else ''}; allowed: {', '.join(known) or 'none'}"
        )


_stack = typer.Argument(
    metavar="STACK",
    help="The stack: stacks/Pulumi.STACK.yaml.",
    callback=checked(existing_stack),
    autocompletion=stack_words,
)
Stack = Annotated[str, _stack]
"""Comes first wherever a command takes more than one word."""
Node = Annotated[
    str,
    typer.Argument(
        metavar="NODE",
        help="The node: leader, or the name of a follower.",
        callback=checked(node_name),
        autocompletion=node_words,
    ),
]
Where = Annotated[
    Target | None,
    typer.Option(
        "--target",
        help="sandbox: rehearse on this computer; aws: for real, on AWS or the stack's hosts. Without it sandbox and "
        "…-sandbox are rehearsed, all others are real.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
PulumisView = Annotated[
    bool,
    typer.Option(
        "--pulumi", help="Pulumi's own view of the run, in place of a line for each node."
    ),
]
