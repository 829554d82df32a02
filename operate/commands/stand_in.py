"""``stand-in``: a file like the vendor's archive, to publish in a rehearsal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from operate.commands.options import Stack
from operate.stack.session import mistakes_told
from operate.stack.stand_in import write_stand_in
from operate.terminal.messages import say


def stand_in(
    stack: Stack,
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="Where to write it.")],
) -> None:
    """Write the sandbox's stand-in for the release of a stack to a file, to publish in a rehearsal."""
    with mistakes_told():
        write_stand_in(stack, archive)
    say(f"{archive}: a stand-in for rehearsals, which holds nothing of Graphistry's")
    say(f"next: ./cluster publish {stack} {archive} --target sandbox")
