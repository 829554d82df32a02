"""What users make on a node (notebooks, dashboards, investigations), in the node's own folder of the shared one.

The release keeps it in its `data`, on a disk that goes with the machine. So those folders are bound from
`<shared folder>/nodes/<node>` instead, which the node's next machine takes over once the services of the one before
have ended. All else stays on the machine: caches are slow on a file server, and SQLite's files are not safe there.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import posixpath
import re
import secrets
import stat
import time
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Tuple

from agent import limits
from agent.containers.compose import Compose, has_ended
from agent.containers.engine import Container
from agent.failures import Failure
from agent.folders import inside, shared_files
from agent.folders.inside import Folder
from agent.graphistry.vendor import UNIT_NAME
from agent.machine import systemd
from agent.machine.files import write_private
from agent.node import HOME, Node
from agent.specification import Specification

NODES = "nodes"
"""In the shared folder. Only root enters: containers see what is bound into them, and root of one that has the whole
shared folder sees all."""
MACHINE, NEXT = ".graphistry-cluster-machine.json", ".graphistry-cluster-next.json"
"""In a node's folder: which machine has it, and which one asks that to end its services."""
MADE_BY_USERS = (
    "notebooks",
    "public_views",
    "private_views",
    "investigation",
    "pivot",
    "workbook_cache",
)
"""The folders of `data` that the vendor names as users' (facts: per-node state)."""
LEFT = "left-node-folder.json"
"""On this machine: that it has left the folder to another one, and as what node. As that it asks for it no more."""
KEPT = "node-folder.json"
"""On this machine: what of the release is in the node's folder, for whoever asks before the release is looked at."""
SOME_USER = 1000
COPY_SECONDS = 4 * 3600.0
"""For a copy: some 10 ms a file where each is several questions to a file server, for a million files."""
PAUSE_SECONDS = 1.0

Volume = Dict[str, Any]
"""A volume of a service, as the merged configuration has it."""
Bind = Tuple[str, str, Volume]
"""A service, the name of a folder below the release's `data`, and how the service has it."""


def path(specification: Specification) -> str:
    """Where the node's own folder is seen."""
    return f"{specification.shared_folder}/{NODES}/{specification.folder}"


def take(node: Node, compose: Compose) -> None:
    """Choose the folders of the release that this node has in the shared folder, and have that for this machine alone.

    Raises Failure NodeFolderTaken where another machine goes on to use it.
    """
    found = list(_binds(node, compose.services()))
    kept, node.left_here = [], []
    names = sorted({name for _, name, _ in found})
    if names:
        _make(node)
        _claim(node, compose, names)
    new = [name for name in names if not _has(node, name)]
    gives = not new or _may_give(node)
    for name in names:
        if name not in new or (gives and not _is_linked(node, name)):
            kept.append(name)
            continue
        reason = "a link leads there" if gives else "the file server gives files to no user"
        node.left_here.append(f"data/{name} goes with this machine: {reason}")
    node.kept = tuple(kept)
    write_private(HOME / KEPT, json.dumps({"folder": path(node.specification), "kept": kept}))


def kept(node: Node) -> tuple[str, ...]:
    """The folders of the release that are in the node's folder, as far as this machine knows."""
    if node.kept:
        return node.kept
    try:
        found: dict[str, Any] = json.loads((HOME / KEPT).read_text())
        return tuple(found["kept"]) if found["folder"] == path(node.specification) else ()
    except (OSError, ValueError, LookupError, TypeError):
        return ()


def fill(node: Node, compose: Compose) -> None:
    """Copy what the release has into folders that the node has not had before; one that is there wins, empty or not."""
    for name in node.kept:
        if _has(node, name):
            continue
        _stop(node, compose, [name])
        own, (parent, _, leaf) = _place(node.specification), name.rpartition("/")
        target = Folder(own.mount, posixpath.join(own.below, parent).rstrip("/"))
        print(f"copying data/{name} to {path(node.specification)}", flush=True)
        try:
            inside.make(target)
            source = Folder(str(node.folder), f"data/{name}")
            inside.copy_folder(source, target, leaf, COPY_SECONDS)
        except TimeoutError as error:
            message = f"data/{name} was not copied to {target.mount} within {COPY_SECONDS:g} s"
            raise Failure("ReleaseDataNotCopied", message) from error
        except OSError as error:
            raise shared_files.failure(node, "cannot be copied there", error) from error


def volumes(node: Node, services: Mapping[str, Any]) -> dict[str, list[Volume]]:
    """The services' volumes that are in the node's folder, by service. Docker makes none of them: no service starts
    without."""
    found: dict[str, list[Volume]] = {}
    for service, name, volume in _binds(node, services):
        if name in node.kept:
            bind = {**(volume.get("bind") or {}), "create_host_path": False}
            source = f"{path(node.specification)}/{name}"
            found.setdefault(service, []).append({**volume, "source": source, "bind": bind})
    return found


def hold(node: Node) -> None:
    """Show now and then that this machine is at work. Raises Failure NodeFolderTaken where another one has the folder,
    or asks for it."""
    now = time.monotonic()
    if not node.kept or now - node.machine_shown < limits.SILENT / 6:
        return
    mine, next_one = node.instance["id"], _read(node, NEXT)
    found = _read(node, MACHINE) or {"instance": mine}
    if found["instance"] != mine:
        message = f"{found['instance']} has {path(node.specification)} now"
        raise Failure("NodeFolderTaken", message)
    # One that has asked for longer than it waits is gone: this machine goes on, as where nobody asks any more.
    other = next_one["instance"] if next_one is not None else mine
    if other != mine and _age(node, NEXT) < limits.PATIENCE + limits.SILENT:
        raise Failure("NodeFolderTaken", f"{other} asks for {path(node.specification)}")
    if found.get("ended"):
        systemd.enable(UNIT_NAME)
        with contextlib.suppress(FileNotFoundError):
            (HOME / LEFT).unlink()
    _write(node, MACHINE, {"instance": mine, "shown": secrets.token_hex(4)})
    node.machine_shown = now


def leave(node: Node, compose: Compose) -> str:
    """End the services that use the folder, for the machine that has it or asks for it; what was done in words."""
    write_private(HOME / LEFT, json.dumps({"specification": node.specification.digest}))
    systemd.disable(UNIT_NAME)  # a boot would start them
    _stop(node, compose, list(node.kept))
    found = _read(node, MACHINE)
    if found is not None and found["instance"] == node.instance["id"]:
        _write(node, MACHINE, {**found, "ended": True})
    return "the services that use the node's folder are stopped"


def forget(specification: Specification, machine: str) -> None:
    """Whoever is this node next need not wait for this machine, whose services have ended."""
    place = _place(specification)
    try:
        text = inside.read(place, MACHINE)
        if text and (_parsed(text) or {}).get("instance") == machine:
            inside.remove(place, MACHINE)
    except OSError as error:
        print(f"{place.mount}: {error.strerror}; the node's next machine waits a while", flush=True)


def missing(node: Node, container: Container, volumes: list[Volume]) -> str | None:
    """Where a running container sees another folder than the node's own in the shared one; None where nowhere."""
    if not volumes or not container.process:
        return None
    shared = systemd.mount_at(shared_files.place(node.specification).mount)
    try:
        seen = systemd.mounts(Path(f"/proc/{container.process}/mountinfo"))
    except OSError:
        return None  # it has ended meanwhile
    # Not by where it is mounted, as a link in the image may lead elsewhere. A mount that was lost was another device.
    roots = [each.root for each in seen if shared is None or each.device == shared.device]
    for each in volumes:
        wanted = each["source"][len(node.specification.shared_folder) :]
        if not any(root.endswith(wanted) for root in roots):
            return str(each["target"])
    return None


def _binds(node: Node, services: Mapping[str, Any]) -> Iterator[Bind]:
    """What services have of the release's `data`, by what it is called there, wherever it is bound from by now."""
    data = node.folder / "data"
    roots = {str(data), os.path.realpath(data), path(node.specification)}
    for service, settings in services.items():
        for volume in settings.get("volumes") or []:
            name = _name(str(volume.get("source", "")), roots)
            if volume.get("type") != "bind" or name is None:
                continue
            parts = name.split("/")
            is_configuration = "config" in parts or _is_file(data / name)
            if parts[0] in MADE_BY_USERS and not is_configuration:
                yield service, name, volume


def _name(source: str, roots: set[str]) -> str | None:
    source = posixpath.normpath(source)
    return next((source[len(root) + 1 :] for root in roots if source.startswith(f"{root}/")), None)


def _is_file(local: Path) -> bool:
    try:
        return stat.S_ISREG(local.lstat().st_mode)
    except OSError:
        return False


def _is_linked(node: Node, name: str) -> bool:
    """Whether a link leads to a folder of the release's `data`, or to what is above it there."""
    local = node.folder / "data" / name
    way = [each for each in local.parents if node.folder in each.parents]
    return any(each.is_symlink() for each in [local, *way])


def _place(specification: Specification) -> Folder:
    shared = shared_files.place(specification)
    below = posixpath.join(shared.below, NODES, specification.folder)
    return Folder(shared.mount, below)


def _make(node: Node) -> None:
    shared = shared_files.place(node.specification)
    nodes = Folder(shared.mount, posixpath.join(shared.below, NODES))
    try:
        inside.make_folders(shared, [NODES], 0o700)
        inside.make_folders(nodes, [node.specification.folder], 0o700)
    except OSError as error:
        raise shared_files.failure(node, "cannot be made", error, "SharedFolderReadOnly") from error


def _has(node: Node, name: str) -> bool:
    own = _place(node.specification)
    try:
        return inside.has_folder(Folder(own.mount, f"{own.below}/{name}"))
    except OSError as error:
        raise shared_files.failure(node, "cannot be read", error) from error


def _may_give(node: Node) -> bool:
    try:
        return inside.may_give(_place(node.specification), SOME_USER)
    except OSError as error:
        raise shared_files.failure(
            node, "cannot be written", error, "SharedFolderReadOnly"
        ) from error


def _stop(node: Node, compose: Compose, names: list[str]) -> None:
    """Stop the services that write to folders of these names, or to what is above or below them."""
    services = compose.services()
    users = {
        service
        for service, name, _ in _binds(node, services)
        for each in names
        if f"{name}/".startswith(f"{each}/") or f"{each}/".startswith(f"{name}/")
    }
    running = sorted({each.service for each in compose.containers() if not has_ended(each)} & users)
    if not running:
        return
    done = compose.stop(running)
    if not done.succeeded:
        message = f"{', '.join(running)} cannot be stopped"
        raise Failure("ServicesNotStarted", message, done.tail())


def _claim(node: Node, compose: Compose, names: list[str]) -> None:
    """Have the folder for this machine: once the other one says that its services have ended, or nothing any more.

    Until then no service of this machine uses it, also where a boot has started them.
    """
    mine, has_asked = node.instance["id"], False
    end = time.monotonic() + limits.PATIENCE + limits.SILENT
    while True:
        found = _read(node, MACHINE)
        if found is None or found["instance"] == mine or found.get("ended"):
            break
        if _age(node, MACHINE) >= limits.SILENT:
            print(f"{found['instance']} says nothing any more", flush=True)
            break
        _stop(node, compose, names)
        if not has_asked and not _has_left(node):
            _write(node, NEXT, {"instance": mine})
            has_asked = True
        if time.monotonic() > end:
            message = f"{found['instance']} goes on to use {path(node.specification)}"
            raise Failure("NodeFolderTaken", message)
        print(f"waiting: {found['instance']} has {path(node.specification)}", flush=True)
        time.sleep(PAUSE_SECONDS)
    _write(node, MACHINE, {"instance": mine})
    with contextlib.suppress(FileNotFoundError):
        (HOME / LEFT).unlink()
    try:
        inside.remove(_place(node.specification), NEXT)
    except OSError as error:
        raise shared_files.failure(node, "cannot be removed", error) from error


def _has_left(node: Node) -> bool:
    try:
        left: dict[str, Any] = json.loads((HOME / LEFT).read_text())
        return bool(left["specification"] == node.specification.digest)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _age(node: Node, name: str) -> float:
    """Seconds since a file of the folder was written, by the file server's clock; infinity where there is none."""
    try:
        return inside.age(_place(node.specification), name)
    except FileNotFoundError:
        return math.inf
    except OSError as error:
        raise shared_files.failure(
            node, "cannot be written", error, "SharedFolderReadOnly"
        ) from error


def _read(node: Node, name: str) -> dict[str, Any] | None:
    try:
        return _parsed(inside.read(_place(node.specification), name))
    except OSError as error:
        raise shared_files.failure(node, "cannot be read", error) from error


def _parsed(text: str | None) -> dict[str, Any] | None:
    """A machine's file; None where there is none. Of one that cannot be read, nobody knows the machine."""
    if text is None:
        return None
    try:
        found: dict[str, Any] = json.loads(text)
        if re.fullmatch(r"[\w.-]{1,64}", found["instance"]):
            return found
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    return {"instance": "an unknown machine"}


def _write(node: Node, name: str, content: dict[str, Any]) -> None:
    try:
        inside.replace(_place(node.specification), name, json.dumps(content))
    except OSError as error:
        raise shared_files.failure(
            node, "cannot be written", error, "SharedFolderReadOnly"
        ) from error
