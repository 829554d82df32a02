"""How the commands speak: one console, one kind of error that is shown without a traceback."""

from rich.console import Console

console = Console(stderr=True, emoji=False)
"""Standard output is left to what a script reads."""


class UserError(Exception):
    """Something the user can mend; the message says what was got, what is allowed, and what to do."""


def say(line: str) -> None:
    """One line of progress."""
    console.print(f"[dim]graphistry-cluster[/] {line}", highlight=False, soft_wrap=True)
