"""The services that the vendor's image starts at boot as a machine of its own, which accept the vendor's password."""

from __future__ import annotations

from pathlib import Path

from agent.containers.compose import Compose
from agent.data import database_folder
from agent.failures import Failure
from agent.graphistry import release_folder
from agent.machine.commands import run
from agent.node import MARK, UNITS, Node
from agent.specification import HostPlace

UNIT_NAME = "graphistry.service"
VENDOR_UNITS = ("graphistry-compose.service", UNIT_NAME)


def stop(node: Node) -> None:
    """Stop what the vendor's image has started, and keep its boot unit from doing so again.

    Nothing happens on a machine that the agent has configured. Raises Failure where containers cannot be removed, and
    DatabaseElsewhere on a host whose database would be left behind, before anything is stopped.
    """
    _require_no_database(node)
    for name in VENDOR_UNITS:
        state = run(["systemctl", "show", "-p", "LoadState,FragmentPath", name]).output
        path = _value(state, "FragmentPath")
        if _value(state, "LoadState") != "loaded" or _is_ours(Path(path)):
            continue
        run(["systemctl", "disable", "--now", name], seconds=300)
        if Path(path).parent == UNITS:
            # A file here cannot be masked, and ours needs the name.
            Path(path).rename(f"{path}.before-{MARK}")
            run(["systemctl", "daemon-reload"])
        if name != UNIT_NAME:
            run(["systemctl", "mask", name])
    if _is_ours(UNITS / UNIT_NAME):
        return
    for folder in release_folder.found():
        compose = Compose(folder)
        if compose.containers():
            # In the vendor's configuration still, so that its own PostgreSQL ends too.
            done = compose.down()
            if not done.succeeded:
                message = f"the containers of {folder} cannot be removed"
                raise Failure("ServicesNotStarted", message, done.tail())


def _require_no_database(node: Node) -> None:
    """A host had its database before it became a node. AWS makes a machine for the node: what its image has started
    there has nothing that anybody would miss."""
    specification = node.specification
    is_somebodys = isinstance(specification.place, HostPlace) and specification.runs_data_services
    if is_somebodys and not _is_ours(UNITS / UNIT_NAME):
        database_folder.require_none_in(specification, release_folder.found())


def _is_ours(file: Path) -> bool:
    try:
        return MARK in file.read_text()
    except OSError:
        return False


def _value(properties: str, name: str) -> str:
    for line in properties.splitlines():
        key, _, value = line.partition("=")
        if key == name:
            return value
    return ""
