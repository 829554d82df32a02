"""How the commands lay out what people look at."""

from rich.console import Console
from rich.table import Table

WIDTH = 140
"""Columns of a table that goes to a file or a pipe."""


def plain_table(*headings: str) -> Table:
    """A table that fits into 80 columns in the common case."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold cyan")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def as_text(table: Table) -> str:
    """A table in plain characters, for a log."""
    console = Console(width=WIDTH, emoji=False, color_system=None)
    with console.capture() as shown:
        console.print(table)
    return shown.get().rstrip()
