"""What counts as a working engine, and where one may already be.

An engine is a directory that holds `pulumi`, beside which (or on PATH) is the Python language host.
It counts only after both have been run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

VERSION = (3, 259, 0)
"""The oldest CLI accepted, and the one that is downloaded or built."""

START_SECONDS = 60
"""Bound on `pulumi version`, which takes 0.2 s on an idle machine."""

LANGUAGE_HOST = "pulumi-language-python"


class EngineError(Exception):
    """There is no engine; the message says what was tried, what failed and what to install."""


def dotted(version: tuple[int, ...]) -> str:
    """(3, 259, 0) as "3.259.0"."""
    return ".".join(map(str, version))


def parse_version(text: str) -> tuple[int, ...]:
    """The first a.b or a.b.c in a text as integers; empty, so older than any, if there is none."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in match.groups()) if match else ()


def cached_engine() -> Path:
    """Where an engine that was downloaded or built is, or would be: per user and version."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute()
    return cache / "graphistry-cluster" / f"pulumi-{dotted(VERSION)}" / "bin"


def output_of(*command: str) -> str:
    """What a quick command prints; OSError or SubprocessError if it fails or hangs."""
    return subprocess.run(
        command,
        env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1", "GOTOOLCHAIN": "local"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=START_SECONDS,
        check=True,
    ).stdout


def problem(directory: Path) -> str | None:
    """Why the engine in a directory cannot be used; None if it works."""
    pulumi = shutil.which("pulumi", path=str(directory))
    if pulumi is None:
        return "no pulumi in it"
    host = shutil.which(LANGUAGE_HOST, path=str(directory)) or shutil.which(LANGUAGE_HOST)
    try:
        version = parse_version(output_of(pulumi, "version"))
        if version < VERSION:
            got = dotted(version) or "a version that cannot be read"
            return f"pulumi is {got}; needed: {dotted(VERSION)} or later"
        if host is None:
            return f"{LANGUAGE_HOST} is neither beside pulumi nor on PATH"
        output_of(host, "-help")
    except (OSError, subprocess.SubprocessError) as error:
        return f"it does not run: {error}"
    # The host looks for this script beside the file that a symbolic link leads to.
    if not (Path(host).resolve().parent / f"{LANGUAGE_HOST}-exec").exists():
        return f"{LANGUAGE_HOST}-exec is missing beside {host}"
    return None


def find() -> tuple[Path | None, list[str]]:
    """The first directory with a working engine, and why each one before it was refused.

    Looks at every directory of PATH, then ~/.pulumi/bin, then the cache; takes well under a second.
    """
    on_path = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    refused: list[str] = []
    for directory in [*on_path, Path.home() / ".pulumi" / "bin", cached_engine()]:
        if shutil.which("pulumi", path=str(directory)) is None:
            continue
        reason = problem(directory)
        if reason is None:
            return directory.absolute(), refused
        refused.append(f"{directory}: {reason}")
    return None, refused or ["no pulumi on PATH, in ~/.pulumi/bin or in the cache"]
