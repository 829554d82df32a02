"""The files of the agent's own in the shared folder: markers by which every node knows whose it is.

Whatever touches the folder is a command with a bound, for a dead file server hangs whoever waits for it.
"""

from __future__ import annotations

import json
import time
from typing import Any

from agent import limits
from agent.commands import run
from agent.failures import Failure
from agent.node import Node

MARKER = ".graphistry-cluster.json"
FOLDERS = ("uploads", "files", "datasets")
BOUND_SECONDS = 15


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
    # The words of dash and of bash for a file that another has written meanwhile.
    if done.succeeded or "File exists" in done.errors or "existing file" in done.errors:
        return
    code = "SharedFolderFull" if "No space left" in done.errors else "SharedFolderReadOnly"
    raise Failure(code, f"{file} cannot be written", done.tail())


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
    """Open to the services' users like the vendor's example, yet sticky; one that is there keeps its mode."""
    for name in FOLDERS:
        folder = f"{node.specification.shared_folder}/{name}"
        script = f'[ -d "{folder}" ] || mkdir -m 1777 "{folder}"'
        done = run(["sh", "-c", script], seconds=BOUND_SECONDS)
        if not done.succeeded:
            raise Failure("SharedFolderReadOnly", f"{folder} cannot be made", done.tail())


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
