"""The files of the agent's own in the shared folder: markers by which every node knows whose it is.

How root reads and writes where others do too is in `inside`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import posixpath
import time
from typing import Any, Sequence

from agent import limits
from agent.failures import Failure
from agent.folders import inside
from agent.folders.inside import Folder
from agent.machine import systemd
from agent.node import Node
from agent.specification import MountedPath, Specification

MARKER = ".graphistry-cluster.json"
FOLDERS = ("uploads", "files", "datasets")
PROBE = ".graphistry-cluster-probe"
CODES = {
    errno.ENOSPC: "SharedFolderFull",
    errno.EDQUOT: "SharedFolderFull",
    errno.EROFS: "SharedFolderReadOnly",
    errno.EACCES: "SharedFolderReadOnly",
    errno.EPERM: "SharedFolderReadOnly",
    errno.ELOOP: "SharedFolderUnsafe",
    errno.ENOTDIR: "SharedFolderUnsafe",
    errno.EISDIR: "SharedFolderUnsafe",
}
"""What the system says of a file or folder in the shared one; of anything else, that the folder does not answer."""


def place(specification: Specification) -> Folder:
    """The shared folder, on the mount that is ours or somebody else's."""
    share = specification.share
    if not isinstance(share, MountedPath):
        return Folder(share.path)
    mount, _ = systemd.mount_of(share.path)
    return Folder(mount, share.path[len(mount) :].strip("/"))


def read_file(node: Node, name: str) -> str | None:
    """The text of a file in the folder; None where there is none, or one whose writing was cut off."""
    try:
        text = inside.read(place(node.specification), name)
    except OSError as error:
        raise failure(node, "cannot be read", error) from error
    return text if text and text.strip() else None


def create_file(node: Node, name: str, text: str) -> None:
    """Write a new file into the folder, or one that was left empty; never over another's content."""
    try:
        inside.create(place(node.specification), name, text)
    except OSError as error:
        raise failure(node, "cannot be written", error, "SharedFolderReadOnly") from error


def probe(node: Node, folders: Sequence[str]) -> None:
    """Write to the folder, and see that *folders*, which services mount, are no links. Raises Failure."""
    try:
        inside.probe(place(node.specification), _probes(node), folders)
    except OSError as error:
        raise failure(node, "cannot be written", error) from error


def forget_probes(node: Node) -> None:
    """Take away what this node's ended probes have left, also those of agents before, whose name everybody knew.

    A folder that does not answer, or has too much in it, stays as it is: nothing needs this.
    """
    prefixes = (_probes(node), f"{PROBE}-{node.specification.node}")
    with contextlib.suppress(OSError):
        inside.forget_probes(place(node.specification), prefixes)


def failure(
    node: Node, what: str, error: OSError, otherwise: str = "SharedFolderUnmounted"
) -> Failure:
    """What the system says of the folder, or of a file in it, as a Failure."""
    path = node.specification.shared_folder
    code = CODES.get(error.errno or 0, otherwise)
    file = posixpath.join(path, error.filename or "")
    said = [f"{file}: {error.strerror}"]
    if code == "SharedFolderFull":
        return Failure(code, f"{path} takes no more data", said)
    if code == "SharedFolderUnsafe":
        return Failure(
            code,
            f"{file} is a link, or another kind of file than the agent makes there; it was not touched",
            said,
        )
    if code == "SharedFolderReadOnly":
        return Failure(code, f"{file} {what}", said)
    return Failure(code, f"{path} does not answer", said)


def claim(node: Node) -> None:
    """The leader marks a folder that has no marker; a follower waits for that. Raises Failure for another's marker."""
    specification = node.specification
    end = time.monotonic() + limits.PATIENCE
    while _read_marker(node) is None:
        if specification.is_leader:
            marker = {"cluster": specification.cluster, "secret": specification.secret}
            create_file(node, MARKER, json.dumps(marker))
            if _read_marker(node) is not None:
                break
        if time.monotonic() > end:
            raise Failure(
                "SharedFolderUnclaimed",
                f"the leader has not marked the shared folder within {limits.PATIENCE:g} s",
            )
        print("waiting: the leader has not marked the shared folder yet", flush=True)
        time.sleep(2)
    recognize(node)


def recognize(node: Node) -> None:
    """Raises Failure unless the folder's marker is this cluster's."""
    specification = node.specification
    marker = _read_marker(node)
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
    # A follower reads another secret than the one that the leader has marked the folder with.
    if specification.is_leader and marker.get("secret") != specification.secret:
        raise Failure(
            "SharedFolderForeign",
            f"the shared folder was made with secret {marker.get('secret')},"
            f" this node has {specification.secret}",
        )


def make_folders(node: Node) -> None:
    """Open to the services' users like the vendor's example; one that is there keeps its mode, unless that is sticky.

    What one service writes, another deletes: in a sticky folder, as agents before have made it, only root could.
    """
    try:
        inside.make_folders(place(node.specification), FOLDERS, 0o777)
    except OSError as error:
        raise failure(node, "cannot be made", error, "SharedFolderReadOnly") from error


def make_guarded(node: Node, name: str, guard: str) -> None:
    """Have a folder with a file in it. Raises Failure."""
    try:
        inside.make_guarded(place(node.specification), name, guard)
    except OSError as error:
        raise failure(node, "cannot be made", error, "SharedFolderReadOnly") from error


def _probes(node: Node) -> str:
    """How the names of this node's probes begin: no node's name has a dot."""
    return f"{PROBE}.{node.specification.node}."


def _read_marker(node: Node) -> dict[str, Any] | None:
    """The marker; None where there is none, or one whose writing was cut off."""
    text = read_file(node, MARKER)
    if text is None:
        return None
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    except (ValueError, RecursionError):
        pass
    raise Failure(
        "SharedFolderForeign",
        f"{node.specification.shared_folder}/{MARKER} is not one of this program's",
    )
