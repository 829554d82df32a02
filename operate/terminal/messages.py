"""How the commands speak: one console, one kind of error that is shown without a traceback."""

import re

from rich.console import Console

console = Console(stderr=True, emoji=False)
"""Standard output is left to what a script reads."""


_COMMAND = re.compile(r"`make ([a-z-]+)(?: STACK=name)?(?! (?:STACK|TARGET)=)(?=[ `])")


def for_stack(text: str, choice: str, node: str = "") -> str:
    """A text whose commands of the Makefile name the stack that they are about, and the *node* where it is known.

    Settings and agents know neither name. *choice* is what ``make`` must be told (`deployment.choice_of`).
    """
    named = _COMMAND.sub(lambda found: f"`make {found[1]}{choice}", text)
    return named.replace("NODE=name", f"NODE={node}") if node else named


def say(line: str) -> None:
    """One line of progress."""
    console.print(f"[dim]graphistry-cluster[/] {line}", highlight=False, soft_wrap=True)
