"""A run of Pulumi in this program's own view: Pulumi writes to files, and this shows what comes.

Files and no pipes: whoever kills this program alone leaves a Pulumi that still ends its run.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from operate.stack.engine_output import CLOSING, Changes, is_resource, is_tick, without
from operate.stack.progress import Progress
from operate.terminal.progress_view import Frame

LOOK_SECONDS = 0.2
"""How often the files are read and the view is drawn."""


class GrowingFile:
    """The whole lines of a file that another program writes; it need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._begun = path, 0, b""

    def lines(self) -> Iterator[str]:
        """Those that are new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            read = file.read()
        self._at += len(read)
        *whole, self._begun = (self._begun + read).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")

    def rest(self) -> Iterator[str]:
        """What is left when nobody writes any more: the last line may have no end."""
        yield from self.lines()
        if self._begun:
            yield self._begun.decode(errors="replace")
            self._begun = b""


def has_screen() -> bool:
    """Whether lines can be drawn in place."""
    console = Console()
    return console.is_terminal and not console.is_dumb_terminal


@contextmanager
def shown(
    printed: Path, events: Path, progress: Progress | None
) -> Iterator[Callable[[bool], None]]:
    """Show what Pulumi has *printed*, while the block waits for it: with a *progress* as its picture, made of
    *events*; without, the lines that say something new.

    The block calls what it gets with whether the run has succeeded.
    """
    over = threading.Event()
    succeeded = [False]

    def end(success: bool) -> None:
        succeeded[0] = success

    with ThreadPoolExecutor(1) as aside:
        if progress is None:
            following = aside.submit(_print_lines, GrowingFile(printed), over, sys.stdout)
        else:
            following = aside.submit(
                _draw, GrowingFile(printed), GrowingFile(events), over, progress, succeeded
            )
        try:
            yield end
        finally:
            over.set()
            following.result()


def _print_lines(printed: GrowingFile, over: threading.Event, stream: IO[str]) -> None:
    changes = Changes()
    is_over = False
    while not is_over:
        is_over = over.wait(LOOK_SECONDS)
        for line in printed.rest() if is_over else printed.lines():
            if changes.tells(line):
                print(line, file=stream, flush=True)


def _draw(
    printed: GrowingFile,
    events: GrowingFile,
    over: threading.Event,
    progress: Progress,
    succeeded: list[bool],
) -> None:
    screen = Console(emoji=False, highlight=False)
    began = time.monotonic()
    told: set[str] = set()
    closing: list[str] = []

    def frame() -> Frame:
        return Frame(progress.shown(), began, time.monotonic())

    with Live(frame(), console=screen, auto_refresh=False) as live:
        is_over = False
        while not is_over:
            is_over = over.wait(LOOK_SECONDS)
            for line in events.rest() if is_over else events.lines():
                for said in progress.take(_event(line), time.monotonic()):
                    told.add(said.strip().removeprefix("error: ").removeprefix("warning: "))
                    screen.print(Text(said), soft_wrap=True)
            for line in printed.rest() if is_over else printed.lines():
                if closing or line.startswith(CLOSING):
                    closing.append(line)
                elif line.strip() and not is_resource(line) and not is_tick(line):
                    screen.print(Text(line), soft_wrap=True)
            if is_over:
                progress.end(succeeded=succeeded[0])
            live.update(frame(), refresh=True)
    for line in without(closing, told):
        screen.print(Text(line), soft_wrap=True)


def _event(line: str) -> dict[str, Any]:
    """An event; none for a line that an engine was killed in."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return found
