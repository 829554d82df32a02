"""From wall times to ratios: what the cluster costs over the floor, and how both grow.

Seconds are of one computer at one hour; the ratios of one run are what can be compared with another run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from bench.startup import BARE_PYTHON, PROGRAM, SDK

OVERHEAD_AIM = 1.15
"""Most that the program may take of the floor's time."""

GROWTH_AIM = 1.1
"""Most that the time per resource may grow with the number of followers."""

CLUSTER, FLOOR = "cluster", "floor"

WHAT_THE_FLOOR_IS = (
    "The floor registers the same resources flat, with the SDK's own classes: same types, names, inputs, dependencies "
    "and outputs waited for, taken from the state of the cluster's own deployment, in the same sandbox. It has no "
    "components, settings, look-ups or exports. Resources are counted without components; both programs' are compared "
    "one by one."
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything one run of the benchmark measured."""

    resources: dict[int, dict[str, int]]
    """Followers to program to the number of resources that it made, components not counted."""

    seconds: dict[int, dict[str, dict[str, list[float]]]]
    """Followers to program to command to the wall time of each run."""

    startup: Mapping[str, list[float]]
    """Wall time of each of ``bench.startup.SNIPPETS``."""

    def commands(self) -> list[str]:
        """What was timed."""
        return [*next(iter(self.seconds.values()))[CLUSTER]]

    def overhead(self, followers: int, command: str) -> float:
        """Time of the cluster over that of the floor."""
        return self._median(followers, CLUSTER, command) / self._median(followers, FLOOR, command)

    def growth(self, program: str, command: str) -> float:
        """Growth of time over growth of resources, between the two largest sizes; 1 is linear."""
        few, many = self._largest()
        time = self._median(many, program, command) / self._median(few, program, command)
        return time / (self.resources[many][program] / self.resources[few][program])

    def startup_over(self, base: str) -> float:
        """Time of the program's start over that of *base*."""
        return median(self.startup[PROGRAM]) / median(self.startup[base])

    def as_json(self) -> dict[str, Any]:
        """Ratios, and what they are made of."""
        return {
            "floor": WHAT_THE_FLOOR_IS,
            "resources": self.resources,
            "overhead": {
                followers: {
                    command: self.overhead(followers, command) for command in self.commands()
                }
                for followers in self.seconds
            },
            "growth": {
                program: {command: self.growth(program, command) for command in self.commands()}
                for program in (CLUSTER, FLOOR)
            },
            "startup": {base: self.startup_over(base) for base in (BARE_PYTHON, SDK)},
            "seconds": self.seconds,
            "startupSeconds": self.startup,
        }

    def tables(self) -> RenderableType:
        """The same for a person."""
        return Group(
            self._overhead_table(),
            WHAT_THE_FLOOR_IS,
            "",
            self._growth_table(),
            "",
            self._startup_table(),
        )

    def _overhead_table(self) -> Table:
        title = f"Time over the floor's (aim {OVERHEAD_AIM:g})"
        table = Table(title=title, title_justify="left")
        for column in (
            "followers",
            "resources",
            "command",
            "runs",
            "cluster s",
            "floor s",
            "ratio",
        ):
            table.add_column(column, justify="left" if column == "command" else "right")
        for followers, programs in self.seconds.items():
            for command, runs in programs[CLUSTER].items():
                table.add_row(
                    str(followers),
                    str(self.resources[followers][CLUSTER]),
                    command,
                    str(len(runs)),
                    f"{self._median(followers, CLUSTER, command):.1f}",
                    f"{self._median(followers, FLOOR, command):.1f}",
                    _against(OVERHEAD_AIM, self.overhead(followers, command)),
                    end_section=command == [*programs[CLUSTER]][-1],
                )
        return table

    def _growth_table(self) -> Table:
        few, many = self._largest()
        title = f"Growth of time over resources, {few} to {many} followers (1 is linear, aim {GROWTH_AIM:g})"
        table = Table("command", title=title, title_justify="left")
        for program in (CLUSTER, FLOOR):
            table.add_column(program, justify="right")
        for command in self.commands():
            table.add_row(
                command,
                _against(GROWTH_AIM, self.growth(CLUSTER, command)),
                f"{self.growth(FLOOR, command):.2f}",
            )
        return table

    def _startup_table(self) -> Table:
        table = Table("a new Python with", title="Before the first resource", title_justify="left")
        for column in ("seconds", "over bare", "over SDK"):
            table.add_column(column, justify="right")
        for name, seconds in self.startup.items():
            ratios = [median(seconds) / median(self.startup[base]) for base in (BARE_PYTHON, SDK)]
            table.add_row(name, f"{median(seconds):.2f}", *(f"{ratio:.2f}" for ratio in ratios))
        return table

    def _largest(self) -> tuple[int, int]:
        few, many = sorted(self.seconds)[-2:]
        return few, many

    def _median(self, followers: int, program: str, command: str) -> float:
        return median(self.seconds[followers][program][command])


def _against(aim: float, ratio: float) -> str:
    return f"[{'green' if ratio <= aim else 'red'}]{ratio:.2f}[/]"
