"""What is built once per user stays while somebody uses it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from sandbox.user_cache import SCARCE_BYTES, UNUSED_SECONDS, built_once


def built(folder: Path, name: str) -> Path:
    """A file of the cache; what is there already is made no more."""
    archive = folder / f"image-{name}.tar.zst"
    return built_once(archive, "image", "an image", Path.touch, print)


def unused_since(archive: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(archive, (then, then))


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """How much room the disk has."""
    disk = SimpleNamespace(free=SCARCE_BYTES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)
    return disk


def test_another_recipe_leaves_what_another_worktree_uses(tmp_path: Path) -> None:
    other, unused = built(tmp_path, "other"), built(tmp_path, "unused")
    for archive in (other, unused):
        unused_since(archive, UNUSED_SECONDS + 60)
    built(tmp_path, "other")
    built(tmp_path, "new")
    assert other.exists()
    assert not unused.exists()


def test_a_folder_that_nobody_uses_is_removed_as_a_file_is(tmp_path: Path) -> None:
    unused = built_once(tmp_path / "image-unused", "image", "a folder", Path.mkdir, print)
    (unused / "file").touch()
    unused_since(unused, UNUSED_SECONDS + 60)
    built_once(tmp_path / "image-new", "image", "a folder", Path.mkdir, print)
    assert not unused.exists()


def test_a_use_leaves_the_time_of_writing(tmp_path: Path) -> None:
    """Templates of disks are named after it, and would be made anew with every use."""
    archive = built(tmp_path, "other")
    unused_since(archive, UNUSED_SECONDS)
    written = archive.stat().st_mtime_ns
    built(tmp_path, "other")
    assert archive.stat().st_mtime_ns == written
    assert archive.stat().st_atime > time.time() - 60


def test_a_disk_without_room_keeps_the_newest_of_a_kind_only(
    tmp_path: Path, room: SimpleNamespace
) -> None:
    other = built(tmp_path, "other")
    kept = tmp_path / "template-other.tar.zst"
    kept.touch()
    room.free -= 1
    built(tmp_path, "new")
    assert not other.exists()
    assert kept.exists()


def test_a_cache_that_cannot_be_written_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    archive = built(tmp_path, "other")
    monkeypatch.setattr(os, "utime", refused)
    assert built(tmp_path, "other") == archive
