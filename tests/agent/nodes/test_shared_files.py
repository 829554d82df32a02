"""Files that a node writes into the shared folder: never over another's, and never nowhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.containers.engine import Container
from agent.converge import converge
from agent.failures import Failure
from agent.folders import shared_files
from agent.node import Node
from agent.phases import shared_folder
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


def test_the_probe_of_a_name_that_everybody_knew_overwrites_nothing(
    fake: FakeMachine, leader: Node
) -> None:
    """As another node's root, or whoever may write to the folder, had laid it."""
    folder, victim = fake.root / "shared", fake.root / "secret"
    victim.write_text("theirs")
    for name in (".graphistry-cluster-probe-leader", ".graphistry-cluster-probe.leader.0"):
        (folder / name).symlink_to(victim)
    assert converge(leader, lambda: False), leader.report.document["failure"]
    assert victim.read_text() == "theirs"
    assert not [each.name for each in folder.iterdir() if "probe" in each.name]


@pytest.mark.parametrize("name", ["datasets", "postgresql_data", ".graphistry-cluster.json"])
def test_a_link_in_the_place_of_what_root_makes_is_refused(
    fake: FakeMachine, leader: Node, name: str
) -> None:
    target = fake.root / "theirs"
    target.mkdir()
    (fake.root / "shared" / name).symlink_to(target)
    assert not converge(leader, lambda: False)
    found = leader.report.document["failure"]
    assert (found["code"], found["phase"]) == ("SharedFolderUnsafe", "sharedFolder")
    assert f"/{name} is a link" in found["message"]
    assert not list(target.iterdir())


@pytest.mark.parametrize("name", ["data/config/custom.env", "data/config"])
def test_a_link_in_the_releases_configuration_is_refused(
    fake: FakeMachine, leader: Node, name: str
) -> None:
    """Its place belongs to whoever the release belongs to, who must not read or write with root's permission."""
    target = fake.root / "theirs"
    target.mkdir()
    (target / "shadow").write_text("root:hash")
    place = fake.release / name
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    place.symlink_to(target if name.endswith("config") else target / "shadow")
    assert not converge(leader, lambda: False)
    found = leader.report.document["failure"]
    assert (found["code"], found["phase"]) == ("ReleaseFileUnsafe", "configure")
    assert [each.name for each in target.iterdir()] == ["shadow"]
    assert f"{place} is a link" in found["message"]
    written = [each for each in fake.release.rglob("*.env") if not each.is_symlink()]
    assert not any("hash" in each.read_text() for each in written)


def test_one_question_tells_whether_all_containers_see_the_folder(tmp_path: Path) -> None:
    each = Container("c", "nexus", "running", "healthy", 0, os.getpid(), "", 0, "")
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
        (place / shared_files.MARKER).touch()
    asked = [(each, str(place)) for place in places]
    assert shared_folder.are_held(asked)
    (places[1] / shared_files.MARKER).unlink()
    assert not shared_folder.are_held(asked)
