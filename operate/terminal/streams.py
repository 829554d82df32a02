"""The three streams of a command, where a shell, a service or cron gave it fewer."""

from __future__ import annotations

import io
import os
import sys


def open_streams() -> None:
    """Put nothing in the place of each stream that is closed, and let any text out.

    Python has None for a closed one, and the next file that is opened takes its number: a lock, say, to which a
    child then writes its output.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of another encoding shows \\xe9 for what it has not, where Python would end.
            stream.reconfigure(errors="backslashreplace")
