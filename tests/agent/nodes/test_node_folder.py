"""What users make on a node is in the node's folder of the shared one, which the next machine takes over."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.containers.compose import Compose
from agent.containers.engine import Container
from agent.converge import converge
from agent.failures import Failure
from agent.folders import inside, node_folder
from agent.machine.systemd import Mount
from agent.node import Node
from agent.repair import Repairs
from tests.agent.fakes import FakeMachine

MakeNode = Callable[..., Node]
TARGET = "/home/graphistry/notebooks"
OTHER = {"instance": "i-0"}
MISSING = node_folder.missing


@pytest.fixture
def node(fake: FakeMachine, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A machine whose release keeps notebooks."""
    monkeypatch.setattr(node_folder, "missing", lambda *_: None)  # its containers are words
    (fake.release / "data" / "notebooks" / "deep").mkdir(parents=True)
    (fake.release / "data" / "notebooks" / "deep" / "mine.ipynb").write_text("years of work")
    fake.has_volume()
    binds(fake, notebook={"notebooks": TARGET})
    return make_node()


@pytest.fixture
def own(fake: FakeMachine) -> Path:
    return fake.root / "shared" / "nodes" / "leader"


def binds(fake: FakeMachine, **services: dict[str, str]) -> None:
    """What services of the release have of its `data`."""
    (fake.root / "binds.json").write_text(json.dumps(services))


def ready(node: Node) -> None:
    assert converge(node, lambda: False), node.report.document["failure"]


def failed(node: Node) -> dict[str, Any]:
    assert not converge(node, lambda: False)
    found: dict[str, Any] = node.report.document["failure"]
    return found


def sources(node: Node, service: str = "notebook") -> dict[str, str]:
    """Where a service has its volumes from, by where it sees them."""
    volumes = Compose(node.folder).services()[service].get("volumes", [])
    return {each["target"]: each["source"] for each in volumes}


def has(own: Path, **machine: Any) -> Path:
    """The folder of a node, which another machine has."""
    own.mkdir(parents=True, exist_ok=True)
    (own / node_folder.MACHINE).write_text(json.dumps({**OTHER, **machine}))
    return own


def works(own: Path, monkeypatch: pytest.MonkeyPatch, **machine: Any) -> None:
    """Let the other machine show that it is at work, again and again."""
    file = has(own, **machine) / node_folder.MACHINE
    shown = itertools.count()
    monkeypatch.setattr("agent.limits.SILENT", 1.0)
    monkeypatch.setattr(
        "agent.folders.node_folder.time.sleep",
        lambda _: file.write_text(json.dumps({**OTHER, **machine, "shown": next(shown)})),
    )


def test_what_the_release_keeps_moves_into_the_nodes_folder_once(node: Node, own: Path) -> None:
    ready(node)
    assert sources(node) == {TARGET: str(own / "notebooks")}
    assert (own / "notebooks" / "deep" / "mine.ipynb").read_text() == "years of work"
    assert own.stat().st_mode & 0o777 == own.parent.stat().st_mode & 0o777 == 0o700
    (volume,) = Compose(node.folder).services()["notebook"]["volumes"]
    assert volume["bind"] == {"create_host_path": False}, "Docker makes no empty one in its place"
    (own / "notebooks" / "deep" / "mine.ipynb").write_text("years and a day")
    ready(node)
    assert (own / "notebooks" / "deep" / "mine.ipynb").read_text() == "years and a day"
    checks = {each["name"]: each for each in node.report.document["checks"]}
    assert f"{own} has this node's notebooks" in checks["sharedFolder"]["detail"]


@pytest.mark.parametrize("names", [[], ["theirs.ipynb"]])
def test_a_folder_that_is_there_wins_also_where_its_user_has_emptied_it(
    node: Node, own: Path, names: list[str]
) -> None:
    (own / "notebooks").mkdir(parents=True)
    for name in names:
        (own / "notebooks" / name).touch()
    ready(node)
    assert [each.name for each in (own / "notebooks").iterdir()] == names
    assert sources(node) == {TARGET: str(own / "notebooks")}


def test_a_folder_that_the_release_has_not_yet_is_an_empty_one(
    fake: FakeMachine, node: Node, own: Path
) -> None:
    binds(fake, pivot={"pivot/store": "/pivot"})
    ready(node)
    assert list((own / "pivot" / "store").iterdir()) == []
    assert sources(node, "pivot") == {"/pivot": str(own / "pivot" / "store")}


def test_a_release_that_keeps_nothing_has_no_folder(
    fake: FakeMachine, node: Node, own: Path
) -> None:
    binds(fake)
    ready(node)
    assert not own.parent.exists()


def test_services_are_stopped_while_their_files_are_copied_and_no_others(
    fake: FakeMachine, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    binds(fake, notebook={})
    ready(node)
    binds(fake, notebook={"notebooks": TARGET}, nexus={"public_views": "/views"})
    (fake.release / "graphistry").touch()
    node_folder_copy, states = inside.copy_folder, []

    def copy(*words: Any) -> None:
        states.append(json.loads((fake.root / "states.json").read_text()))
        node_folder_copy(*words)

    monkeypatch.setattr(inside, "copy_folder", copy)
    ready(node)
    first = states[0]
    assert first["notebook"][0] == "exited"
    assert first["streamgl-viz"][0] == "running"
    assert json.loads((fake.root / "states.json").read_text())["notebook"][0] == "running"


def test_a_copy_that_was_cut_off_is_made_again_and_nothing_starts_without_it(
    node: Node, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "notebooks")

    with monkeypatch.context() as patch:
        patch.setattr(inside, "copy_folder", full)
        assert failed(node)["code"] == "SharedFolderFull"
    assert sources(node) == {TARGET: str(own / "notebooks")}
    assert not (own / "notebooks").exists()
    ready(node)
    assert (own / "notebooks" / "deep" / "mine.ipynb").exists()


@pytest.mark.parametrize("name", ["nodes", "nodes/leader", "nodes/leader/notebooks"])
def test_a_link_on_the_way_is_refused(fake: FakeMachine, node: Node, name: str) -> None:
    target = fake.root / "theirs"
    target.mkdir()
    link = fake.root / "shared" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    found = failed(node)
    assert (found["code"], found["phase"]) == ("SharedFolderUnsafe", "configure")
    assert not list(target.iterdir())


def test_configuration_files_and_what_is_no_users_stay_on_the_machine(
    fake: FakeMachine, node: Node, own: Path
) -> None:
    data = fake.release / "data"
    (data / "viz-cache" / "deep").mkdir(parents=True)
    (data / "pivot" / "config").mkdir(parents=True)
    (data / "pivot" / "settings.json").write_text("{}")
    (data / "investigation").symlink_to(fake.root)
    binds(
        fake,
        notebook={"notebooks": TARGET},
        caddy={"config/Caddyfile": "/etc/Caddyfile", "caddy/config": "/config"},
        pivot={"pivot/config": "/config", "pivot/settings.json": "/settings.json"},
        streamgl={"viz-cache": "/cache", "investigation": "/investigation"},
        redis={"redis": "/data"},
        postgres={"postgres": "/backups"},
    )
    ready(node)
    kept = [each.name for each in own.iterdir() if not each.name.startswith(".")]
    assert kept == ["notebooks"]
    assert node.report.document["warnings"] == [
        "data/investigation goes with this machine: a link leads there"
    ]
    assert sources(node, "streamgl")["/cache"] == str(data / "viz-cache")
    assert sources(node, "redis")["/data"] == str(data / "redis")


def test_where_root_may_give_no_files_away_everything_stays_as_it_was(
    node: Node, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside, "may_give", lambda *_: False)
    ready(node)
    assert sources(node) == {TARGET: str(node.folder / "data" / "notebooks")}
    (said,) = node.report.document["warnings"]
    assert said == "data/notebooks goes with this machine: the file server gives files to no user"


def test_data_on_another_disk_by_a_link_stay_there(fake: FakeMachine, node: Node) -> None:
    elsewhere = fake.root / "elsewhere"
    (fake.release / "data").rename(elsewhere)
    (fake.release / "data").symlink_to(elsewhere)
    ready(node)
    assert sources(node) == {TARGET: str(fake.release / "data" / "notebooks")}
    (said,) = node.report.document["warnings"]
    assert said == "data/notebooks goes with this machine: a link leads there"


def test_another_folder_of_the_node_is_found_anew(fake: FakeMachine, node: Node) -> None:
    ready(node)
    node.specification = dataclasses.replace(node.specification, folder="team.leader")
    ready(node)
    assert sources(node) == {TARGET: str(fake.root / "shared/nodes/team.leader/notebooks")}


class TestTwoMachines:
    """Of one node, as while one takes the place of the other."""

    def test_one_that_is_at_work_is_asked_and_waited_for(
        self, fake: FakeMachine, node: Node, own: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        works(own, monkeypatch)
        found = failed(node)
        assert (found["code"], found["phase"]) == ("NodeFolderTaken", "configure")
        assert "i-0 goes on to use" in found["message"]
        assert json.loads((own / node_folder.NEXT).read_text()) == {"instance": "i-1"}
        assert not (own / "notebooks").exists()
        assert "up" not in "".join(fake.log("graphistry"))

    @pytest.mark.parametrize("is_silent", [False, True])
    def test_one_whose_services_have_ended_is_followed(
        self, node: Node, own: Path, monkeypatch: pytest.MonkeyPatch, is_silent: bool
    ) -> None:
        has(own, **({} if is_silent else {"ended": True}))
        if is_silent:
            monkeypatch.setattr("agent.limits.SILENT", 0.0)
        ready(node)
        found = json.loads((own / node_folder.MACHINE).read_text())
        assert found["instance"] == "i-1"
        assert not (own / node_folder.NEXT).exists()

    def test_one_that_was_gone_long_before_is_not_waited_for(self, node: Node, own: Path) -> None:
        long_ago = (has(own) / node_folder.MACHINE).stat().st_mtime - 150
        os.utime(own / node_folder.MACHINE, (long_ago, long_ago))
        ready(node)
        assert json.loads((own / node_folder.MACHINE).read_text())["instance"] == "i-1"
        assert [each.name for each in own.iterdir() if each.name.startswith("..")] == []

    def test_one_that_leaves_makes_nobody_wait(self, node: Node, own: Path) -> None:
        machine = has(own) / node_folder.MACHINE
        node_folder.forget(node.specification, "i-1")
        assert machine.exists(), "another one has it by now"
        node_folder.forget(node.specification, "i-0")
        assert not machine.exists()
        node_folder.forget(node.specification, "i-0")

    def test_one_that_was_followed_ends_its_services_and_asks_no_more(
        self, fake: FakeMachine, node: Node, own: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ready(node)
        node_folder.leave(node, Compose(node.folder))
        works(own, monkeypatch)
        Compose(node.folder).up()  # as a boot does
        assert failed(node)["code"] == "NodeFolderTaken"
        states = json.loads((fake.root / "states.json").read_text())
        assert {name for name, state in states.items() if state[0] != "running"} == {"notebook"}
        assert not (own / node_folder.NEXT).exists()
        # As a host that a changed stack file makes the node again.
        node.specification = dataclasses.replace(node.specification, digest="another")
        assert failed(node)["code"] == "NodeFolderTaken"
        assert (own / node_folder.NEXT).exists()

    def test_one_that_is_asked_ends_its_services_and_says_so(
        self, fake: FakeMachine, node: Node, own: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agent.limits.SILENT", 0.0)
        ready(node)
        monkeypatch.setattr("agent.limits.PATIENCE", 60.0)
        repairs = Repairs(node)
        repairs.look()
        assert node.report.document["state"] == "ready"
        (own / node_folder.NEXT).write_text(json.dumps(OTHER))
        repairs.look()
        assert node.report.document["failure"]["code"] == "NodeFolderTaken"
        states = json.loads((fake.root / "states.json").read_text())
        assert (states["notebook"][0], states["nexus"][0]) == ("exited", "running")
        assert json.loads((own / node_folder.MACHINE).read_text())["ended"]
        (own / node_folder.MACHINE).write_text(json.dumps(OTHER))
        repairs.look()
        assert json.loads((fake.root / "states.json").read_text())["notebook"][0] == "exited"
        assert json.loads((own / node_folder.MACHINE).read_text()) == OTHER

    @pytest.mark.parametrize("asks", ["no more", "for ever"])
    def test_one_that_nobody_asks_any_more_goes_on(
        self,
        fake: FakeMachine,
        node: Node,
        own: Path,
        monkeypatch: pytest.MonkeyPatch,
        asks: str,
    ) -> None:
        """A file that any container with the whole shared folder may write ends nobody's notebooks for good."""
        monkeypatch.setattr("agent.limits.SILENT", 0.0)
        ready(node)
        monkeypatch.setattr("agent.limits.PATIENCE", 60.0)
        repairs = Repairs(node)
        (own / node_folder.NEXT).write_text(json.dumps(OTHER))
        repairs.look()
        assert node.report.document["failure"]["code"] == "NodeFolderTaken"
        if asks == "no more":
            (own / node_folder.NEXT).unlink()
        else:
            monkeypatch.setattr("agent.limits.PATIENCE", 0.0)
        repairs.look()
        assert node.report.document["failure"]["code"] == "ServiceUnhealthy"
        Compose(node.folder).up()  # as a repair does, once the service has had its time
        repairs.look()
        assert node.report.document["state"] == "ready", node.report.document["failure"]
        assert "ended" not in json.loads((own / node_folder.MACHINE).read_text())

    @pytest.mark.parametrize(
        "text", ["[" * 60000, '{"instance": "x\\u001b]0;owned"}', '{"instance": 1}']
    )
    def test_what_another_wrote_into_its_file_is_not_repeated(
        self, node: Node, own: Path, text: str
    ) -> None:
        own.mkdir(parents=True)
        (own / node_folder.MACHINE).write_text(text)
        os.utime(own / node_folder.MACHINE, (0, 0))
        ready(node)
        (own / node_folder.NEXT).write_text(text)
        node.machine_shown = -math.inf
        with pytest.raises(Failure, match=r"^an unknown machine asks for"):
            node_folder.hold(node)


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        (Mount("/", "overlay", "0:7", "overlay", ("rw",), "/"), TARGET),
        (
            Mount("/data/linked", "nfs4", "0:50", "files:/", ("rw",), "/nodes/leader/notebooks"),
            None,
        ),
        (Mount(TARGET, "nfs4", "0:50", "files:/", ("rw",), "/nodes/leader/notebooks"), None),
        (Mount(TARGET, "nfs4", "0:9", "files:/", ("rw",), "/nodes/leader/notebooks"), TARGET),
        (Mount(TARGET, "ext4", "8:1", "/dev/sda1", ("rw",), "/releases/data/notebooks"), TARGET),
    ],
)
def test_what_a_container_sees_is_read_from_the_kernel(
    node: Node, monkeypatch: pytest.MonkeyPatch, seen: Mount, wrong: str | None
) -> None:
    shared = Mount("/mnt", "nfs4", "0:50", "files:/", ("rw",))
    monkeypatch.setattr("agent.machine.systemd.mount_at", lambda _: shared)
    monkeypatch.setattr("agent.machine.systemd.mounts", lambda _: [seen])
    container = Container("c", "notebook", "running", "healthy", 0, 4711, "", 0, "")
    volume = {"source": f"{node_folder.path(node.specification)}/notebooks", "target": TARGET}
    assert MISSING(node, container, [volume]) == wrong


def test_a_file_that_may_be_given_away_leaves_nothing(tmp_path: Path) -> None:
    assert inside.may_give(inside.Folder(str(tmp_path)), 1000) == (os.geteuid() == 0)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_has_owners_and_modes_and_no_set_user_id(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "of-a-user").mkdir(parents=True)
    target.mkdir()
    (source / "of-a-user").chmod(0o700)
    (source / "program").write_text("#!/bin/sh")
    (source / "program").chmod(0o4755)
    (source / "link").symlink_to("/etc/shadow")
    os.mkfifo(source / "pipe")
    if os.geteuid() == 0:
        os.chown(source / "of-a-user", 1000, 1000)
    (target / ".copy.partial.0123").mkdir()  # what a copy has left that was ended
    inside.copy_folder(inside.Folder(str(source)), inside.Folder(str(target)), "copy", 60)
    copy = target / "copy"
    assert [each.name for each in target.iterdir()] == ["copy"]
    assert sorted(each.name for each in copy.iterdir()) == ["link", "of-a-user", "program"]
    assert (copy / "program").stat().st_mode & 0o7777 == 0o755
    assert (copy / "of-a-user").stat().st_mode & 0o777 == 0o700
    assert (copy / "of-a-user").stat().st_uid == (source / "of-a-user").stat().st_uid
    assert (copy / "link").readlink() == Path("/etc/shadow")
    with pytest.raises(NotADirectoryError):
        inside.copy_folder(
            inside.Folder(str(source), "link"), inside.Folder(str(target)), "other", 60
        )
