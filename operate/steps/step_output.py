"""What the programs print that a resource of the deployment runs.

Pulumi's command plugin reads lines, and hangs for ever at one of 64 KiB (Go: bufio.MaxScanTokenSize).
"""

from __future__ import annotations

import sys

LONGEST_LINE = 4000
"""Characters; four bytes each stay well below the plugin's bound."""


def show(text: str) -> None:
    """Print *text* on standard output, each line of it at once and no longer than it may be."""
    for line in text.splitlines():
        print(shortened(line), flush=True)


def complain(text: str) -> None:
    """The same on standard error."""
    for line in text.splitlines():
        print(shortened(line), file=sys.stderr, flush=True)


def shortened(line: str) -> str:
    """A line with its middle left out if it is too long: the reason may stand at either end."""
    if len(line) <= LONGEST_LINE:
        return line
    half = LONGEST_LINE // 2 - 20
    return f"{line[:half]} [{len(line) - 2 * half} characters] {line[-half:]}"
