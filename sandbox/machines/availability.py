"""Whether machines can boot on this computer, and what they need; decided once per sandbox."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import image
from .commands import MachineError
from .image import Say

RECORDED = "machines are recorded and do not boot"


@dataclass(frozen=True)
class Machines:
    """What a sandbox needs to boot machines."""

    archive: Path
    """Of the image's base."""


def prepare(say: Say) -> Machines | None:
    """Install and build what machines need; None where they are only recorded, which is said.

    Takes a moment where everything is there, else 1 to 3 minutes. Progress goes to `say`, also from
    another thread.
    """
    if os.environ.get("SANDBOX_MACHINES") == "off":
        return None
    if reason := impossible():
        say(f"{RECORDED}: {reason}")
        return None
    try:
        if missing := image.missing_programs():
            image.install(sorted(set(missing.values())), say)
        if missing := image.missing_programs():
            raise MachineError(f"still missing after the installation: {', '.join(missing)}")
        return Machines(image.build_base(say))
    except (MachineError, OSError) as error:
        say(f"{RECORDED}: {error}")
        return None


def impossible() -> str | None:
    """Why machines cannot boot here, and what would help; None where they can."""
    if not hasattr(os, "geteuid") or not Path("/proc/self/ns/net").exists():
        return "they need Linux, or a Docker that answers you (docker version)"
    if os.geteuid():
        return (
            "they need root, for networks and disks of their own, or a Docker that answers you (docker version) and"
            " lets you run privileged containers: start one, or run as root (sudo -E make up)"
        )
    if shutil.which("apt-get") is None and image.missing_programs():
        missing = ", ".join(image.missing_programs())
        return f"this is no Debian or Ubuntu, and these programs are missing: {missing}"
    if not image.works(["unshare", "--net", "--mount", "true"]):
        return "this root may make no namespaces (a container?): run it in a virtual machine"
    return None
