"""What an archive on this computer is, found out in one pass: a release that the agent installs, or a reason."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import shutil
import tarfile
from pathlib import Path

import pytest

from agent.delivery.archive import IMAGE_ARCHIVES
from model.problems import UserError
from operate.release import release_archive
from operate.release.release_archive import (
    MOST_PARTS,
    SMALLEST_PART,
    inspect,
    part_size,
    require_archive,
)
from sandbox.release import build_release
from sandbox.release.build import Compression

SOUND = {"graphistry": b"#!/bin/sh\n", "VERSION": b"v2.50.1\n", "CUDA_SHORT_VERSION": b"12\n"}
IMAGES = {IMAGE_ARCHIVES[0]: b"images"}


def tar(files: dict[str, bytes], top: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{top}{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def written(folder: Path, content: bytes) -> Path:
    file = folder / "release.tar.gz"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("compression", ["gz", "none", "zst"])
def test_the_stand_in_is_a_release(tmp_path: Path, compression: Compression) -> None:
    if compression == "zst" and shutil.which("zstd") is None:
        pytest.skip("no zstd here: apt install zstd")
    file = build_release(tmp_path, "2.51.3", "13", compression)
    require_archive(file)
    found = inspect(file)
    content = file.read_bytes()
    assert (found.version, found.cuda, found.size) == ("2.51.3", "13", len(content))
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    suffix = {"gz": ".tar.gz", "none": ".tar", "zst": ".tar.zst"}[compression]
    assert found.key == f"graphistry-2.51.3-13-{found.sha256[:12]}{suffix}"


@pytest.mark.parametrize("top", ["", "./", "graphistry-2.50.1/", "./release/"])
@pytest.mark.parametrize("images", IMAGE_ARCHIVES)
def test_the_release_may_be_in_one_folder(tmp_path: Path, top: str, images: str) -> None:
    found = inspect(written(tmp_path, tar({**SOUND, images: b"x"}, top)))
    assert (found.version, found.cuda) == ("2.50.1", "12")


@pytest.mark.parametrize("missing", [*SOUND, IMAGE_ARCHIVES[0]])
def test_what_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    files = {name: each for name, each in {**SOUND, **IMAGES}.items() if name != missing}
    with pytest.raises(UserError, match=f"is no release of Graphistry: {missing}"):
        inspect(written(tmp_path, tar(files)))


@pytest.mark.parametrize("name", ["../VERSION", "/etc/passwd", "a/../../b"])
def test_what_leads_out_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="leads out of the archive's folder"):
        inspect(written(tmp_path, tar({**SOUND, **IMAGES, name: b""})))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>The link has expired</html>",
        gzip.compress(tar({**SOUND, **IMAGES, "more": bytes(range(256)) * 400}))[:-200],
        gzip.compress(b"no tar"),
        tar({**SOUND, **IMAGES, "big": b"x" * 90_000})[:-50_000],
    ],
    ids=["empty", "a web page", "cut gzip", "gzip of no tar", "cut tar"],
)
def test_a_cut_or_foreign_file_is_told_without_a_traceback(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"release\.tar\.gz.* (again|missing)"):
        inspect(written(tmp_path, content))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        inspect(tmp_path / "nowhere")


def test_each_part_has_its_own_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_archive, "SMALLEST_PART", 1000)
    monkeypatch.setattr(release_archive, "MEBIBYTE", 500)
    file = written(tmp_path, tar({**SOUND, **IMAGES}))
    content = file.read_bytes()
    told: list[int] = []
    found = inspect(file, told.append)
    assert [part.offset for part in found.parts] == list(range(0, len(content), 1000))
    assert sum(part.size for part in found.parts) == len(content)
    for part in found.parts:
        piece = content[part.offset : part.offset + part.size]
        assert part.sha256 == base64.b64encode(hashlib.sha256(piece).digest()).decode()
    assert told == sorted(told)
    assert told[-1] == len(content)


@pytest.mark.parametrize("size", [1, SMALLEST_PART, 20 * 2**30, 5 * 2**40])
def test_no_archive_has_more_parts_than_s3_takes(size: int) -> None:
    each = part_size(size)
    assert SMALLEST_PART <= each <= 5 * 2**30
    assert -(-size // each) <= MOST_PARTS
