"""A program that is fed through its standard input, and that says itself why it stops reading."""

from __future__ import annotations

import contextlib
import subprocess
from typing import IO, Callable

from agent.delivery.archive import widen


def fed(
    words: list[str], feed: Callable[[IO[bytes]], object], output: IO[bytes] | None = None
) -> tuple[int, list[str]]:
    """Run a program that reads what *feed* writes: its exit status, and the lines that it said.

    With *output*, that takes what the program prints, and the lines are those of its standard error alone. The program
    is killed where anything else than its own end stops *feed*.
    """
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=output or subprocess.PIPE,
        stderr=subprocess.PIPE if output else subprocess.STDOUT,
        start_new_session=True,
    )
    said = process.stderr if output else process.stdout
    assert process.stdin is not None  # noqa: S101, it is a pipe
    assert said is not None  # noqa: S101, it is a pipe
    widen(process.stdin)
    try:
        with contextlib.suppress(BrokenPipeError):  # the program says why
            feed(process.stdin)
            process.stdin.close()
        lines = said.read().decode(errors="replace").splitlines()
        return process.wait(), lines
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        said.close()
