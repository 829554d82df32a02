"""What Pulumi prints of a run where it has no terminal: which of its lines say something new."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_RESOURCE = re.compile(r" (?:[-+~=<>!]{1,2} ? |   )[\w/-]+:[\w/:-]+ \S+ (?P<status>.*)")
"""`` +  aws:ec2:Instance graphistry-dev-leader creating (3s) …``"""
_SECONDS = re.compile(r" *\(\d+(?:\.\d+)? ?s\)")
_TICK = re.compile(r"@ \w+\.*")
CLOSING = ("Diagnostics:", "Outputs:", "Resources:", "Duration:", "Policies:")
"""How what Pulumi says of a whole run begins."""


def is_resource(line: str) -> bool:
    """Whether a line is about one resource at one moment."""
    return _RESOURCE.fullmatch(line) is not None


def is_tick(line: str) -> bool:
    """Whether a line says only that Pulumi is still there."""
    return _TICK.fullmatch(line) is not None


@dataclass
class Changes:
    """Keeps of each line only what is new: for a log, which nobody redraws."""

    _shown: set[str] = field(default_factory=set)
    _is_closing: bool = False

    def tells(self, line: str) -> bool:
        """Whether to print the next line of Pulumi's."""
        self._is_closing = self._is_closing or line.startswith(CLOSING)
        if self._is_closing:
            return True
        if not line.strip() or is_tick(line):
            return False
        found = _RESOURCE.fullmatch(line)
        if found is None:
            return True
        status = _SECONDS.sub("", found["status"]).strip()
        if not status or status == "refresh" or re.fullmatch(r"[a-z-]+ing", status):
            return False  # it has only begun, or has not changed
        told = _SECONDS.sub("", line).strip()
        is_new = told not in self._shown
        self._shown.add(told)
        return is_new


def without(closing: list[str], shown: set[str]) -> list[str]:
    """The end of Pulumi's output without the diagnostics that were *shown* before, and without headings of none."""
    begin = next((at for at, line in enumerate(closing) if line == "Diagnostics:"), None)
    if begin is None:
        return closing
    end = next(
        (at for at in range(begin + 1, len(closing)) if closing[at].startswith(CLOSING)),
        len(closing),
    )
    kept: list[str] = []
    heading: list[str] = []
    for line in closing[begin + 1 : end]:
        if re.fullmatch(r"  \S.*:", line):
            heading = [line]
        elif (
            line.strip()
            and line.strip().removeprefix("error: ").removeprefix("warning: ") not in shown
        ):
            kept += [*heading, line]
            heading = []
    section = ["Diagnostics:", *kept, ""] if kept else []
    return [*closing[:begin], *section, *closing[end:]]
