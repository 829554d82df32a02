"""Phase sharedFolder: the dataset directory of all nodes, proven to be mounted and to be this cluster's.

How it is mounted is in a module for each kind: efs, nfs, nfs_server, mounted_path.
"""

from __future__ import annotations

import contextlib
import posixpath
import time
from pathlib import Path
from typing import Any, Sequence

from agent import (
    limits,
)
from agent.containers import (
    engine,
)
from agent.containers.compose import Compose
from agent.containers.engine import Container, EngineError
from agent.failures import Failure
from agent.folders import (
    efs,
    hidden_folders,
    inside,
    links,
    mounted_path,
    nfs,
    nfs_server,
    shared_files,
)
from agent.folders.inside import BOUND_SECONDS
from agent.folders.mount_errors import REFUSALS, mount_failure
from agent.folders.shared_files import MARKER
from agent.graphistry.release_folder import place
from agent.machine import (
    systemd,
)
from agent.machine.commands import TIMED_OUT, Completed, run
from agent.machine.data_root import POSTGRES_FOLDERS, data_root
from agent.machine.files import opened, write_private
from agent.node import UNITS, Node
from agent.phases.disks import bind_postgres_folders, unbound
from agent.specification import Efs, MountedPath, Nfs, NfsOnLeader

REFUSED_SECONDS = 120.0
"""For EFS that refuses: a new role or policy is known everywhere after a minute. An NFS server may be a leader that
still has to export the folder."""


def shared_folder(node: Node) -> None:
    """Mount the shared folder, claim or recognize it, make what belongs into it, and let others mount it."""
    share = node.specification.share
    if isinstance(share, Efs):
        efs.require_helper(node, share)
    elif isinstance(share, Nfs):
        nfs.require_client()
    _mount(node)
    _close(node)
    links.close(node)
    if isinstance(share, MountedPath) and node.specification.is_leader:
        try:
            inside.make(shared_files.place(node.specification))
        except OSError as error:
            raise shared_files.failure(node, "cannot be made", error) from error
    shared_files.claim(node)
    shared_files.forget_probes(node)
    probe(node)
    if node.specification.is_leader:
        shared_files.make_folders(node)
    links.close(node)  # what was not there to be pinned before
    if node.specification.runs_data_services:
        bind_postgres_folders(node)
    if isinstance(share, NfsOnLeader):
        nfs_server.export(node, share)
    _order_docker(node)


def is_mounted(node: Node) -> bool:
    """Whether something is mounted at the folder; the bare folder below it does not count."""
    share = node.specification.share
    if isinstance(share, MountedPath):
        return mounted_path.is_mounted(share)
    return systemd.mounted(share.path) is not None


def remount(node: Node) -> None:
    """Mount the folder anew where it is lost or dead; raises Failure while that does not help."""
    share = node.specification.share
    if is_mounted(node) and unbound(node):
        probe(node)
        bind_postgres_folders(node)
        return
    if isinstance(share, Nfs) and is_mounted(node) and not nfs.answers(share.server):
        # The mount goes on by itself when the server is back, and so does everybody who waits in it.
        raise Failure("SharedFolderUnmounted", f"{share.server} does not answer on port {nfs.PORT}")
    if is_mounted(node) and not isinstance(share, MountedPath):
        systemd.unmount(share.path)
    done = _attempt(node)
    if not is_mounted(node):
        log = systemd.mount_log(share.path, done)
        node.mount_refusal = mount_failure(f"{_described(node)} cannot be mounted", log)
        raise node.mount_refusal
    node.mount_refusal = None
    links.close(node)
    probe(node)
    if node.specification.runs_data_services:
        bind_postgres_folders(node)


def server_answers(node: Node) -> bool:
    """Whether the folder's server is at work; False also where nobody can ask it."""
    share = node.specification.share
    if isinstance(share, Efs):
        return efs.server_answers(share)
    return isinstance(share, Nfs) and nfs.answers(share.server)


def holders(node: Node, services: dict[str, Any]) -> dict[str, str | None]:
    """The services that hold the folder or a part of it, each with where it sees the whole.

    PostgreSQL holds the data volume, which lies over the folder and is alive when that is not.
    """
    path = node.specification.shared_folder
    own = tuple(f"{path}/{name}" for name in POSTGRES_FOLDERS)
    found: dict[str, str | None] = {}
    for name, service in services.items():
        for volume in service.get("volumes") or []:
            # Compose leaves `//` in it, as of a variable that ends with a slash.
            source = posixpath.normpath(str(volume.get("source", "")))
            if f"{source}/".startswith(f"{path}/") and not source.startswith(own):
                found.setdefault(name, None)
                if source == path:
                    found[name] = str(volume["target"])
    return found


def no_holder(node: Node) -> str:
    """What is wrong where no service has the whole folder, in words."""
    path = node.specification.shared_folder
    return f"no service mounts {path}: the release does not read LOCAL_DATASET_CACHE_DIR of cluster.env"


def are_held(asked: Sequence[tuple[Container, str]]) -> bool:
    """Whether running containers see the shared folder, each at a place; False also where `is_held` must say of whom.

    One process asks for all, as every look does.
    """
    paths = [_marker(container, target) for container, target in asked]
    return run(["ls", "-d", "--", *paths], seconds=BOUND_SECONDS).succeeded


def _marker(container: Container, target: str) -> str:
    return f"/proc/{container.process}/root{target}/{MARKER}"


def is_held(container: Container, target: str) -> bool:
    """Whether a container sees the shared folder at *target*; True for one that does not run.

    A container keeps the folder that it was started with: the bare one where Docker started it before the mount, or
    one whose mount is dead.
    """
    if not container.process:
        return True
    # In a process of its own, as whoever looks into a dead mount hangs.
    done = run(["test", "-e", _marker(container, target)], seconds=BOUND_SECONDS)
    if done.succeeded or done.status == TIMED_OUT:
        return done.succeeded
    # It may have ended meanwhile, or a link in its image leads elsewhere on this machine: only it itself knows.
    script = f'[ -e "{target}/{MARKER}" ] || echo missing'
    try:
        asked = engine.execute(container.identifier, ["sh", "-c", script], BOUND_SECONDS)
    except EngineError:
        return True
    return asked.status != TIMED_OUT and "missing" not in asked.output.split()


def probe(node: Node) -> None:
    """Prove that the folder is mounted, this cluster's and writable; raises Failure, after 15 s at most each."""
    path = node.specification.shared_folder
    if not is_mounted(node):
        raise node.mount_refusal or Failure(
            "SharedFolderUnmounted", f"nothing is mounted at {path}"
        )
    shared_files.recognize(node)
    shared_files.probe(node, (*shared_files.FOLDERS, *POSTGRES_FOLDERS))


def require_whole(node: Node) -> None:
    """Prove all of `probe`, and that PostgreSQL's folders do not lie open in the folder."""
    probe(node)
    missing = unbound(node)
    if missing:
        raise Failure("SharedFolderUnmounted", f"nothing lies over {', '.join(missing)}")


def _mount(node: Node) -> None:
    """Patiently: a new server takes its time, its name minutes to be known, and a new role a minute."""
    share = node.specification.share
    if is_mounted(node) and not _is_another(node):
        return
    if not isinstance(share, MountedPath):
        if is_mounted(node):
            systemd.unmount(share.path)
        folder = Path(share.path)
        folder.mkdir(parents=True, exist_ok=True)
        _shut(folder)
    begin = time.monotonic()
    pause = 1.0
    while True:
        done = _attempt(node)
        if is_mounted(node):
            return
        if pause == 1.0:
            _end_services(node)
            if not isinstance(share, MountedPath):
                _empty(Path(share.path))
        patience = limits.PATIENCE
        log = systemd.mount_log(share.path, done)
        what = f"{_described(node)} could not be mounted at {share.path}"
        failure = mount_failure(what, log)
        if isinstance(share, Efs) and failure.code in REFUSALS:
            patience = min(patience, REFUSED_SECONDS)
        if time.monotonic() - begin + pause > patience:
            raise mount_failure(f"{what} within {patience:g} s", log)
        print(f"waiting: {share.path} cannot be mounted: {' '.join(done.tail()[-1:])}", flush=True)
        time.sleep(pause)
        pause = min(pause * 2, 15.0)


def _close(node: Node) -> None:
    """Close mounts that an agent has made before it closed them."""
    share = node.specification.share
    if isinstance(share, MountedPath):
        return
    paths = [share.path]
    if isinstance(share, NfsOnLeader):
        nfs_server.close(share)
        paths.append(share.folder)
    if node.specification.runs_data_services:
        paths += [data_root(node.specification), *(f"{share.path}/{n}" for n in POSTGRES_FOLDERS)]
    for path in paths:
        systemd.close(path)


def warnings(node: Node) -> list[str]:
    """The mounts that are open to set-user-ID programs and devices, or ours to links: what could not be closed, or is
    somebody else's."""
    share = node.specification.share
    paths = [systemd.mount_of(share.path)[0] if isinstance(share, MountedPath) else share.path]
    if isinstance(share, NfsOnLeader):
        paths.append(share.folder)
    found = [(path, systemd.mount_at(path)) for path in paths]
    return [
        *links.warnings(share),
        *(
            f"{path} is mounted without {','.join(systemd.open_to(mount))}: root of another node may become root here"
            for path, mount in found
            if mount is not None and systemd.open_to(mount)
        ),
    ]


def _end_services(node: Node) -> None:
    """Docker starts containers at boot by itself: none goes on that began without the folder."""
    try:
        compose = Compose(place(node.specification))
        held = holders(node, compose.services())
        containers = compose.containers()
    except (Failure, OSError):
        return  # no release yet, or none that can be asked
    asked = [(each, held.get(each.service)) for each in containers]
    if any(target and not is_held(each, target) for each, target in asked):
        print("stopping the services, which began without the shared folder", flush=True)
        compose.stop([])


def _attempt(node: Node) -> Completed:
    """Try to mount the folder once."""
    share = node.specification.share
    if isinstance(share, Efs):
        return efs.mount(node, share)
    if isinstance(share, Nfs):
        return nfs.mount(share)
    if isinstance(share, NfsOnLeader):
        return nfs_server.mount(share)
    return mounted_path.wait_for(share)


def _described(node: Node) -> str:
    """What is mounted, as mount(8) names it."""
    share = node.specification.share
    if isinstance(share, Efs):
        return share.file_system
    if isinstance(share, Nfs):
        return f"{share.server}:{share.export}"
    return share.folder if isinstance(share, NfsOnLeader) else "the shared folder"


def _is_another(node: Node) -> bool:
    """Whether another export than the specification's is mounted, as after it has changed."""
    share = node.specification.share
    if not isinstance(share, (Nfs, NfsOnLeader)):
        return False
    return systemd.source(share.path) not in (None, _described(node))


def _shut(folder: Path) -> None:
    """Nothing may ever be written where the shared folder is not mounted, not even by Docker as root."""
    # Not even root changes what is closed already.
    run(["chattr", "-i", str(folder)])
    _empty(folder)
    with opened(folder, "SharedFolderUnsafe") as found:
        found.chmod(0)
    run(["chattr", "+i", str(folder)])


def _empty(folder: Path) -> None:
    """Take away what Docker makes there to hide folders of the shared one, on a file system where nothing is closed."""
    with opened(folder, "SharedFolderUnsafe") as found:
        if found.stat().st_dev != folder.parent.stat().st_dev:
            return  # it is mounted by now, and this is the shared one
        for name in hidden_folders.FOLDERS:
            with contextlib.suppress(OSError):
                (found / name).rmdir()


def open_again(folder: Path) -> None:
    """Give a folder back that `_shut` had closed, and that nothing is mounted at any more; it goes if it is empty."""
    run(["chattr", "-i", str(folder)])
    try:
        _empty(folder)
        with opened(folder, "SharedFolderUnsafe") as found:
            found.chmod(0o755)
        folder.rmdir()
    except OSError as error:
        print(f"{folder} stays: {error.strerror}", flush=True)


def _order_docker(node: Node) -> None:
    """Docker restarts containers at boot by itself: not before their folders are mounted."""
    share = node.specification.share
    path = systemd.mount_of(share.path)[0] if isinstance(share, MountedPath) else share.path
    paths = [path]
    if node.specification.runs_data_services:
        own = f"{share.path}/"
        paths += [data_root(node.specification), *(own + name for name in POSTGRES_FOLDERS)]
    units = " ".join(systemd.mount_unit(path) for path in paths)
    changed = write_private(
        UNITS / "docker.service.d" / "graphistry-cluster.conf", f"[Unit]\nAfter={units}\n", 0o644
    )
    if changed:
        run(["systemctl", "daemon-reload"])
