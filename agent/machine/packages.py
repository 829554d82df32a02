"""Packages of the machine's own distribution, installed where one is missing."""

from __future__ import annotations

import shutil

from agent.machine.commands import Completed, run

SECONDS = 600
"""A distribution's mirror may be slow, or its package manager busy with updates of its own."""


def install(debian: str, red_hat: str | None = None) -> Completed:
    """Install a package by the name that it has in this distribution; what the package manager said."""
    if shutil.which("dnf"):
        return run(["dnf", "install", "-y", "-q", red_hat or debian], seconds=SECONDS)
    # Updates of the system's own hold the lock for minutes after a boot.
    options = "-q -y -o DPkg::Lock::Timeout=300"
    script = f"apt-get update -q; DEBIAN_FRONTEND=noninteractive apt-get install {options} {debian}"
    return run(["sh", "-c", script], seconds=SECONDS)
