"""Root's work in a folder in which somebody else has laid links: nothing outside is touched, nobody waits for ever."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.folders import inside, shared_files
from agent.folders.inside import Folder

PREFIX = ".probe.small."


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that only root may change, and whoever makes root follow a link to it."""
    found = tmp_path / "victim"
    found.write_text("theirs")
    return found


@pytest.fixture
def place(tmp_path: Path) -> Path:
    found = tmp_path / "shared"
    found.mkdir()
    return found


WORKS: dict[str, Callable[[Folder], object]] = {
    "read": lambda folder: inside.read(folder, "name"),
    "create": lambda folder: inside.create(folder, "name", "ours"),
    "make_folders": lambda folder: inside.make_folders(folder, ["name"], 0o777),
    "make_guarded": lambda folder: inside.make_guarded(folder, "name", "guard"),
    "age": lambda folder: inside.age(folder, "name"),
    "probe": lambda folder: inside.probe(folder, PREFIX, ["name"]),
}


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("is_folder", [False, True])
def test_no_link_is_followed(victim: Path, place: Path, work: str, is_folder: bool) -> None:
    target = victim.parent / "theirs"
    target.mkdir()
    before = target.stat()
    (place / "name").symlink_to(target if is_folder else victim)
    if work == "create":
        WORKS[work](Folder(str(place)))  # what another has written stays, whatever it is
    else:
        with pytest.raises(OSError, match="'name'") as raised:
            WORKS[work](Folder(str(place)))
        assert raised.value.errno in (errno.ELOOP, errno.ENOTDIR)
    assert victim.read_text() == "theirs"
    assert not list(target.iterdir())
    assert target.stat().st_mode == before.st_mode
    assert [each.name for each in place.iterdir()] == ["name"]


@pytest.mark.parametrize("work", WORKS)
def test_no_link_is_followed_on_the_way(tmp_path: Path, place: Path, work: str) -> None:
    target = tmp_path / "theirs"
    target.mkdir()
    (place / "below").symlink_to(target)
    with pytest.raises(NotADirectoryError):
        WORKS[work](Folder(str(place), "below"))
    assert not list(target.iterdir())


def test_a_pipe_is_not_waited_for(place: Path) -> None:
    os.mkfifo(place / "name")
    begin = time.monotonic()
    with pytest.raises(OSError, match="name") as raised:
        inside.read(Folder(str(place)), "name")
    assert raised.value.errno == errno.ELOOP
    assert time.monotonic() - begin < 5


def test_a_file_is_written_once_and_read(place: Path) -> None:
    folder = Folder(str(place.parent), "shared")
    assert inside.read(folder, "name") is None
    inside.create(folder, "name", "ours")
    inside.create(folder, "name", "another's")
    assert inside.read(folder, "name") == "ours"


def test_a_guard_of_before_stays(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "guard").write_text("there")
    inside.make_guarded(Folder(str(place)), "data", "guard")
    inside.make_guarded(Folder(str(place)), "other", "guard")
    assert (place / "data" / "guard").read_text() == "there"
    assert (place / "other" / "guard").read_text() == ""


def test_a_guard_that_is_a_link_is_not_followed(place: Path, victim: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "guard").symlink_to(victim.parent / "new")
    inside.make_guarded(Folder(str(place)), "data", "guard")
    assert not (victim.parent / "new").exists()


def test_a_probe_leaves_nothing_and_has_another_name_each_time(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = place.parent / "names"
    names.mkdir()
    real = os.unlink
    monkeypatch.setattr(
        "os.unlink", lambda name, **where: ((names / name).touch(), real(name, **where))
    )
    for _ in range(2):
        inside.probe(Folder(str(place)), PREFIX, ["data"])
    assert len(list(names.iterdir())) == 2
    assert not list(place.iterdir())


def test_what_ended_probes_left_is_taken_away_and_nothing_else(place: Path, victim: Path) -> None:
    for name in (f"{PREFIX}0", ".probe.small-one.0", "data"):
        (place / name).touch()
    (place / f"{PREFIX}1").symlink_to(victim)
    (place / f"{PREFIX}2").mkdir()
    inside.forget_probes(Folder(str(place)), (PREFIX,))
    left = {each.name for each in place.iterdir()}
    assert left == {f"{PREFIX}2", ".probe.small-one.0", "data"}
    assert victim.read_text() == "theirs"


def test_work_that_hangs_is_ended_and_holds_nothing_meanwhile() -> None:
    """A dead file server's: the descriptors of the agent would else be open for as long."""
    theirs, ours = os.pipe()

    def hang() -> str:
        os.write(1, b"")
        time.sleep(60)
        return ""

    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        inside.bounded(hang, 0.3)
    assert time.monotonic() - begin < 5
    os.close(ours)
    assert os.read(theirs, 1) == b""
    os.close(theirs)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_what_cannot_be_answered_is_an_error() -> None:
    def crash() -> str:
        raise ValueError

    with pytest.raises(OSError, match="Input/output error"):
        inside.bounded(crash)
    with pytest.raises(PermissionError):
        inside.bounded(lambda: _refuse())
    assert len(inside.bounded(lambda: "x" * 300_000)) == 300_000


def _refuse() -> str:
    raise PermissionError(errno.EPERM, "no", "name")


def test_a_file_takes_the_place_of_a_link_and_not_of_what_it_leads_to(
    victim: Path, place: Path
) -> None:
    (place / "name").symlink_to(victim)
    inside.replace(Folder(str(place)), "name", "ours")
    assert victim.read_text() == "theirs"
    assert [(each.name, each.is_symlink(), each.read_text()) for each in place.iterdir()] == [
        ("name", False, "ours")
    ]


def as_user(user: int, *command: str) -> int:
    """The exit status of a command that another user than root runs."""
    switched = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command)
    return subprocess.run(switched, capture_output=True, check=False).returncode


@pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to be two other users")
@pytest.mark.parametrize("before", [None, 0o1777, 0o777, 0o770, 0o2775])
def test_one_services_user_deletes_what_anothers_wrote(
    monkeypatch: pytest.MonkeyPatch, before: int | None
) -> None:
    """As with the vendor's `chmod -R 777`; a sticky folder is of an agent before, any other mode an owner's choice."""
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to others
        Path(place).chmod(0o755)
        folder = Path(place, "datasets")
        if before is not None:
            folder.mkdir()
            folder.chmod(before)
        monkeypatch.setattr(shared_files, "place", lambda _: Folder(place))
        shared_files.make_folders(SimpleNamespace(specification=None))  # type: ignore[arg-type]
        if before in (0o770, 0o2775):
            assert stat.S_IMODE(folder.stat().st_mode) == before
            return
        assert as_user(1001, "touch", str(folder / "written")) == 0
        assert as_user(1000, "rm", str(folder / "written")) == 0
