"""Running the system's own programs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

SECONDS = 60
"""Longest that a quick command may take."""


class MachineError(Exception):
    """Something about the machines does not work; the message says what and what to do."""


def run(command: Sequence[str], stdin: str = "", seconds: float = SECONDS) -> str:
    """What a command prints; MachineError with its own words where it fails."""
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=seconds, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(f"{' '.join(command[:4])}: {error}") from error
    if done.returncode:
        words = done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}"
        raise MachineError(f"{' '.join(command[:4])} ...: {words}")
    return done.stdout
