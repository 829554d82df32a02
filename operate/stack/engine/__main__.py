"""`python -m operate.stack.engine`: progress on standard error, the directory on standard output."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from operate.stack.engine import EngineError, ensure
from operate.stack.engine.locate import find


def main(
    present_only: Annotated[
        bool, typer.Option("--print", help="Never download or build: fail if there is none.")
    ] = False,
) -> None:
    """Print the directory of a working Pulumi engine; download or build it if there is none."""
    # A polite kill cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(present_engine() if present_only else ensure_with_progress())
    except EngineError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("Stopped; nothing half-built is left behind.", file=sys.stderr)
        raise typer.Exit(130) from None


def present_engine() -> Path:
    """The engine that is on this machine; EngineError says how to get one."""
    found, refused = find()
    if found is None:
        reasons = "; ".join(refused)
        raise EngineError(
            f"No Pulumi engine yet ({reasons}). Get it: python -m operate.stack.engine"
        )
    return found


def ensure_with_progress() -> Path:
    """Get the engine, with one live line on a terminal and plain lines anywhere else."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return ensure(lambda line: print(line, file=sys.stderr, flush=True))
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("looking for a Pulumi engine", total=None)
        return ensure(lambda line: progress.update(task, description=line))


if __name__ == "__main__":
    typer.run(main)
