"""Phase sharedFolder: the dataset directory of all nodes, proven to be mounted and to be this cluster's."""

from __future__ import annotations

import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

from agent import limits, systemd
from agent.commands import TIMED_OUT, Completed, run
from agent.compose import Compose
from agent.disks import DATA, POSTGRES_FOLDERS, bind_postgres_folders
from agent.failures import Failure
from agent.node import UNITS, Node, write_private

MARKER = ".graphistry-cluster.json"
FOLDERS = ("uploads", "files", "datasets")
BOUND_SECONDS = 15
"""For one operation in the folder: a dead file server hangs whoever touches it."""
PORT = 2049
HELPER = Path("/sbin/mount.efs")
INSTALLER = "https://amazon-efs-utils.aws.com/efs-utils-installer.sh"


def shared_folder(node: Node) -> None:
    """Mount the shared folder, claim or recognize it, and make what belongs into it."""
    _helper()
    _mount(node)
    _mark(node)
    probe(node)
    if node.specification.is_leader:
        _folders(node)
        bind_postgres_folders(node)
    _order_docker(node)


def is_mounted(node: Node) -> bool:
    """Whether something of a network is mounted at the folder; the folder below it does not count."""
    return systemd.mounted(node.specification.shared_folder) is not None


def remount(node: Node) -> None:
    """Mount the folder anew where it is lost or dead; raises Failure while that does not help."""
    path = node.specification.shared_folder
    if is_mounted(node):
        # Lazy: a dead mount is busy, and everything mounted below goes with it.
        run(["umount", "-l", path], seconds=30)
        run(["systemctl", "stop", systemd.mount_unit(path)], seconds=30)
    for address in _addresses(node):
        done = _attempt(node, address)
        if is_mounted(node):
            break
    else:
        raise Failure(
            "SharedFolderUnmounted", f"{path} cannot be mounted", systemd.mount_log(path, done)
        )
    probe(node)
    if node.specification.is_leader:
        bind_postgres_folders(node)


def holders(node: Node, services: dict[str, Any]) -> dict[str, str | None]:
    """The services that hold the folder or a part of it, each with where it sees the whole.

    PostgreSQL holds the data volume, which lies over the folder and is alive when that is not.
    """
    path = node.specification.shared_folder
    own = tuple(f"{path}/{name}" for name in POSTGRES_FOLDERS)
    found: dict[str, str | None] = {}
    for name, service in services.items():
        for volume in service.get("volumes") or []:
            source = str(volume.get("source", "")).rstrip("/")
            if f"{source}/".startswith(f"{path}/") and not source.startswith(own):
                found.setdefault(name, None)
                if source == path:
                    found[name] = str(volume["target"])
    return found


def is_held(compose: Compose, service: str, target: str) -> bool:
    """Whether a service sees the shared folder at *target*; True where it cannot be asked.

    A container keeps the folder that it was started with: the bare one where Docker started it before the mount, or
    one whose mount is dead.
    """
    script = f'[ -e "{target}/{MARKER}" ] || echo missing'
    done = compose.execute(service, ["sh", "-c", script], seconds=BOUND_SECONDS)
    return done.status != TIMED_OUT and "missing" not in done.output.split()


def server_answers(node: Node) -> bool:
    """Whether a mount target of the file system takes connections."""
    specification = node.specification
    hosts = [host_name(node), *specification.mount_targets.values()]
    for host in hosts:
        try:
            socket.create_connection((host, PORT), timeout=3).close()
        except OSError:
            continue
        return True
    return False


def probe(node: Node) -> None:
    """Prove that the folder is mounted, this cluster's and writable; raises Failure, after 15 s at most each."""
    path = node.specification.shared_folder
    if not is_mounted(node):
        raise Failure("SharedFolderUnmounted", f"nothing is mounted at {path}")
    _recognize(node, _read_marker(node))
    file = f"{path}/.graphistry-cluster-probe-{node.specification.node}"
    written = run(
        ["dd", "if=/dev/urandom", f"of={file}", "bs=4096", "count=1", "conv=fsync"],
        seconds=BOUND_SECONDS,
    )
    if written.succeeded:
        run(["rm", "-f", file], seconds=BOUND_SECONDS)
        return
    tail = written.tail()
    if any("No space left" in line or "quota exceeded" in line for line in tail) or _is_full(path):
        run(["rm", "-f", file], seconds=BOUND_SECONDS)
        raise Failure("SharedFolderFull", f"{path} takes no more data", tail)
    if any("Read-only" in line or "denied" in line for line in tail):
        raise Failure("SharedFolderReadOnly", f"{path} cannot be written", tail)
    raise Failure("SharedFolderUnmounted", f"{path} does not answer", tail)


def _is_full(path: str) -> bool:
    """Whether the file system says that it has no room; not every kind says why it does not write."""
    done = run(["stat", "-f", "-c", "%a", path], seconds=BOUND_SECONDS)
    return done.output.strip() == "0"


def _helper() -> None:
    if HELPER.exists():
        return
    if shutil.which("dnf"):
        done = run(["dnf", "install", "-y", "-q", "amazon-efs-utils"], seconds=600)
    else:
        script = f"curl -fsS --retry 3 {INSTALLER} | sh -s -- --install"
        done = run(["sh", "-c", script], seconds=900)
    if not HELPER.exists():
        raise Failure("EfsUtilsMissing", "amazon-efs-utils cannot be installed", done.tail())


def _mount(node: Node) -> None:
    """Patiently: a new mount target's name takes minutes to be known, and its role a minute."""
    path = node.specification.shared_folder
    if is_mounted(node):
        return
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    _shut(folder)
    end = time.monotonic() + limits.PATIENCE
    pause = 1.0
    while True:
        for address in _addresses(node):
            done = _attempt(node, address)
            if is_mounted(node):
                return
        if time.monotonic() + pause > end:
            raise Failure(
                "SharedFolderUnmounted",
                f"{node.specification.file_system} could not be mounted at {path}"
                f" within {limits.PATIENCE:g} s",
                systemd.mount_log(path, done),
            )
        print(f"waiting: {path} cannot be mounted: {' '.join(done.tail()[-1:])}", flush=True)
        time.sleep(pause)
        pause = min(pause * 2, 15.0)


def _addresses(node: Node) -> list[str | None]:
    """What to try: the name where it is known already (None), else the zone's own address, then the others."""
    specification = node.specification
    if is_known(host_name(node)):
        return [None]
    targets = dict(specification.mount_targets)
    own = targets.pop(node.instance["zone"], None)
    return [*([own] if own else []), *targets.values()] or [None]


def host_name(node: Node) -> str:
    """The file system's name, which leads to the mount target of the machine's own zone."""
    specification = node.specification
    return f"{specification.file_system}.efs.{specification.region}.amazonaws.com"


def is_known(name: str) -> bool:
    """Whether the resolver knows a host's name."""
    try:
        return bool(socket.getaddrinfo(name, PORT))
    except OSError:
        return False


def _attempt(node: Node, address: str | None) -> Completed:
    options = "_netdev,tls,iam" + (f",mounttargetip={address}" if address else "")
    specification = node.specification
    return systemd.mount(
        specification.shared_folder,
        f"{specification.file_system}:/",
        "efs",
        options,
        "remote-fs.target",
        "Wants=network-online.target\nAfter=network-online.target",
    )


def _shut(folder: Path) -> None:
    """Nothing may ever be written where the shared folder is not mounted, not even by Docker as root."""
    folder.chmod(0)
    run(["chattr", "+i", str(folder)])


def read_file(node: Node, name: str) -> str | None:
    """The text of a file in the folder; None where there is none, or one whose writing was cut off."""
    path = node.specification.shared_folder
    done = run(["cat", f"{path}/{name}"], seconds=BOUND_SECONDS)
    if done.succeeded:
        return done.output if done.output.strip() else None
    if "No such file" in done.errors:
        return None
    raise Failure("SharedFolderUnmounted", f"{path} does not answer", done.tail())


def create_file(node: Node, name: str, text: str) -> None:
    """Write a new file into the folder, or one that was left empty; never over another's content."""
    file = f"{node.specification.shared_folder}/{name}"
    script = f'[ -s "{file}" ] || rm -f "{file}"; set -C; cat > "{file}"'
    done = run(["sh", "-c", script], text=text, seconds=BOUND_SECONDS)
    if done.succeeded or "exist" in done.errors:
        return
    code = "SharedFolderFull" if "No space left" in done.errors else "SharedFolderReadOnly"
    raise Failure(code, f"{file} cannot be written", done.tail())


def _read_marker(node: Node) -> dict[str, Any] | None:
    """The marker; None where there is none, or one whose writing was cut off."""
    text = read_file(node, MARKER)
    if text is None:
        return None
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    except ValueError:
        pass
    raise Failure(
        "SharedFolderForeign",
        f"{node.specification.shared_folder}/{MARKER} is not one of this program's",
    )


def _recognize(node: Node, marker: dict[str, Any] | None) -> None:
    specification = node.specification
    if marker is None:
        raise Failure(
            "SharedFolderUnclaimed", f"{specification.shared_folder}/{MARKER} is not there"
        )
    if marker.get("cluster") != specification.cluster:
        raise Failure(
            "SharedFolderForeign",
            f"the shared folder belongs to cluster {marker.get('cluster')},"
            f" this node to {specification.cluster}; it was not touched",
        )
    if marker.get("secret") != specification.secret:
        raise Failure(
            "SharedFolderForeign",
            f"the shared folder was made with secret {marker.get('secret')},"
            f" this node has {specification.secret}",
        )


def _mark(node: Node) -> None:
    """The leader marks a folder that has no marker; a follower waits for that."""
    specification = node.specification
    end = time.monotonic() + limits.PATIENCE
    while _read_marker(node) is None:
        if specification.is_leader:
            marker = {"cluster": specification.cluster, "secret": specification.secret}
            create_file(node, MARKER, json.dumps(marker))
            continue
        if time.monotonic() > end:
            raise Failure(
                "SharedFolderUnclaimed",
                f"the leader has not marked the shared folder within {limits.PATIENCE:g} s",
            )
        print("waiting: the leader has not marked the shared folder yet", flush=True)
        time.sleep(2)
    _recognize(node, _read_marker(node))


def _folders(node: Node) -> None:
    """Open to the services' users like the vendor's example, yet sticky; one that is there keeps its mode."""
    for name in FOLDERS:
        folder = f"{node.specification.shared_folder}/{name}"
        script = f'[ -d "{folder}" ] || mkdir -m 1777 "{folder}"'
        done = run(["sh", "-c", script], seconds=BOUND_SECONDS)
        if not done.succeeded:
            raise Failure("SharedFolderReadOnly", f"{folder} cannot be made", done.tail())


def _order_docker(node: Node) -> None:
    """Docker restarts containers at boot by itself: not before their folders are mounted."""
    path = node.specification.shared_folder
    paths = [path]
    if node.specification.is_leader:
        paths += [DATA, *(f"{path}/{name}" for name in POSTGRES_FOLDERS)]
    units = " ".join(systemd.mount_unit(path) for path in paths)
    changed = write_private(
        UNITS / "docker.service.d" / "graphistry-cluster.conf", f"[Unit]\nAfter={units}\n", 0o644
    )
    if changed:
        run(["systemctl", "daemon-reload"])
