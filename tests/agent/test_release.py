"""Fetching a release in one pass, from a server that fails as servers do."""

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.failures import Failure
from agent.node import Node
from agent.release import extract, loaded_images, release

from .fakes import FakeMachine

MakeNode = Callable[..., Node]
IMAGES = b"images " * 100_000


class ArchiveServer(ThreadingHTTPServer):
    """Serves one archive; cuts each answer after *cut* bytes, if set."""

    content = b""
    cut: int | None = None
    knows_ranges = True
    ranges: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/release.tar"


class ArchiveHandler(BaseHTTPRequestHandler):
    server: ArchiveServer

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        if self.path != "/release.tar":
            self.send_error(404)
            return
        begin = 0
        if asked and self.server.knows_ranges:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
        left = self.server.content[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(left)))
        self.end_headers()
        self.wfile.write(left[: self.server.cut])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    monkeypatch.setattr("agent.download.LONGEST_PAUSE", 0.0)
    found = ArchiveServer(("127.0.0.1", 0), ArchiveHandler)
    found.ranges = []
    threading.Thread(
        target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    yield found
    found.shutdown()
    found.server_close()


def tarball(top: str = "", extra: list[tarfile.TarInfo] | None = None) -> bytes:
    """A release, uncompressed."""
    files = {
        "graphistry": b"#!/bin/sh\n",
        "VERSION": b"v2.50.1\n",
        "CUDA_SHORT_VERSION": b"12\n",
        "data/config/custom.env": b"",
        "containers.tar.gz": IMAGES,
    }
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(top + name)
            member.size, member.mode = len(body), 0o755
            archive.addfile(member, io.BytesIO(body))
        for member in extra or []:
            archive.addfile(member)
    return content.getvalue()


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-q"], input=content, capture_output=True, check=True).stdout


def wanted(server: ArchiveServer, content: bytes, **changes: Any) -> dict[str, Any]:
    """The specification's release, which is *content*."""
    server.content = content
    sha256 = hashlib.sha256(content).hexdigest()
    return {
        "release": {
            "version": "2.50.1",
            "cuda": "12",
            "source": server.url,
            "sha256": sha256,
            **changes,
        }
    }


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
def test_a_release_is_unpacked_and_its_images_go_to_docker(
    server: ArchiveServer,
    fake: FakeMachine,
    make_node: MakeNode,
    compress: Callable[[bytes], bytes],
) -> None:
    node = make_node(**wanted(server, compress(tarball())))
    release(node)
    assert node.folder == fake.home / "releases" / "2.50.1-12"
    assert (node.folder / "graphistry").stat().st_mode & 0o111
    assert (fake.root / "loaded").read_bytes() == IMAGES
    assert not list(fake.home.rglob("containers*"))
    assert not list(fake.home.rglob("*.partial"))


def test_a_release_in_a_folder_of_its_own_is_found(
    server: ArchiveServer, make_node: MakeNode
) -> None:
    node = make_node(**wanted(server, tarball("graphistry-2.50.1/")))
    release(node)
    assert (node.folder / "VERSION").is_file()


def test_a_release_is_fetched_once_and_again_when_its_images_are_gone(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    node = make_node(**wanted(server, tarball()))
    release(node)
    (node.folder / "data" / "config" / "custom.env").write_text("MINE=1")
    release(node)
    assert len(server.ranges) == 1
    (fake.root / "no-images").touch()
    release(node)
    assert len(server.ranges) == 2
    assert (node.folder / "data" / "config" / "custom.env").read_text() == "MINE=1"


def test_an_earlier_release_is_ended_and_what_an_operator_wrote_into_it_goes_along(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    earlier = fake.home / "releases" / "2.49.0-12"
    fake.make_release(earlier)
    (earlier / "data" / "config" / "custom.env").write_text("MINE=1")
    (earlier / ".graphistry-cluster.json").write_text(
        '{"sha256": "", "images": ["graphistry/nexus:v2.49.0-12", "graphistry/nexus:v2.50.1-12"]}'
    )
    if os.geteuid() == 0:
        os.chown(earlier / "data" / "config", 1000, 1000)
    node = make_node(**wanted(server, tarball()))
    release(node)
    assert (node.folder / "data" / "config" / "custom.env").read_text() == "MINE=1"
    assert (node.folder / "data" / "config").stat().st_uid == (
        1000 if os.geteuid() == 0 else os.geteuid()
    )
    assert fake.log("graphistry") == ["down"]
    assert not earlier.exists()
    assert fake.log("docker")[-1] == "rmi graphistry/nexus:v2.49.0-12"


def test_what_an_interrupted_run_has_left_is_no_earlier_release(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    fake.make_release(fake.home / "releases" / "2.49.0-12.partial")
    release(make_node(**wanted(server, tarball())))
    assert fake.log("graphistry") == []


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_cut_download_goes_on_where_it_was_cut(
    server: ArchiveServer, make_node: MakeNode, knows_ranges: bool
) -> None:
    node = make_node(**wanted(server, tarball()))
    server.knows_ranges = knows_ranges
    cut_once(server)
    release(node)
    assert server.ranges[0] is None
    assert server.ranges[1] == f"bytes={len(server.content) // 2}-"


def cut_once(server: ArchiveServer) -> None:
    """The first answer ends early; the later ones are whole."""
    server.cut = len(server.content) // 2

    class Once(ArchiveHandler):
        def do_GET(self) -> None:
            super().do_GET()
            self.server.cut = None

    server.RequestHandlerClass = Once


def test_a_download_that_never_goes_on_is_given_up(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    node = make_node(**wanted(server, gzip.compress(tarball())))
    server.cut = 0
    with pytest.raises(Failure, match="cut 8 times at byte 0") as raised:
        release(node)
    assert raised.value.code == "ReleaseDownloadCut"
    assert not list((fake.home / "releases").iterdir())


def test_another_checksum_leaves_nothing_behind(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    node = make_node(**wanted(server, gzip.compress(tarball()), sha256="0" * 64))
    with pytest.raises(Failure, match="the specification names 0000") as raised:
        release(node)
    assert raised.value.code == "ReleaseChecksumMismatch"
    assert not list((fake.home / "releases").iterdir())
    assert "rmi graphistry/nexus:v2.50.1-12" in fake.log("docker")


def test_a_damaged_archive_is_told_by_its_checksum(
    server: ArchiveServer, make_node: MakeNode
) -> None:
    content = gzip.compress(tarball())
    changes = wanted(server, content)
    server.content = content[:5000] + bytes(100) + content[5100:]
    with pytest.raises(Failure) as raised:
        release(make_node(**changes))
    assert raised.value.code == "ReleaseChecksumMismatch"


def test_what_is_no_release_is_told(server: ArchiveServer, make_node: MakeNode) -> None:
    for content in (b"hello", gzip.compress(tarball()[:1024]), gzip.compress(b"hello" * 1000)):
        with pytest.raises(Failure) as raised:
            release(make_node(**wanted(server, content)))
        assert raised.value.code == "ReleaseArchiveInvalid"


def test_a_missing_archive_is_told_at_once(server: ArchiveServer, make_node: MakeNode) -> None:
    with pytest.raises(Failure, match="404") as raised:
        release(make_node(**wanted(server, b"", source=f"{server.url}.missing")))
    assert raised.value.code == "ReleaseUnavailable"
    assert len(server.ranges) == 1


def test_a_full_disk_is_told_and_cleared(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    (fake.root / "docker-fails").write_text("write /var/lib/docker/x: no space left on device\n")
    with pytest.raises(Failure) as raised:
        release(make_node(**wanted(server, tarball())))
    assert raised.value.code == "DiskFull"
    assert not list((fake.home / "releases").iterdir())


def test_another_version_than_wanted_is_refused(server: ArchiveServer, make_node: MakeNode) -> None:
    with pytest.raises(
        Failure, match=r"has version 2.50.1 for CUDA 12; wanted is 2.50.2"
    ) as raised:
        release(make_node(**wanted(server, tarball(), version="2.50.2")))
    assert raised.value.code == "ReleaseVersionMismatch"


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "members",
    [
        [tarfile.TarInfo("../outside")],
        [tarfile.TarInfo("/tmp/outside")],  # noqa: S108
        [tarfile.TarInfo("data/../../outside")],
        [link("door", "/etc")],
        [link("door", "../..")],
        [link("passwd", "../../etc/passwd", tarfile.LNKTYPE)],
        [link("device", "", tarfile.CHRTYPE)],
    ],
    ids=lambda members: members[0].name,
)
def test_an_archive_that_leads_outside_is_refused(
    tmp_path: Path, members: list[tarfile.TarInfo]
) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for member in members:
            archive.addfile(member)
    content.seek(0)
    inside = tmp_path / "inside"
    inside.mkdir()
    with tarfile.open(fileobj=content) as archive:
        *first, last = archive.getmembers()
        for member in first:
            extract(archive, member, inside)
        with pytest.raises(Failure) as raised:
            extract(archive, last, inside)
    assert raised.value.code == "ReleaseArchiveUnsafe"
    assert [each.name for each in tmp_path.iterdir()] == ["inside"]


def test_owners_and_modes_are_those_of_the_archive_but_for_setuid(tmp_path: Path) -> None:
    folder, file = tarfile.TarInfo("data"), tarfile.TarInfo("data/notebook")
    folder.type, folder.mode, file.mode = tarfile.DIRTYPE, 0o777, 0o4666
    folder.uid = folder.gid = file.uid = file.gid = 1000
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(folder)
        archive.addfile(file)
    content.seek(0)
    with tarfile.open(fileobj=content) as archive:
        for member in archive:
            extract(archive, member, tmp_path)
    found = [(tmp_path / name).stat() for name in ("data", "data/notebook")]
    assert [each.st_mode & 0o7777 for each in found] == [0o777, 0o666]
    owner = 1000 if os.geteuid() == 0 else os.geteuid()
    assert {each.st_uid for each in found} == {owner}


def test_links_inside_the_archive_are_kept(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("data/file"))
        archive.addfile(link("data/soft", "file"))
        archive.addfile(link("hard", "data/file", tarfile.LNKTYPE))
    content.seek(0)
    with tarfile.open(fileobj=content) as archive:
        for member in archive:
            extract(archive, member, tmp_path)
    assert (tmp_path / "data" / "soft").resolve() == tmp_path / "data" / "file"
    assert (tmp_path / "hard").is_file()


def test_names_of_loaded_images() -> None:
    text = (
        "Loaded image: graphistry/nexus:1\nLoaded image ID: sha256:0\nLoaded image: redis:6.2.7\n"
    )
    assert loaded_images(text) == ["graphistry/nexus:1", "redis:6.2.7"]
