"""Links in the shared folder, with the kernel's own mounts: what Docker mounts is looked for by the same kernel."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.containers.compose import Compose
from agent.folders import links, node_folder
from agent.node import Node
from tests.agent.fakes import FakeMachine
from tests.agent.nodes.test_node_folder import binds

MakeNode = Callable[..., Node]


def may_close() -> bool:
    """Whether mounts may be made here, and closed to links: root, Linux 5.10, util-linux 2.37."""
    words = "mount -t tmpfs none /mnt && mount -o remount,bind,nosymfollow /mnt"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", words], capture_output=True)
    return done.returncode == 0


pytestmark = pytest.mark.skipif(not may_close(), reason="no mounts that are closed to links")


def mount(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """As root of the machine, whatever the fake machine's command does."""
    return subprocess.run(["/bin/mount", *words], capture_output=True, text=True)


@pytest.fixture
def shared(fake: FakeMachine) -> Iterator[Path]:
    """The folder as this node mounts it; what others see of it is the folder `served` beside it."""
    served, seen = fake.root / "served", fake.root / "shared"
    for name in ("uploads", "files", "datasets"):
        (served / name).mkdir(parents=True)
    (served / "uploads" / "file").write_text("a user's")
    (served / "uploads" / "link").symlink_to("file")
    (fake.root / "machines").mkdir()
    (fake.root / "machines" / "file").write_text("the machine's")
    (fake.root / "bin" / "mount").unlink()
    assert mount("--bind", served, seen).returncode == 0
    mount("--make-private", seen)
    yield seen
    subprocess.run(["/bin/umount", "--recursive", seen], check=True)


def seen_by_a_container(fake: FakeMachine, source: Path, name: str) -> str:
    """What a file is in what Docker's runtime mounts: by the kernel, without a look at the path."""
    target = fake.root / "container-sees"
    target.mkdir(exist_ok=True)
    done = mount("--no-canonicalize", "--bind", source, target)
    if done.returncode:
        return done.stderr
    try:
        return (target / name).read_text()
    except OSError as error:
        return str(error)
    finally:
        subprocess.run(["/bin/umount", target], check=True)


def put_link(served: Path, victim: Path) -> None:
    """As another node's root does, which has no mounts of this one: here, from a namespace without them."""
    uploads = served / "uploads"
    script = '/bin/umount "$1"; mv "$2" "$2.gone" && ln -s "$3" "$2"'
    pinned = served.with_name("shared") / "uploads"
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(pinned), str(uploads), str(victim)]
    subprocess.run(words, check=True, capture_output=True)


def test_no_link_in_the_place_of_a_shared_folder_leads_a_container_elsewhere(
    fake: FakeMachine, make_host: MakeNode, shared: Path
) -> None:
    links.close(make_host("follower"))
    put_link(fake.root / "served", fake.root / "machines")
    found = seen_by_a_container(fake, shared / "uploads", "file")
    assert "symbolic links" in found, found
    # What is not there any more is not looked for in another place.
    links.close(make_host("follower"))
    assert "symbolic links" in seen_by_a_container(fake, shared / "uploads", "file")


def test_links_of_users_work_in_containers_as_before(
    fake: FakeMachine, make_host: MakeNode, shared: Path
) -> None:
    links.close(make_host("follower"))
    assert links.is_closed(str(shared))
    assert seen_by_a_container(fake, shared / "uploads", "link") == "a user's"
    assert (shared / "uploads" / "link").read_text() == "a user's"


def test_closing_again_mounts_nothing_again(make_host: MakeNode, shared: Path) -> None:
    node = make_host("follower")
    links.close(node)
    before = Path("/proc/self/mountinfo").read_text().count(str(shared))
    assert before == 4
    links.close(node)
    assert Path("/proc/self/mountinfo").read_text().count(str(shared)) == before


def test_a_boot_closes_the_folder_before_docker_starts(
    fake: FakeMachine, make_host: MakeNode, shared: Path
) -> None:
    links.close(make_host("follower"))
    unit = (fake.root / "units" / links.UNIT_NAME).read_text()
    assert "Before=docker.service" in unit
    subprocess.run(["/bin/umount", "--recursive", shared], check=True)
    mount("--bind", fake.root / "served", shared)
    for line in unit.splitlines():
        if line.startswith("ExecStart=-"):
            subprocess.run(line[len("ExecStart=-") :].split(), check=True)
    assert links.is_closed(str(shared))
    assert not links.is_closed(str(shared / "uploads"))


def test_a_folder_of_the_nodes_own_is_pinned_too_and_stays_so(
    fake: FakeMachine, make_host: MakeNode, shared: Path
) -> None:
    """An agent that starts again pins it before it has looked at the release."""
    node = make_host("follower")
    name = f"nodes/{node.specification.folder}/notebooks"
    notebooks = fake.root / "served" / name
    notebooks.mkdir(parents=True)
    (notebooks / "file").write_text("a user's")
    (notebooks / "python").symlink_to("file")
    links.close(node)
    assert "symbolic links" in seen_by_a_container(fake, shared / name, "python")
    binds(fake, notebook={"notebooks": "/home/graphistry/notebooks"})
    node.release = fake.release
    node_folder.take(node, Compose(fake.release))
    links.close(node)
    assert seen_by_a_container(fake, shared / name, "python") == "a user's"
    before = (fake.root / "units" / links.UNIT_NAME).read_text()
    assert name in before
    links.close(make_host("follower"))
    assert (fake.root / "units" / links.UNIT_NAME).read_text() == before
