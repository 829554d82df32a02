"""A working Pulumi engine, wherever it has to come from.

In order: one that is already on this machine, Pulumi's own download, a build from Go modules. The
last two fill a scratch folder, are run, and only then appear in the per-user cache, by one rename:
nobody sees half an engine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operate.stack.engine.go_build import GO_PACKAGE, GO_VERSION, build
from operate.stack.engine.locate import VERSION, EngineError, cached_engine, dotted, find, problem
from operate.stack.engine.steps import Report, run, step

__all__ = ["EngineError", "ensure"]

OFFICIAL_DOWNLOAD = Path(__file__).with_name("official_download.py")

DOWNLOAD_SECONDS = 600
"""Bound on the official download, about 100 MB."""

HELP = f"""Any one of these helps; then run the same command again:
  - install Pulumi {dotted(VERSION)} or later with its Python language host, and put it on PATH:
    https://www.pulumi.com/docs/install
  - connect this machine to the internet
  - give it a Go module proxy (GOPROXY), and Go {dotted(GO_VERSION)} or later on PATH or a Python
    package index that has {GO_PACKAGE}"""


def ensure(report: Report) -> Path:
    """The directory of a working `pulumi`, to be put on PATH; downloads or builds it if needed.

    Takes under a second if there is one, else about 5 minutes on two cores. Progress goes to
    `report` line by line, also from another thread. Raises EngineError.
    """
    found, refused = find()
    if found:
        return found
    if sys.platform == "win32":
        raise EngineError(explain([*refused, "build: not possible on Windows; use WSL"]))
    try:
        return obtain(refused, report)
    except OSError as error:
        cannot = f"{cached_engine().parent} cannot be filled: {error}; set XDG_CACHE_HOME"
        raise EngineError(explain([*refused, cannot])) from error


def explain(tried: list[str]) -> str:
    """The message for a user without an engine: what was tried, and what would help."""
    attempts = "\n".join(f"  - {attempt}" for attempt in tried)
    return f"No working Pulumi engine, {dotted(VERSION)} or later. Tried:\n{attempts}\n{HELP}"


def obtain(refused: list[str], report: Report) -> Path:
    """Download or build the engine into the cache, unless another process just did."""
    engine = cached_engine().parent
    cache = engine.parent
    cache.mkdir(parents=True, exist_ok=True)
    with exclusive(cache / "lock", report):
        if problem(engine / "bin") is None:
            return engine / "bin"
        for leftover in cache.glob("scratch-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        log = cache / "build.log"
        log.unlink(missing_ok=True)
        tried = list(refused)
        with tempfile.TemporaryDirectory(
            prefix="scratch-", dir=cache, ignore_cleanup_errors=True
        ) as scratch:
            for name, way in {"download": download, "build": build}.items():
                root, work = Path(scratch, name), Path(scratch, "work")
                work.mkdir(exist_ok=True)
                try:
                    way(root, work, log, report)
                    reason = problem(root / "bin")
                except (EngineError, OSError, subprocess.SubprocessError) as error:
                    reason = str(error)
                if reason is None:
                    if engine.exists():
                        engine.rename(Path(scratch, "broken"))
                    root.rename(engine)
                    return engine / "bin"
                tried.append(f"{name}: {reason}")
                report(f"{name} not possible: {reason.splitlines()[-1].strip()}")
        raise EngineError(explain(tried))


def download(root: Path, work: Path, log: Path, report: Report) -> None:
    """Pulumi's own download, into root/bin."""
    command = [sys.executable, "-P", str(OFFICIAL_DOWNLOAD), str(root), dotted(VERSION)]
    with step(report, f"downloading Pulumi {dotted(VERSION)}"):
        run(command, log, deadline_seconds=DOWNLOAD_SECONDS, directory=work)


@contextmanager
def exclusive(lock: Path, report: Report) -> Iterator[None]:
    """Hold a lock that the system releases when this process ends, however it ends."""
    # Does not exist on Windows, where ensure() has stopped before.
    import fcntl

    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step(report, "waiting for another process that is getting the engine"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
