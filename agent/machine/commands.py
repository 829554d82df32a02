"""Running a system command with a bound, whatever hangs below it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence

from agent.failures import Failure

TIMED_OUT = 124
"""Status of a command that was ended at its bound, as timeout(1) has it."""
MISSING = 127
"""Status of a command that does not exist, as a shell has it."""
TAIL_LINES = 20


@dataclass(frozen=True)
class Completed:
    """A command that has ended, or was ended."""

    status: int
    output: str
    errors: str

    @property
    def succeeded(self) -> bool:
        """Whether the command ended with status 0."""
        return self.status == 0

    def tail(self) -> list[str]:
        """The last lines of its errors, or of its output where it said nothing there."""
        return (self.errors.strip() or self.output.strip()).splitlines()[-TAIL_LINES:]


def run(
    arguments: Sequence[str],
    *,
    seconds: float = 60,
    text: str | None = None,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Completed:
    """Run a command to its end, or end it and its children after *seconds*; never raises for its status.

    *text* is its standard input, *variables* are further ones of its environment. A process that cannot be killed, as
    one that waits for a dead file server, is left behind.
    """
    try:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, **(variables or {})},
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        return Completed(MISSING, "", f"{arguments[0]}: {error.strerror}")
    try:
        output, errors = process.communicate(text, timeout=seconds)
    except subprocess.TimeoutExpired:
        output, errors = _end(process)
        message = f"{arguments[0]} did not end within {seconds:g} s"
        return Completed(TIMED_OUT, output, f"{errors}\n{message}".strip())
    except BaseException:
        _end(process)
        raise
    return Completed(process.returncode, output, errors)


def require(
    code: str,
    message: str,
    arguments: Sequence[str],
    *,
    seconds: float = 60,
    text: str | None = None,
    folder: Path | None = None,
) -> str:
    """The output of a command that must succeed; raises Failure with *code* and *message*."""
    done = run(arguments, seconds=seconds, text=text, folder=folder)
    if not done.succeeded:
        raise Failure(code, f"{message} (status {done.status})", done.tail())
    return done.output


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Kill a command with its children; what it had said so far."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        output, errors = process.communicate(timeout=2)
    except (subprocess.TimeoutExpired, ValueError):
        return "", ""
    return output or "", errors or ""
