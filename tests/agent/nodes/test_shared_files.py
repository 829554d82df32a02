"""Files that a node writes into the shared folder: never over another's, and never nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent import shared_files
from agent.failures import Failure
from agent.node import Node
from tests.agent.fakes import FakeMachine

MakeNode = Callable[..., Node]
NAME = "written"


@pytest.fixture
def leader(make_host: MakeNode) -> Node:
    return make_host("leader")


def test_content_of_another_stays(fake: FakeMachine, leader: Node) -> None:
    folder = fake.root / "shared"
    folder.mkdir(exist_ok=True)
    shared_files.create_file(leader, NAME, "ours")
    shared_files.create_file(leader, NAME, "another's")
    assert (folder / NAME).read_text() == "ours"
    (folder / NAME).write_text("")
    shared_files.create_file(leader, NAME, "again")
    assert (folder / NAME).read_text() == "again"


def test_a_folder_that_is_not_there_is_no_file_that_is_there(
    fake: FakeMachine, leader: Node
) -> None:
    """A shell says of it that the directory is `nonexistent`."""
    with pytest.raises(Failure, match="cannot be written"):
        shared_files.create_file(leader, "missing/written", "ours")


def test_a_marker_that_never_shows_is_given_up(
    fake: FakeMachine, leader: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    monkeypatch.setattr(shared_files, "create_file", lambda *what: written.append(what))
    with pytest.raises(Failure, match="has not marked"):
        shared_files.claim(leader)
    assert len(written) == 1
