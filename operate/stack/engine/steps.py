"""Long steps that a user can follow and that leave no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from operate.stack.engine.locate import EngineError

Report = Callable[[str], None]

HEARTBEAT_SECONDS = 15.0
"""The longest that a running step is silent."""

LOG_LINES_SHOWN = 12


@contextmanager
def step(report: Report, label: str) -> Iterator[None]:
    """Report a step's start, its elapsed time at every heartbeat, and its end unless it failed."""
    started = time.monotonic()
    ended = threading.Event()

    def elapsed() -> str:
        minutes, seconds = divmod(round(time.monotonic() - started), 60)
        return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            report(f"{label}: {elapsed()} so far")

    report(label)
    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
    report(f"{label}: done in {elapsed()}")


def run(
    command: Sequence[str],
    log: Path,
    *,
    deadline_seconds: float,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> None:
    """Run a command with its output appended to the log, of which an EngineError shows the end.

    Its process group is its own: at the deadline, or if we are interrupted, all of it is killed.
    """
    with log.open("ab") as output:
        start = output.tell()
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            code = process.wait(deadline_seconds)
        except subprocess.TimeoutExpired:
            raise EngineError(f"no end after {deadline_seconds:g} s; log: {log}") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code:
        lines = log.read_bytes()[start:].decode(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        raise EngineError("\n      ".join([f"exit code {code}; {log} ends with:", *lines]))
