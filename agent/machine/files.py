"""Files that others may have made or may be writing: root follows no link there, and writes whole files."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Iterator

from agent.failures import Failure


@contextlib.contextmanager
def opened(folder: Path, code: str = "ReleaseFileUnsafe") -> Iterator[Path]:
    """A folder whose place others may give to something else: the path of the opened one. Raises Failure for a link."""
    try:
        found = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except NotADirectoryError as error:
        raise Failure(code, f"{folder} is a link or a file; it was not touched") from error
    try:
        yield Path(f"/proc/self/fd/{found}")
    finally:
        os.close(found)


def read_plain(path: Path) -> str:
    """The text of a file that others may have made: root follows no link there, whose target they might not read.

    Raises OSError where it is not there, and Failure for anything but a plain file.
    """
    try:
        # Without O_NONBLOCK, a pipe would be waited for.
        found = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        # A socket cannot be opened at all.
        what = {errno.ELOOP: "a link", errno.ENXIO: "no plain file"}.get(error.errno or 0)
        if what is None:
            raise
        raise Failure("ReleaseFileUnsafe", f"{_shown(path)} is {what}; it was not read") from error
    # Before `fdopen`, which refuses a folder with an OSError and leaves it open.
    kind = os.fstat(found).st_mode
    if not stat.S_ISREG(kind):
        os.close(found)
        what = "a folder and no file" if stat.S_ISDIR(kind) else "no plain file"
        raise Failure("ReleaseFileUnsafe", f"{_shown(path)} is {what}; it was not read")
    with os.fdopen(found, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def _shown(path: Path) -> Path:
    """Where a file is whose folder may be an opened one."""
    return path.parent.resolve() / path.name


def write_private(path: Path, text: str, mode: int = 0o600) -> bool:
    """Replace a file whole, readable as *mode* says from its first byte on; True where that changed its text."""
    try:
        if read_plain(path) == text and path.stat().st_mode & 0o777 == mode:
            return False
    except (OSError, Failure):
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text, mode)
    return True


def replace_file(path: Path, text: str, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Put a new file in the place of what is there in one step, root's or that of *owner* (user and group)."""
    partial = path.with_name(f".{path.name}.partial")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        if owner is not None:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        stream.write(text)
    partial.replace(path)
