"""How the commands lay out what people look at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

WIDTH = 140
"""Columns of a table that goes to a file or a pipe."""
GAP = 2
"""Columns between two of a table's."""


def plain_table(*headings: str, prose: Collection[str] = ()) -> Table:
    """A table whose columns of *prose* are folded to the width of a terminal; every other is there to be copied."""
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold cyan")
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading not in prose)
    return table


def show(table: Table, console: Console) -> None:
    """Print a table as wide as a terminal, or row by row where that is too narrow. No word of it is cut in two."""
    if _fits(table, console.width):
        console.print(table)
    else:
        for line in _rows(table):
            console.print(line, soft_wrap=True, highlight=False)


def as_text(table: Table) -> str:
    """A table in plain characters, for a log."""
    console = Console(width=WIDTH, emoji=False, color_system=None)
    with console.capture() as shown:
        show(table, console)
    return shown.get().rstrip()


def _fits(table: Table, width: int) -> bool:
    """Whether a table can be as wide as that, which it then is: rich by itself would fold or cut an id."""
    natural = [_longest(column, str.splitlines) for column in table.columns]
    least = [
        most if column.no_wrap else _longest(column, str.split)
        for column, most in zip(table.columns, natural, strict=True)
    ]
    room = width - GAP * (len(natural) - 1)
    if sum(least) > room:
        return False
    widths = list(natural)
    while sum(widths) > room:
        wide = [index for index, each in enumerate(widths) if each > least[index]]
        widths[max(wide, key=lambda index: widths[index])] -= 1
    for column, each in zip(table.columns, widths, strict=True):
        column.width = each
    return True


def _longest(column: Column, parts: Callable[[str], list[str]]) -> int:
    """Characters of the longest part of a column's heading and cells."""
    texts = [Text.from_markup(str(each), emoji=False) for each in (column.header, *column.cells)]
    return max((cell_len(part) for text in texts for part in parts(text.plain)), default=0)


def _rows(table: Table) -> Iterator[str]:
    """The first cell of each row, and below it the others that say something, each with its heading."""
    headings = [str(column.header) for column in table.columns]
    width = max(map(len, headings))
    for first, *others in zip(*(column.cells for column in table.columns), strict=True):
        yield f"[bold]{first}[/]"
        for heading, cell in zip(headings[1:], others, strict=True):
            if cell:
                yield f"  [bold cyan]{heading:{width}}[/]  {cell}"
    if table.caption:
        yield str(table.caption)
