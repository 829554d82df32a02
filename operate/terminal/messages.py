"""How the commands speak: one console, one kind of error that is shown without a traceback."""

import re

from rich.console import Console

console = Console(stderr=True, emoji=False)
"""Standard output is left to what a script reads."""


_COMMAND = re.compile(r"`\./cluster ([a-z-]+)(?: STACK(?=[ `])|(?=`)|(?= --))")


def for_stack(text: str, choice: str, node: str = "") -> str:
    """A text whose commands name the stack that they are about, and the *node* where it is known.

    Settings and agents know neither name, and leave the stack out or write STACK and NODE. *choice* is
    `deployment.choice_of`.
    """
    named = _COMMAND.sub(lambda found: f"`./cluster {found[1]}{choice}", text)
    return (
        re.sub(rf"(`\./cluster [a-z-]+{re.escape(choice)}) NODE\b", rf"\1 {node}", named)
        if node
        else named
    )


def say(line: str) -> None:
    """One line of progress."""
    console.print(f"[dim]graphistry-cluster[/] {line}", highlight=False, soft_wrap=True)
