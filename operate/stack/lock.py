"""One command of a checkout at a time changes a stack.

Pulumi has a lock of its own, which keeps people on several computers apart. It takes that late, when a command has
looked at hosts and booted machines already, and tells two that began together of it in words about files.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.problems import UserError


@contextmanager
def alone(folder: Path, stack: str) -> Iterator[None]:
    """Meanwhile no other command changes the stack; the file in *folder* says which one does.

    Raises :class:`UserError` while there is one. However a command ends, the kernel lets go of its lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{stack}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"another command (process {lock.read() or 'unknown'}) is changing the stack {stack}; "
                "wait for it to end"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
