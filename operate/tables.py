"""How the commands lay out what people look at."""

from rich.table import Table


def plain_table(*headings: str) -> Table:
    """A table that fits into 80 columns in the common case."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold cyan")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
