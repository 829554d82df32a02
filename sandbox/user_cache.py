"""What is built once per user and outlives every sandbox; the small Debians among it come from mmdebstrap."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .machines.commands import MachineError

Say = Callable[[str], None]

UNUSED_SECONDS = 14 * 24 * 3600
"""How long a file of the cache stays that nobody uses: worktrees of one user may each be made of something else."""
SCARCE_BYTES = 10 * 1024**3
"""Room on the disk below which a file stays only while it is the newest of its kind; each takes 0.2 GB."""


def cache() -> Path:
    """The folder of this user that outlives every sandbox."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute()
    return root / "graphistry-cluster"


def built_once(
    archive: Path, kind: str, building: str, make: Callable[[Path], None], say: Say
) -> Path:
    """A file or folder of the cache, named KIND-DIGEST with its endings, which *make* writes unless it is there.

    It is written in a scratch folder and renamed, so that nobody sees half of one; one build at a time. Files of the
    kind that were made of something else are removed once they were unused for `UNUSED_SECONDS`, and at once while the
    disk has less room than `SCARCE_BYTES`. What *make* raises passes through.
    """
    if archive.exists():
        _used(archive)
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with _exclusively(archive.parent / f"{kind}.lock", say):
        if archive.exists():
            return archive
        for leftover in archive.parent.glob(f"{kind}-scratch-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        say(f"building {building}")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"{kind}-scratch-", dir=archive.parent) as scratch:
            draft = Path(scratch, archive.name)
            make(draft)
            draft.replace(archive)
        _remove_unused(archive, kind)
        say(f"{kind} built in {time.monotonic() - started:.0f} s")
    return archive


def _used(archive: Path) -> None:
    """Write down that a file is used now, whether its disk does so by itself (`noatime`) or not."""
    # A cache that cannot be written is used all the same. The time of writing stays: templates are named after it.
    with suppress(OSError):
        os.utime(archive, ns=(time.time_ns(), archive.stat().st_mtime_ns))


def _remove_unused(archive: Path, kind: str) -> None:
    scarce = shutil.disk_usage(archive.parent).free < SCARCE_BYTES
    oldest = time.time() - UNUSED_SECONDS
    for other in archive.parent.glob(f"{kind}-*{''.join(archive.suffixes)}"):
        found = other.stat()
        if other != archive and (scarce or max(found.st_atime, found.st_mtime) < oldest):
            shutil.rmtree(other) if other.is_dir() else other.unlink()


def bootstrap(
    arguments: Sequence[str],
    log: Path,
    what: str,
    *,
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run mmdebstrap as root, without recommended packages; raises MachineError with its words and its *log*."""
    words = ["mmdebstrap", "--mode=root", '--aptopt=Apt::Install-Recommends "false"', *arguments]
    with log.open("wb") as output:
        try:
            subprocess.run(
                words,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=seconds,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            lines = log.read_text(errors="replace").strip().splitlines()
            reason = next((line for line in lines if line.startswith("E:")), str(error))
            raise MachineError(f"{what} cannot be built: {reason}; its log is {log}") from error


@contextmanager
def _exclusively(lock: Path, say: Say) -> Iterator[None]:
    """Hold a lock of this user's; that another process has it is said."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that builds: {lock.stem}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
