"""Whether machines can boot on this computer, and what they need; decided once per sandbox."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..release.base_image import base_image
from ..user_cache import Say
from . import image
from .commands import MachineError

RECORDED = "machines are recorded and do not boot"
CAPABILITIES = {"NET_ADMIN": 12, "SYS_PTRACE": 19, "SYS_ADMIN": 21}
"""What a machine's own Docker needs beyond what a container has anyway, with its number in capabilities(7)."""


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
        base_image(say)
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
            " lets you run privileged containers: start one, or run as root (sudo -E ./cluster up)"
        )
    if shutil.which("apt-get") is None and image.missing_programs():
        missing = ", ".join(image.missing_programs())
        return f"this is no Debian or Ubuntu, and these programs are missing: {missing}"
    if not image.works(["unshare", "--net", "--mount", "true"]):
        return "this root may make no namespaces (a container?): run it in a virtual machine"
    own = capability_bound()
    if lacking := [name for name, number in CAPABILITIES.items() if not own >> number & 1]:
        return f"their Docker needs what this root lacks ({', '.join(lacking)}): run it in a virtual machine"
    if not Path("/dev/loop-control").exists():
        return "this computer has no loop devices, which are the machines' disks: modprobe loop"
    return None


def capability_bound() -> int:
    """The capabilities that this process can give at most, as the kernel's bits."""
    return int(Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0], 16)
