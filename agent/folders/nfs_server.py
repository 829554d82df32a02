"""The shared folder on the leader's own disk: mounted there by a bind, exported to each follower by name.

Exported is a folder that holds the data sets, and what users make on each node; PostgreSQL's folders lie over the bind
alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from agent.failures import Failure
from agent.machine import packages, systemd
from agent.machine.commands import Completed, run
from agent.machine.files import write_private
from agent.node import MARK, Node
from agent.sites import guests
from agent.sites.store import STORE
from agent.specification import NfsOnLeader

EXPORTS = Path("/etc/exports.d/graphistry-cluster.exports")
EXPORTED = Path("/var/lib/nfs/etab")
"""What the kernel's server was told last; a server of another kind has no such file."""
UNIT_NAME = "nfs-server.service"
OPTIONS = "rw,sync,no_subtree_check,no_root_squash"
"""no_root_squash, as the vendor documents: services of the release write to the folder as root and as other users,
and a root that became nobody could neither read nor remove what they leave. sync: what a client was told is stored
is on the disk. Clients are named one by one, and mount without set-user-ID programs and devices."""


def mount(share: NfsOnLeader) -> Completed:
    """Bind the folder to where every node sees it."""
    folder = Path(share.folder)
    folder.mkdir(parents=True, exist_ok=True)
    close(share)
    # private: what is mounted below the bind must not appear in the exported folder too.
    tied = f"RequiresMountsFor={folder}"
    return systemd.mount(share.path, str(folder), "none", "bind,private", "multi-user.target", tied)


def close(share: NfsOnLeader) -> None:
    """Close the exported folder itself to set-user-ID programs and devices, which root of a follower may leave in it:
    users of the leader reach it here too. A bind of the folder over itself; where it cannot be, the report warns."""
    if systemd.mounted(share.folder) is None:
        systemd.mount(share.folder, share.folder, "none", "bind,private", "multi-user.target")


def export(node: Node, share: NfsOnLeader) -> None:
    """Let the clients mount the folder, and nobody else. Raises Failure NfsServerUnavailable."""
    text = wanted(share)
    if not text:
        withdraw()
        return
    if not shutil.which("exportfs"):
        done = packages.install("nfs-kernel-server", "nfs-utils")
        if not shutil.which("exportfs"):
            raise Failure("NfsServerUnavailable", "the NFS server cannot be installed", done.tail())
    _open_way(Path(share.folder))
    write_private(EXPORTS, text, 0o644)
    systemd.enable(UNIT_NAME)
    started = run(["systemctl", "start", UNIT_NAME], seconds=90)
    if not started.succeeded:
        raise Failure("NfsServerUnavailable", f"{UNIT_NAME} does not start", started.tail())
    exported = run(["exportfs", "-ra"])
    problem = None if exported.succeeded else "exportfs -ra has failed"
    problem = problem or _unexported(share)
    if problem:
        raise Failure("NfsServerUnavailable", problem, exported.tail())


def withdraw() -> None:
    """Let nobody mount the folder any more; the server goes on for what else it may export."""
    if EXPORTS.exists():
        EXPORTS.unlink()
        run(["exportfs", "-ra"])


def problem(share: NfsOnLeader) -> Failure | None:
    """What is no longer as `export` left it."""
    text = wanted(share)
    present = EXPORTS.read_text() if EXPORTS.exists() else ""
    if present != text:
        return Failure("ExportsChanged", f"{EXPORTS} is not as the agent wrote it")
    if not text:
        return None
    if run(["systemctl", "is-active", UNIT_NAME]).output.strip() != "active":
        return Failure("NfsServerUnavailable", f"{UNIT_NAME} is not active")
    missing = _unexported(share)
    return Failure("ExportsChanged", missing) if missing else None


def clients(share: NfsOnLeader) -> list[str]:
    """Who may mount the folder: this stack's followers, and those of others, by the addresses from which they come."""
    found = {*share.clients, *guests.addresses()}
    return sorted(share.tunnel.inside(each) if share.tunnel else each for each in found)


def wanted(share: NfsOnLeader) -> str:
    """The file of exports; empty where there is no client."""
    entries = " ".join(f"{client}({OPTIONS})" for client in clients(share))
    return f"# {MARK} writes this file.\n{share.folder} {entries}\n" if entries else ""


def _unexported(share: NfsOnLeader) -> str | None:
    """Whom the server has forgotten, as after `exportfs -ua`."""
    if not EXPORTED.exists():
        return None
    lines = [line.split() for line in EXPORTED.read_text().splitlines()]
    known = {each[1].partition("(")[0] for each in lines if each[:1] == [share.folder]}
    missing = [client for client in clients(share) if client not in known]
    return f"{share.folder} is not exported to {', '.join(missing)}" if missing else None


def _open_way(folder: Path) -> None:
    """A client walks down from the root as nobody: it must pass through the store, and still can list nothing there."""
    if STORE in folder.parents:
        STORE.chmod(0o711)
    folder.chmod(0o755)
