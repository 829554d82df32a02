"""How a run of Pulumi is drawn at a terminal: a line for each node, and one bar; never wider or higher than it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PHASE_STYLES = {
    "failed": "bold red",
    "ready": "green",
    "as before": "green",
    "ended": "green",
    "waiting": "yellow",
}
_ORDER = ("failed", "waiting", "making", "ending", "", "ready", "as before", "ended")
"""Which rows stay where a terminal is too low for all."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass
class NodeProgress:
    """One node: what happens to it, since when, and what was said of it last."""

    name: str
    phase: str = ""
    message: str = ""
    began: float | None = None
    ended: float | None = None

    def begin(self, now: float, phase: str = "") -> None:
        """Something happens to it."""
        self.began = now if self.began is None else self.began
        self.phase = phase or self.phase

    def end(self, phase: str, now: float) -> None:
        """Nothing more happens to it."""
        if self.phase != "failed":
            self.phase = phase
            self.ended = now

    def seconds(self, now: float) -> str:
        """How long it took so far."""
        if self.began is None:
            return ""
        return f"{(self.ended or now) - self.began:.0f} s"


@dataclass(frozen=True)
class Shown:
    """What to draw at one moment."""

    rows: tuple[NodeProgress, ...]
    counted: str
    """What *done* and *total* are the numbers of."""
    done: int
    total: int


@dataclass(frozen=True)
class Frame:
    """One picture of a run."""

    shown: Shown
    began: float
    now: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width - 1  # a full line makes some terminals begin another
        room = max(console.height - 3, 1)
        rows = self.shown.rows
        if len(rows) > room:
            urgent = sorted(rows, key=lambda row: _ORDER.index(row.phase))[: room - 1]
            left = [row for row in rows if row not in urgent]
            rows = tuple(row for row in rows if row in urgent)
        else:
            left = []
        widest = max((cell_len(row.name) for row in rows), default=0)
        for row in rows:
            yield self._line(row, widest, width)
        if left:
            yield Text(_cut(f"and {len(left)} more: {_phases(left)}", width), style="dim")
        yield self._bar(width)

    def _line(self, row: NodeProgress, widest: int, width: int) -> Text:
        opening = f"{row.name:{widest}}  "
        phase = f"{row.phase or 'planned':9}"
        rest = f"  {row.seconds(self.now):>6}  {_CONTROL.sub(' ', row.message)}"
        line = Text(_cut(opening + phase + rest, width), no_wrap=True, end="\n")
        line.stylize(PHASE_STYLES.get(row.phase, "dim"), len(opening), len(opening) + len(phase))
        return line

    def _bar(self, width: int) -> Table:
        shown = self.shown
        number = f"{shown.done} of {shown.total} {shown.counted}  {self.now - self.began:.0f} s"
        line = Table.grid(padding=(0, 2, 0, 0))
        room = max(min(40, width - len(number) - 2), 1)
        total, done = (shown.total, shown.done) if shown.total else (1, 0)
        line.add_row(
            ProgressBar(total=total, completed=done, width=room), Text(number, no_wrap=True)
        )
        return line


def _phases(rows: Iterable[NodeProgress]) -> str:
    phases = [row.phase or "planned" for row in rows]
    return ", ".join(f"{phases.count(each)} {each}" for each in dict.fromkeys(phases))


def _cut(text: str, width: int) -> str:
    """A text no wider than that, with dots for what is left out."""
    if cell_len(text) <= width:
        return text.rstrip()
    return set_cell_size(text, max(width - 3, 0)) + "..."[:width]
