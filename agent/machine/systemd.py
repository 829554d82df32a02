"""Units of systemd that the agent writes."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

from agent.machine.commands import Completed, require, run
from agent.machine.files import write_private
from agent.node import UNITS

_PLAIN = set(string.ascii_letters + string.digits + ":_.")

TABLE = Path("/proc/self/mountinfo")
CLOSED = ("nosuid", "nodev")
"""Options of every mount below: others write to it, and must not become root here by a program or a device there."""
AFTER_NETWORK = "Wants=network-online.target\nAfter=network-online.target"
"""Lines of a unit that needs other machines."""


def mount_unit(path: str) -> str:
    """The name that systemd wants for the mount unit of *path*."""
    escaped = []
    for part in path.strip("/").split("/"):
        letters = [each if each in _PLAIN else f"\\x{ord(each):02x}" for each in part]
        escaped.append("".join(letters))
    return "-".join(escaped) + ".mount"


def write_unit(name: str, text: str) -> bool:
    """Write a unit file and tell systemd; True where that changed it.

    Otherwise systemd is left alone: a reload may take the GPUs from running containers (nvidia-container-toolkit, issue
    48).
    """
    changed = write_private(UNITS / name, text, 0o644)
    words = ["systemctl", "show", "--property=NeedDaemonReload", "--value", name]
    if changed or run(words).output.strip() == "yes":
        require("AgentInstallFailed", "systemd does not reload", ["systemctl", "daemon-reload"])
    return changed


def enable(unit: str) -> None:
    """Let a unit start at every boot, without the reload that enabling else brings."""
    run(["systemctl", "enable", "--no-reload", unit])


def disable(unit: str) -> None:
    """Let a unit no longer start at a boot; one that runs goes on."""
    run(["systemctl", "disable", unit])


def mount(
    path: str, what: str, kind: str, options: str, wanted_by: str, after: str = ""
) -> Completed:
    """Mount *what* at *path* now and at every boot, closed to set-user-ID programs and devices; the result of the
    attempt."""
    text = f"""# {"graphistry-cluster"}
[Unit]
Description=Graphistry cluster: {path}
{after}
[Mount]
What={what}
Where={path}
Type={kind}
Options={",".join((options, *CLOSED))}
TimeoutSec=60

[Install]
WantedBy={wanted_by}
"""
    unit = mount_unit(path)
    write_unit(unit, text)
    enable(unit)
    run(["systemctl", "reset-failed", unit])
    return run(["systemctl", "start", unit], seconds=90)


def close(path: str) -> None:
    """Close a mount of ours that is there, and has been since before the agent closed them: now, and at every boot.

    Nothing is unmounted, and nobody is disturbed. What a container has of the mount stays as it was when it began.
    """
    file = UNITS / mount_unit(path)
    if file.exists():
        lines = file.read_text().splitlines()
        closed = [_closed(line) if line.startswith("Options=") else line for line in lines]
        write_unit(file.name, "\n".join(closed) + "\n")
    found = mount_at(path)
    if found is not None and open_to(found):
        # `bind` is for this mount alone, whatever else the file system is mounted at; a helper would ask its server.
        options = ",".join(("remount", "bind", *CLOSED))
        run(["mount", "--internal-only", "-o", options, path], seconds=30)


def _closed(line: str) -> str:
    """A unit's line of options with those that close it."""
    present = line[len("Options=") :].split(",")
    return ",".join([line, *(each for each in CLOSED if each not in present)])


def open_to(mount: Mount) -> list[str]:
    """Which of the options that close a mount this one lacks."""
    return [each for each in CLOSED if each not in mount.options]


def mount_log(path: str, done: Completed) -> list[str]:
    """The last lines about an attempt to mount *path*; `systemctl start` itself does not say why it failed."""
    unit = mount_unit(path)
    log = run(["journalctl", "-u", unit, "-n", "10", "--no-pager", "-o", "cat"]).output
    return [*done.tail(), *log.splitlines()][-20:]


def unmount(path: str) -> None:
    """Take away a mount of ours, also one that is dead or in use; everything mounted below goes with it."""
    run(["umount", "-l", path], seconds=30)
    run(["systemctl", "stop", mount_unit(path)], seconds=30)


def source(path: str) -> str | None:
    """What our unit mounts at *path*; None where there is no such unit."""
    try:
        lines = (UNITS / mount_unit(path)).read_text().splitlines()
    except OSError:
        return None
    return next((line[len("What=") :] for line in lines if line.startswith("What=")), None)


@dataclass(frozen=True)
class Mount:
    """One line of the mount table."""

    path: str
    kind: str
    device: str
    """MAJOR:MINOR, as /sys/dev/block has it."""
    source: str
    options: tuple[str, ...]
    """Of this mount, not of the file system."""
    root: str = "/"
    """What of the file system is mounted: a folder, for a bind."""


def mounted(path: str, table: Path = TABLE) -> str | None:
    """The type of the file system that is mounted exactly at *path*; None where none is. Never hangs."""
    found = mount_at(path, table)
    return found.kind if found else None


def mount_at(path: str, table: Path = TABLE) -> Mount | None:
    """What is mounted exactly at *path*. Never hangs."""
    return {each.path: each for each in mounts(table)}.get(path)


def mount_of(path: str, table: Path = TABLE) -> tuple[str, str]:
    """The mount point that *path* is on, and its type. Never hangs."""
    found = ("/", "")
    for each in mounts(table):
        inside = f"{path}/".startswith(f"{each.path.rstrip('/')}/")
        if inside and len(each.path) >= len(found[0]):
            found = (each.path, each.kind)
    return found


def mounts(table: Path) -> list[Mount]:
    """All mounts; of those at one place, the last lies over the others."""
    found = []
    for line in table.read_text().splitlines():
        left, _, right = line.partition(" - ")
        words, (kind, source) = left.split(), right.split()[:2]
        root, path = (each.encode().decode("unicode_escape") for each in words[3:5])
        found.append(Mount(path, kind, words[2], source, tuple(words[5].split(",")), root))
    return found
