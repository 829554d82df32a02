"""Variables and files that the stack file gives a release, and what hands have changed on the machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.converge import converge
from agent.failures import Failure
from agent.graphistry import customization
from agent.machine.files import read_plain, replace_file
from agent.node import Node
from agent.repair import Repairs
from tests.agent.fakes import FakeMachine

from .test_converge import claimed, unchanged

MakeNode = Callable[..., Node]
CADDYFILE = "data/config/Caddyfile"
SHIPPED, OURS, OTHER = ":80 {\n}\n", "https://g.example.com {\n}\n", "https://h.example.com {\n}\n"


@pytest.fixture(autouse=True)
def _shipped(fake: FakeMachine) -> None:
    """A release with a Caddyfile that caddy mounts."""
    (fake.release / CADDYFILE).write_text(SHIPPED)
    (fake.root / "binds.json").write_text(
        json.dumps({"caddy": {"config/Caddyfile": "/etc/caddy/Caddyfile"}})
    )


def run(
    fake: FakeMachine, make_node: MakeNode, files: dict[str, str], env: dict[str, str] | None = None
) -> Node:
    """The follower of a leader, with a configuration."""
    node = claimed(fake, make_node, configuration={"env": env or {}, "files": files})
    assert converge(node, unchanged), node.report.document["failure"]
    return node


def made_anew(fake: FakeMachine) -> list[str]:
    found = [each for each in fake.log("graphistry") if "--force-recreate" in each]
    (fake.root / "graphistry.log").unlink()
    return found


def content(fake: FakeMachine, path: str = CADDYFILE) -> str | None:
    file = fake.release / path
    return file.read_text() if file.exists() else None


def warnings(node: Node) -> list[str]:
    found: list[str] = node.report.document["warnings"]
    return found


def test_files_are_there_before_the_services_and_change_in_place(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    seen = []
    for text in (OURS, OURS, OTHER):
        assert warnings(run(fake, make_node, {CADDYFILE: text})) == []
        seen.append((content(fake), made_anew(fake)))
    anew = ["up -d --no-deps --force-recreate caddy"]
    assert seen == [(OURS, anew), (OURS, []), (OTHER, anew)]


def test_what_was_there_before_comes_back(fake: FakeMachine, make_node: MakeNode) -> None:
    run(fake, make_node, {CADDYFILE: OURS, "data/own/new.yml": "a: 1\n"})
    assert content(fake, "data/own/new.yml") == "a: 1\n"
    made_anew(fake)
    run(fake, make_node, {})
    assert (content(fake), content(fake, "data/own/new.yml")) == (SHIPPED, None)
    assert made_anew(fake) == ["up -d --no-deps --force-recreate caddy"]
    assert list((fake.release / "data/config").glob("*.before-*")) == []


@pytest.mark.parametrize("path", [CADDYFILE, "data/config/other.conf"])
def test_the_releases_own_stays_where_the_stack_files_is_equal(
    fake: FakeMachine, make_node: MakeNode, path: str
) -> None:
    (fake.release / path).write_text(SHIPPED)
    for text in (SHIPPED, SHIPPED, OTHER):
        run(fake, make_node, {path: text})
        assert content(fake, path) == text
    run(fake, make_node, {})
    assert content(fake, path) == SHIPPED
    run(fake, make_node, {path: SHIPPED})
    run(fake, make_node, {})
    assert content(fake, path) == SHIPPED


def test_variables_are_in_the_agents_block(fake: FakeMachine, make_node: MakeNode) -> None:
    run(fake, make_node, {}, {"SMTP_HOST": "mail.example.com"})
    text = content(fake, "data/config/custom.env") or ""
    assert text.index("THEIRS=1") < text.index("SMTP_HOST=mail.example.com")
    run(fake, make_node, {})
    assert "SMTP_HOST" not in (content(fake, "data/config/custom.env") or "")


def test_an_edit_by_hand_is_named_and_stays(fake: FakeMachine, make_node: MakeNode) -> None:
    node = run(fake, make_node, {CADDYFILE: OURS})
    (fake.release / CADDYFILE).write_text("mine\n")
    Repairs(node).look()
    (told,) = warnings(node)
    assert "data/config/Caddyfile was edited by hand" in told
    assert node.report.document["state"] == "ready"
    for files in ({CADDYFILE: OTHER}, {}):
        assert len(warnings(run(fake, make_node, files))) == 1
        assert content(fake) == "mine\n"
    (fake.release / CADDYFILE).write_text(OURS)
    assert warnings(run(fake, make_node, {CADDYFILE: OTHER})) == []
    assert content(fake) == OTHER


def test_an_edit_before_there_was_a_key_is_kept_too(fake: FakeMachine, make_node: MakeNode) -> None:
    run(fake, make_node, {})
    (fake.release / CADDYFILE).write_text("mine\n")
    (told,) = warnings(run(fake, make_node, {CADDYFILE: OURS}))
    assert "until it is undone the stack file's own is not put there" in told
    assert content(fake) == "mine\n"


@pytest.mark.parametrize("path", customization.WATCHED)
def test_what_was_not_there_at_first_and_is_added_is_an_edit(
    fake: FakeMachine, make_node: MakeNode, path: str
) -> None:
    file = fake.release / path
    file.unlink()
    assert warnings(run(fake, make_node, {}, {"A": "1"})) == []
    had = file.read_text() if file.exists() else ""
    file.write_text(had + "BY_HAND=1\n")
    (told,) = warnings(run(fake, make_node, {}, {"A": "1"}))
    assert f"{path} was edited by hand" in told
    assert "BY_HAND=1" in (content(fake, path) or "")


def test_a_caddyfile_that_hands_have_added_is_not_replaced(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    (fake.release / CADDYFILE).unlink()
    run(fake, make_node, {})
    (fake.release / CADDYFILE).write_text("mine\n")
    (told,) = warnings(run(fake, make_node, {CADDYFILE: OURS}))
    assert "until it is undone the stack file's own is not put there" in told
    assert content(fake) == "mine\n"
    (fake.release / CADDYFILE).unlink()
    assert warnings(run(fake, make_node, {CADDYFILE: OURS})) == []
    run(fake, make_node, {})
    assert content(fake) is None


def test_what_the_next_release_has_for_the_first_time_is_no_edit(
    fake: FakeMachine, make_node: MakeNode, tmp_path: Path
) -> None:
    (fake.release / CADDYFILE).unlink()
    node = run(fake, make_node, {})
    node.release = Path(shutil.copytree(fake.release, tmp_path / "next"))
    (tmp_path / "next" / CADDYFILE).write_text(SHIPPED)
    customization.find_edits(node)
    assert customization.warnings(node) == []


def test_lines_beside_the_agents_block_are_an_edit_too(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    run(fake, make_node, {}, {"A": "1"})
    file = fake.release / "data/config/custom.env"
    file.write_text(file.read_text() + "BY_HAND=canary\n")
    (told,) = warnings(run(fake, make_node, {}, {"A": "2"}))
    assert "data/config/custom.env was edited by hand" in told
    assert "configuration.env of the stack file keeps it" in told
    assert "canary" not in told
    assert "BY_HAND=canary" in file.read_text()


def looks(file: Path) -> tuple[bytes, int, int, int]:
    found = file.stat()
    return file.read_bytes(), found.st_mode & 0o777, found.st_uid, found.st_gid


@pytest.mark.parametrize("shipped", [b"caf\xe9\r\n", OURS.encode()])
def test_bytes_mode_and_owner_of_what_was_there_stay(
    fake: FakeMachine, make_node: MakeNode, shipped: bytes
) -> None:
    file = fake.release / CADDYFILE
    file.write_bytes(shipped)
    file.chmod(0o640)
    os.chown(file, 1234, 1235)
    for text in (OURS, OTHER):
        run(fake, make_node, {CADDYFILE: text, "data/own/new": text})
        assert looks(file) == (text.encode(), 0o640, 1234, 1235)
        new = fake.release / "data/own/new"
        assert looks(new) == (text.encode(), 0o644, os.getuid(), os.getgid())
    run(fake, make_node, {})
    assert looks(file) == (shipped, 0o640, 1234, 1235)


def cut_off(monkeypatch: pytest.MonkeyPatch, node: Node, at: int, *, after: bool) -> bool:
    """Put a node's files and end before or after the step *at*; False where there are not so many."""
    done = 0

    def stepping(step: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*args: Any, **options: Any) -> Any:
            nonlocal done
            done += 1
            if done == at and not after:
                raise RuntimeError("cut off")
            found = step(*args, **options)
            if done == at:
                raise RuntimeError("cut off")
            return found

        return taken

    with monkeypatch.context() as patched:
        patched.setattr(customization, "_save", stepping(customization._save))
        patched.setattr(customization, "replace_file", stepping(replace_file))
        patched.setattr(os, "link", stepping(os.link))
        try:
            customization.put(node)
        except RuntimeError:
            return True
    return False


@pytest.mark.parametrize("shipped", [SHIPPED, OURS, None])
@pytest.mark.parametrize("path", [CADDYFILE, "data/config/other.conf"])
@pytest.mark.parametrize("after", [False, True])
def test_a_cut_at_any_place_ends_right_at_the_next_look(
    fake: FakeMachine,
    make_node: MakeNode,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    shipped: str | None,
    *,
    after: bool,
) -> None:
    """Whatever the stack file says next: the same, another content, or nothing."""
    file = fake.release / path
    node = claimed(fake, make_node)
    node.release = fake.release

    def put(files: dict[str, str]) -> None:
        object.__setattr__(node.specification, "files", files)
        customization.find_edits(node)
        customization.put(node)
        assert customization.warnings(node) == []
        assert content(fake, path) == files.get(path, shipped)

    ways = [({}, {path: OURS}), ({path: OURS}, {path: OTHER}), ({path: OURS}, {})]
    for first, cut in ways:
        for then in ({path: OURS}, {path: OTHER}, {path: "third\n"}, {}):
            at = 0
            is_cut = True
            while is_cut:
                at += 1
                customization._file().unlink(missing_ok=True)
                file.unlink(missing_ok=True)
                if shipped is not None:
                    file.write_text(shipped)
                put(first)
                object.__setattr__(node.specification, "files", cut)
                is_cut = cut_off(monkeypatch, node, at, after=after)
                put(then)
                put({})
                assert not list(file.parent.glob("*.before-*")), (first, cut, then, at)
            assert at > 1


def test_services_have_the_new_file_after_a_cut_too(
    fake: FakeMachine, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(fake, make_node, {})
    made_anew(fake)
    node = claimed(fake, make_node, configuration={"env": {}, "files": {CADDYFILE: OURS}})
    node.release = fake.release
    assert cut_off(monkeypatch, node, 3, after=True)
    assert content(fake) == OURS
    run(fake, make_node, {CADDYFILE: OURS})
    assert made_anew(fake) == ["up -d --no-deps --force-recreate caddy"]


def test_a_link_on_the_way_is_not_followed(
    fake: FakeMachine, make_node: MakeNode, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (fake.release / "data" / "own").symlink_to(tmp_path / "elsewhere")
    files = {"data/own/file": "text\n"}
    node = claimed(fake, make_node, configuration={"env": {}, "files": files})
    assert not converge(node, unchanged)
    assert node.report.document["failure"]["code"] == "ReleaseFileUnsafe"
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("path", [CADDYFILE, "data/config"])
def test_a_file_is_not_put_where_a_folder_is(
    fake: FakeMachine, make_node: MakeNode, path: str
) -> None:
    (fake.release / CADDYFILE).unlink()
    (fake.release / CADDYFILE).mkdir()  # as Docker does where a file to mount is missing
    node = claimed(fake, make_node, configuration={"env": {}, "files": {path: OURS}})
    assert not converge(node, unchanged)
    failure = node.report.document["failure"]
    assert failure["code"] == "ReleaseFileUnsafe"
    assert f"{fake.release / path} is a folder" in failure["message"]


@pytest.mark.parametrize("is_found_first", [True, False])
@pytest.mark.parametrize("what", ["a link", "a folder"])
def test_what_is_no_file_is_named_and_stops_nothing(
    fake: FakeMachine, make_node: MakeNode, what: str, *, is_found_first: bool
) -> None:
    if not is_found_first:
        run(fake, make_node, {})
    place = fake.release / CADDYFILE
    place.rename(place.with_name("Caddyfile.own"))
    if what == "a link":
        place.symlink_to("Caddyfile.own")
    else:
        place.mkdir()  # as Docker does where a file to mount is missing
    (told,) = warnings(run(fake, make_node, {}))
    assert f"{CADDYFILE} is {what}" in told


def test_what_is_no_plain_file_leaves_nothing_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name, what in (
        ("", "a folder"),
        ("pipe", "no plain file"),
        ("socket", "no plain file"),
        ("link", "a link"),
    ):
        with pytest.raises(Failure, match=f"is {what}"):
            read_plain(tmp_path / name)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_release_that_is_no_nodes_any_more_has_its_own_again(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    run(fake, make_node, {CADDYFILE: OURS})
    customization.give_back(fake.release)
    assert content(fake) == SHIPPED
