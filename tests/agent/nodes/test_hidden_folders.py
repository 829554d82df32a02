"""A service with the whole shared folder sees neither what users keep on nodes nor PostgreSQL's files in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.containers.compose import Compose
from agent.converge import converge
from agent.folders import hidden_folders, node_folder
from agent.node import Node
from agent.phases import shared_folder
from tests.agent.fakes import FakeMachine

MakeNode = Callable[..., Node]
DATA = "/opt/graphistry/data"


@pytest.fixture(autouse=True)
def keeps_notebooks(fake: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release whose users' folders are in the shared folder."""
    monkeypatch.setattr(node_folder, "missing", lambda *_: None)  # its containers are words
    (fake.release / "data" / "notebooks").mkdir(parents=True)
    fake.has_volume()
    binds = {"notebook": {"notebooks": "/home/graphistry/notebooks"}}
    (fake.root / "binds.json").write_text(json.dumps(binds))


def empty(node: Node, service: str) -> list[str]:
    """Where a service of the merged configuration has a folder that is empty and stays so."""
    volumes = Compose(node.folder).services()[service].get("volumes", [])
    return sorted(
        each["target"] for each in volumes if each.get("type") == "tmpfs" and each["read_only"]
    )


def ready(node: Node) -> Node:
    assert converge(node, lambda: False), node.report.document["failure"]
    return node


def test_on_the_leader_nodes_and_postgresqls_folders_are_hidden(make_node: MakeNode) -> None:
    node = ready(make_node())
    names = ("nodes", "postgres_backups", "postgresql_data")
    assert empty(node, "nexus") == [f"{DATA}/{name}" for name in names]
    assert empty(node, "forge-etl-python") == empty(node, "nexus")


@pytest.mark.parametrize("service", ["postgres", "notebook", "redis"])
def test_who_has_a_part_of_it_or_nothing_keeps_that(make_node: MakeNode, service: str) -> None:
    assert empty(ready(make_node()), service) == []


@pytest.mark.parametrize(
    ("role", "hidden"),
    [("leader", ("nodes", "postgresql_data")), ("follower", ("nodes",))],
)
def test_what_is_there_is_hidden(
    fake: FakeMachine, make_node: MakeNode, role: str, hidden: tuple[str, ...]
) -> None:
    for name in ("nodes", "postgresql_data", "datasets"):
        (fake.root / "shared" / name).mkdir()
    node = make_node(role)
    hidden_folders.find(node)
    assert node.hidden == hidden


def test_what_a_service_mounts_there_itself_stays(make_node: MakeNode) -> None:
    node = make_node()
    node.hidden = ("nodes",)
    whole = {"type": "bind", "source": f"{node.specification.shared_folder}/", "target": "/data/"}
    own: dict[str, Any] = {"type": "bind", "source": "/somewhere", "target": "/data/nodes"}
    services = {"backup": {"volumes": [whole, own]}, "other": {"volumes": [whole]}}
    found = hidden_folders.volumes(node, services)
    assert found == {"other": [{"type": "tmpfs", "target": "/data/nodes", "read_only": True}]}


def test_what_docker_has_made_to_hide_a_folder_is_taken_away_and_nothing_else(
    tmp_path: Path, fake: FakeMachine
) -> None:
    for name in ("nodes", "postgres_backups", "postgresql_data/base", "datasets"):
        (tmp_path / "shared" / name).mkdir(parents=True)
    shared_folder.open_again(tmp_path / "shared")
    assert sorted(each.name for each in (tmp_path / "shared").iterdir()) == [
        "datasets",
        "postgresql_data",
    ]
