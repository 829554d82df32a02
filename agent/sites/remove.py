"""Taking a node away from its host: what the agent has installed goes, every byte of data stays.

Each step looks for what is there, so that it can be cut off anywhere and done again, also where nothing is left. The
specification goes last: it says where the data are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import sys
from pathlib import Path
from typing import Iterator

from agent.containers.compose import Compose
from agent.containers.compose_files import FILES_LABEL, FOLDER_LABEL, OVERRIDE, SECOND
from agent.data import (
    data_containers,
)
from agent.failures import Failure
from agent.folders import (
    nfs_server,
    node_folder,
)
from agent.graphistry import (
    customization,
    release_folder,
    secret_variables,
)
from agent.graphistry.custom_env import without_block
from agent.graphistry.vendor import VENDOR_UNITS
from agent.machine import (
    systemd,
    unit,
)
from agent.machine.commands import MISSING, run
from agent.machine.files import opened, read_plain, write_private
from agent.node import HOME, MARK, UNITS
from agent.phases import (
    firewall,
    release,
    tunnel,
)
from agent.phases.shared_folder import open_again
from agent.sites import (
    delivered,
    host_secret,
    hosts_site,
    store,
)
from agent.sites.deliver import lock
from agent.sites.store import STORE
from agent.specification import HostPlace, MountedPath, Nfs, NfsOnLeader, Specification

LAST = ("specification.json", "wanted.json", "agent.pyz")
"""In HOME, in this order: without the agent, nobody would go on with what is left."""
KEPT_IN_HOME = "releases"
LABELS = (FOLDER_LABEL, FILES_LABEL)
"""By which Compose says of which project a container is."""
STOP_SECONDS = 60
"""For PostgreSQL to write down what it has in memory."""


def remove(leaders_secret: str | None = None) -> list[str]:
    """Stop and take away everything of ours; what is kept, one line each.

    A follower's copy of the secret goes where the leader has the same, the hash of which is *leaders_secret*.
    """
    with lock():
        found = delivered.last_known()
        run(["systemctl", "disable", "--now", unit.UNIT_NAME], seconds=60)
        _stop_services(found)
        if found is not None:
            node_folder.forget(found, hosts_site.machine_id())
        volumes = data_containers.remove()
        nfs_server.withdraw()
        firewall.remove()
        _unmount_all()
        tunnel.remove()
        _remove_units()
        secret_variables.forget()
        if not (found and found.is_leader):
            tunnel.forget_keys()
        if leaders_secret is not None and not (found and found.is_leader):
            host_secret.forget_copy(leaders_secret)
            store.forget_empty()
        kept = list(_kept(found, volumes))
        _empty_home()
        return kept


def _stop_services(specification: Specification | None) -> None:
    """End the containers of every release of ours, and give its files back: what is published must not outlive the
    firewall. Raises Failure where some go on."""
    folders = list(_ours(specification))
    for folder in folders:
        done = Compose(folder).down()
        if not done.succeeded:
            print(f"./graphistry down has failed: {' '.join(done.tail()[-1:])}", file=sys.stderr)
    _end_containers(folders)
    for folder in folders:
        _give_files_back(folder)


def _ours(specification: Specification | None) -> Iterator[Path]:
    """The specification's release, and those that the agent has configured, for one whose specification is lost."""
    place = None
    if specification is not None:
        with contextlib.suppress(Failure):  # the release is gone
            place = release_folder.place(specification)
    for folder in [*release_folder.PREINSTALLED, *(HOME / KEPT_IN_HOME).glob("*")]:
        marks = (folder / OVERRIDE, folder / SECOND, folder / "data" / "config" / "cluster.env")
        if (folder / "graphistry").exists() and (folder == place or any(map(_is_ours, marks))):
            yield folder


def _end_containers(folders: list[Path]) -> None:
    """End what `down` has left, also of a release whose folder is gone."""
    shown = "\t".join(["{{.ID}}", *(f'{{{{.Label "{each}"}}}}' for each in LABELS)])
    words = ["--filter", f"label={FOLDER_LABEL}", "--format", shown]
    listed = run(["docker", "ps", "--all", *words])
    if listed.status == MISSING:
        return  # without Docker nothing runs
    rows = [line.split("\t") for line in listed.output.splitlines()]
    left = [row[0] for row in rows if _is_of_release(folders, *row[1:])]
    done = listed
    if listed.succeeded and left:
        run(["docker", "stop", "--time", str(STOP_SECONDS), *left], seconds=10 * STOP_SECONDS)
        done = run(["docker", "rm", "--force", *left], seconds=STOP_SECONDS)
    if not done.succeeded:
        raise Failure(
            "ServicesNotEnded",
            "the services cannot be ended, so the firewall, the exports and the mounts stay as they are",
            done.tail(),
        )


def _is_of_release(folders: list[Path], directory: str, files: str) -> bool:
    """Whether a project of Compose, by its *directory* and its *files*, is a release's: one of *folders*, or one whose
    folder is gone. Somebody's own project in a folder below a release's is his."""
    found = {Path(directory), *(Path(each).parent for each in files.split(",") if each)}
    own = {*folders, *map(Path, map(os.path.realpath, folders))}
    return bool(found & own) or any(HOME / KEPT_IN_HOME in each.parents for each in found)


def _give_files_back(folder: Path) -> None:
    """Take what is ours out of a release."""
    for override in (folder / OVERRIDE, folder / SECOND):
        if _is_ours(override):
            override.unlink()
    try:
        with opened(folder / "data" / "config") as config:
            _give_back(config)
        customization.give_back(folder)
    except (OSError, Failure) as error:
        print(f"the release's configuration stays as it is: {error}", file=sys.stderr)


def _give_back(config: Path) -> None:
    """Take what is ours out of the release's configuration."""
    if _is_ours(config / "cluster.env"):
        write_private(config / "cluster.env", release.ALONE, 0o644)
    custom = config / "custom.env"
    if custom.exists():
        write_private(custom, without_block(read_plain(custom)))


def _unmount_all() -> None:
    """Take our mounts away, the inner ones first; data below them stay where they are."""
    places = [place for place in (_mount_point(each) for each in UNITS.glob("*.mount")) if place]
    for place in sorted(places, key=lambda each: -each.count("/")):
        run(["systemctl", "disable", systemd.mount_unit(place)])
        systemd.unmount(place)
        # Where another mount is left, the folder is not ours any more.
        if systemd.mounted(place) is None and _is_shut(Path(place)):
            open_again(Path(place))


def _mount_point(file: Path) -> str | None:
    """Where a mount unit of ours mounts; None for somebody else's."""
    if not _is_ours(file):
        return None
    lines = file.read_text().splitlines()
    return next((line[len("Where=") :] for line in lines if line.startswith("Where=")), None)


def _is_shut(folder: Path) -> bool:
    """Whether this is a folder that the agent has closed; others below a mount may hold data."""
    try:
        return stat.filemode(folder.lstat().st_mode) == "d---------"
    except OSError:
        return False


def _remove_units() -> None:
    """Our units go, and what the vendor's image came with has its place again, stopped."""
    for file in [*UNITS.glob("*.mount"), *UNITS.glob("*.service"), *UNITS.glob("*/*.conf")]:
        if _is_ours(file) or file.name == f"{MARK}.conf":
            run(["systemctl", "disable", "--now", file.name]) if file.parent == UNITS else None
            file.unlink()
    for name in VENDOR_UNITS:
        aside = UNITS / f"{name}.before-{MARK}"
        if aside.exists():
            aside.replace(UNITS / name)
        if (UNITS / name).is_symlink():
            run(["systemctl", "unmask", name])
    run(["systemctl", "daemon-reload"])


def _kept(specification: Specification | None, volumes: list[str]) -> Iterator[str]:
    """Where everything is that is not removed."""
    place = specification.place if specification else None
    share = specification.share if specification else None
    data = specification.data_folder if specification else None
    host = place.address if isinstance(place, HostPlace) else socket.gethostname()
    folders = {
        data or f"{STORE}/data": "PostgreSQL",
        f"{STORE}/shared": "shared folder",
        f"{STORE}/secret.json": "the cluster's passwords and keys",
        f"{HOME}/{KEPT_IN_HOME}": "releases",
    }
    if isinstance(share, Nfs):
        # Somebody else's, who says what is kept there.
        yield f"left alone: {share.server}:{share.export} (shared folder)"
    elif isinstance(share, NfsOnLeader):
        folders[share.folder] = "shared folder"
    elif isinstance(share, MountedPath):
        folders[share.path] = "shared folder"
    for volume in volumes:
        yield f"kept: {host}:{volume} (PostgreSQL, a Docker volume)"
    for path, what in folders.items():
        if Path(path).exists():
            yield f"kept: {host}:{path} ({what})"


def _empty_home() -> None:
    """Everything goes but the releases, and what says where the data are goes last."""
    if not HOME.is_dir():
        return
    names = [each.name for each in HOME.iterdir() if each.name != KEPT_IN_HOME]
    for name in sorted(names, key=lambda each: (LAST.index(each) if each in LAST else -1, each)):
        path = HOME / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not any(HOME.iterdir()):
        HOME.rmdir()


def _is_ours(file: Path) -> bool:
    try:
        return read_plain(file).startswith(f"# {MARK}")
    except (OSError, Failure):
        return False
