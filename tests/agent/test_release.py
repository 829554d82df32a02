"""Fetching a release in one pass, from a server that fails as servers do."""

import fcntl
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.delivery.archive import CHUNK_BYTES, widen
from agent.delivery.download import PART_BYTES
from agent.delivery.images import UNVERIFIED
from agent.failures import Failure
from agent.node import Node
from agent.phases.release import extract, release

from .fakes import FakeMachine

MakeNode = Callable[..., Node]
GET_PIPE_SIZE = 1032  # F_GETPIPE_SZ
NAMES = ["graphistry/nexus:v2.50.1-12", "graphistry/nexus:latest"]
LAYER = b"layer " * 100_000


def saved(files: dict[str, bytes] | None = None) -> bytes:
    """What `docker save` writes, in the order of its later versions; compressed as the vendor does."""
    manifest = [
        {"Config": "c.json", "RepoTags": NAMES, "Layers": ["l/layer.tar"], "LayerSources": {}},
        {"Config": "d.json", "RepoTags": None, "Layers": ["l/layer.tar"]},
    ]
    found = {
        "c.json": b"{}",
        "index.json": b"{}",
        "l/layer.tar": LAYER,
        "manifest.json": json.dumps(manifest).encode(),
        "oci-layout": b"{}",
        "repositories": b"{}",
    }
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(link("k/layer.tar", "../l/layer.tar"))
        for name, body in (found if files is None else files).items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return content.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


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
        content = self.server.content
        begin, end = 0, len(content)
        if asked and self.server.knows_ranges:
            first, last = asked.removeprefix("bytes=").split("-")
            begin, end = int(first), min(int(last or end) + 1, end)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        self.wfile.write(content[begin:end][: self.server.cut])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArchiveServer]:
    monkeypatch.setattr("agent.delivery.remote_object.LONGEST_PAUSE", 0.0)
    found = ArchiveServer(("127.0.0.1", 0), ArchiveHandler)
    found.ranges = []
    threading.Thread(
        target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    yield found
    found.shutdown()
    found.server_close()


def tarball(
    top: str = "", extra: list[tarfile.TarInfo] | None = None, images: bytes | None = None
) -> bytes:
    """A release, uncompressed."""
    files = {
        "graphistry": b"#!/bin/sh\n",
        "VERSION": b"v2.50.1\n",
        "CUDA_SHORT_VERSION": b"12\n",
        "data/config/custom.env": b"",
        "containers.tar.gz": gzip.compress(saved()) if images is None else images,
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
    assert loaded(fake) == ["c.json", "k/layer.tar", "l/layer.tar", "manifest.json"]
    assert fake.log("docker")[-4:] == [
        "load",
        f"tag {UNVERIFIED}:0 {NAMES[0]}",
        f"tag {UNVERIFIED}:0 {NAMES[1]}",
        f"rmi {UNVERIFIED}:0 {UNVERIFIED}:1",
    ]
    assert not list(fake.home.rglob("containers*"))
    assert not list(fake.home.rglob("*.partial"))


def loaded(fake: FakeMachine) -> list[str]:
    """The members of what Docker got, none of which names an image but as unverified."""
    with tarfile.open(fake.root / "loaded") as archive:
        for image, number in zip(read(archive, "manifest.json"), range(2), strict=True):
            assert image["RepoTags"] == [f"{UNVERIFIED}:{number}"]
        layer = archive.extractfile("l/layer.tar")
        assert layer is not None
        assert layer.read() == LAYER
        assert archive.getmember("k/layer.tar").linkname == "../l/layer.tar"
        return sorted(archive.getnames())


def read(archive: tarfile.TarFile, name: str) -> Any:
    content = archive.extractfile(name)
    assert content is not None
    return json.load(content)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"manifest.json": b"[{}]"},
        {"manifest.json": b"no json"},
        {"manifest.json": b"[]", "x/manifest.json": b"[]"},
        {"manifest.json": b"[]", "x/../x/index.json": b"[]"},
    ],
)
def test_images_that_cannot_be_renamed_are_refused(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode, files: dict[str, bytes]
) -> None:
    with pytest.raises(Failure) as raised:
        release(make_node(**wanted(server, tarball(images=saved(files)))))
    code = "ReleaseArchiveUnsafe" if len(files) > 1 else "ReleaseArchiveInvalid"
    assert raised.value.code == code
    assert not [line for line in fake.log("docker") if line.startswith("tag")]
    assert not list((fake.home / "releases").iterdir())


def test_images_that_were_never_verified_are_taken_away(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    """As a kill leaves them, whatever the machine is told to be next."""
    (fake.root / "unverified").write_text(f"{UNVERIFIED}:0\n{UNVERIFIED}:7\n")
    release(make_node())
    assert f"rmi {UNVERIFIED}:0 {UNVERIFIED}:7" in fake.log("docker")


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


def test_a_release_that_came_with_the_machine_gets_the_data_of_the_one_before(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    earlier = has_earlier(fake)
    (earlier / "data" / "notebooks").mkdir()
    (earlier / "data" / "notebooks" / "mine.ipynb").write_text("years of work")
    release(make_node())
    assert (fake.release / "data" / "notebooks" / "mine.ipynb").read_text() == "years of work"
    assert not earlier.exists()
    assert fake.log("graphistry") == ["down"]


def has_earlier(fake: FakeMachine) -> Path:
    """An earlier release whose services write to its data until they are ended."""
    earlier = fake.home / "releases" / "2.49.0-12"
    fake.make_release(earlier)
    script = (earlier / "graphistry").read_text()
    first, rest = script.split("\n", 1)
    last = f"open({str(earlier / 'data' / 'last')!r}, 'w').write('words')"
    (earlier / "graphistry").write_text(f"{first}\n{rest}\n{last}\n")
    return earlier


@pytest.mark.parametrize("is_preinstalled", [False, True])
def test_what_services_write_until_they_end_is_copied(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode, is_preinstalled: bool
) -> None:
    has_earlier(fake)
    node = make_node(**({} if is_preinstalled else wanted(server, tarball())))
    release(node)
    assert (node.folder / "data" / "last").read_text() == "words"


def test_an_earlier_release_whose_services_go_on_is_kept(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    earlier = has_earlier(fake)
    (earlier / "graphistry").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(Failure) as raised:
        release(make_node())
    assert raised.value.code == "ServicesNotStarted"
    assert (earlier / "data" / "config" / "custom.env").exists()


def test_data_that_cannot_be_copied_are_kept(fake: FakeMachine, make_node: MakeNode) -> None:
    earlier = has_earlier(fake)
    (earlier / "data" / "notebooks").mkdir()
    (fake.release / "data" / "notebooks").symlink_to(fake.root)
    with pytest.raises(Failure) as raised:
        release(make_node())
    assert raised.value.code == "ReleaseDataNotCopied"
    assert (earlier / "data" / "notebooks").is_dir()
    assert not (fake.root / "last").exists()


def test_who_goes_back_after_a_copy_that_failed_finds_the_earlier_data_as_they_were(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    earlier = fake.home / "releases" / "2.49.0-12"
    fake.make_release(earlier)
    (earlier / "data" / "mine").write_text("whole")
    (earlier / ".graphistry-cluster.json").write_text('{"sha256": "a", "images": []}')
    (earlier / "VERSION").write_text("v2.49.0\n")
    # The disk is full in the middle of it.
    fake.command(
        "cp", 'for target; do :; done; echo half > "$target/mine"; echo No space left >&2; exit 1'
    )
    with pytest.raises(Failure) as raised:
        release(make_node(**wanted(server, tarball())))
    assert raised.value.code == "DiskFull"
    (fake.root / "bin" / "cp").unlink()
    before = {**wanted(server, tarball())["release"], "version": "2.49.0", "sha256": "a"}
    release(make_node(release=before))
    assert (earlier / "data" / "mine").read_text() == "whole"
    assert [each.name for each in (fake.home / "releases").iterdir()] == ["2.49.0-12"]


def test_a_link_where_data_are_copied_to_is_replaced_and_not_followed(
    fake: FakeMachine, make_node: MakeNode
) -> None:
    earlier = has_earlier(fake)
    (earlier / "data" / "note").write_text("mine")
    (fake.root / "outside").write_text("root's")
    (fake.release / "data" / "note").symlink_to(fake.root / "outside")
    release(make_node())
    assert (fake.root / "outside").read_text() == "root's"
    assert (fake.release / "data" / "note").read_text() == "mine"


def test_a_release_that_was_being_replaced_when_the_agent_ended_has_its_place_again(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    """Between two names: the data are in none of the two places that are looked at else."""
    node = make_node(**wanted(server, tarball()))
    release(node)
    (node.folder / "data" / "mine").write_text("1")
    node.folder.rename(node.folder.with_name("2.50.1-12.before"))
    fake.make_release(fake.home / "releases" / "2.50.1-12.partial")
    fake.make_release(fake.home / "releases" / "2.49.0-12.retired")
    release(node)
    assert (node.folder / "data" / "mine").read_text() == "1"
    assert [each.name for each in (fake.home / "releases").iterdir()] == ["2.50.1-12"]
    assert len(server.ranges) == 1


def test_a_release_that_came_with_the_machine_hands_its_data_over_once(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    config = fake.release / "data" / "config"
    node = make_node(**wanted(server, tarball()))
    release(node)
    assert fake.log("graphistry") == []  # it never was this node's
    shutil.rmtree(node.folder)
    (config / "cluster.env").write_text("# graphistry-cluster writes this file.\n")
    (fake.release / "data" / "mine").write_text("first")
    release(node)
    assert (node.folder / "data" / "mine").read_text() == "first"
    assert fake.log("graphistry") == ["down"]
    (node.folder / "data" / "mine").write_text("second")
    release(node)
    assert (node.folder / "data" / "mine").read_text() == "second"
    assert fake.log("graphistry") == ["down"]
    assert (fake.release / "data" / "mine").read_text() == "first"


@pytest.mark.parametrize("step", ["run", "shutil.rmtree", "_replace", "name_images"])
def test_data_outlive_a_kill_at_any_step(
    server: ArchiveServer,
    fake: FakeMachine,
    make_node: MakeNode,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    """Both of another archive under the same name, and of another version."""

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    content = tarball()
    for earlier in ("2.50.1-12", "2.49.0-12"):
        fake.make_release(fake.home / "releases" / earlier)
        (fake.home / "releases" / earlier / "data" / f"of-{earlier}").write_text("mine")
    node = make_node(**wanted(server, content))
    with monkeypatch.context() as patch:
        # What else would run at the end does not, at a kill.
        patch.setattr("agent.phases.release._discard", lambda *_: None)
        patch.setattr(f"agent.phases.release.{step}", kill)
        with pytest.raises(Killed):
            release(node)
    release(node)
    for earlier in ("2.50.1-12", "2.49.0-12"):
        assert (node.folder / "data" / f"of-{earlier}").read_text() == "mine"
    assert [each.name for each in (fake.home / "releases").iterdir()] == ["2.50.1-12"]


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
    first, second = server.ranges
    assert first == f"bytes=0-{PART_BYTES - 1}"
    assert second == f"bytes={len(server.content) // 2}-{len(server.content) - 1}"


def test_a_release_that_is_replaced_while_it_is_fetched_leaves_nothing_behind(
    server: ArchiveServer,
    fake: FakeMachine,
    make_node: MakeNode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = gzip.compress(tarball())
    monkeypatch.setattr("agent.delivery.download.PART_BYTES", len(content) // 3)
    node = make_node(**wanted(server, content))

    class Replaced(ArchiveHandler):
        def do_GET(self) -> None:
            if self.server.ranges:
                self.server.content = content[:-1] + b"x"
            super().do_GET()

    server.RequestHandlerClass = Replaced
    with pytest.raises(Failure, match="nothing of it was kept") as raised:
        release(node)
    assert raised.value.code == "ReleaseChecksumMismatch"
    assert not list((fake.home / "releases").iterdir())


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
    assert fake.log("docker")[-2:] == ["load", f"rmi {UNVERIFIED}:0 {UNVERIFIED}:1"]


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


def test_a_release_that_does_not_fit_leaves_the_one_that_serves(
    server: ArchiveServer, fake: FakeMachine, make_node: MakeNode
) -> None:
    earlier = has_earlier(fake)
    (fake.root / "docker-fails").write_text("write /var/lib/docker/x: no space left on device\n")
    with pytest.raises(Failure) as raised:
        release(make_node(**wanted(server, tarball())))
    assert raised.value.code == "DiskFull"
    assert list((fake.home / "releases").iterdir()) == [earlier]
    assert fake.log("graphistry") == []
    assert fake.log("docker")[-1] == f"rmi {UNVERIFIED}:0 {UNVERIFIED}:1"


def test_another_version_than_wanted_is_refused(server: ArchiveServer, make_node: MakeNode) -> None:
    with pytest.raises(
        Failure, match=r"has version 2.50.1 for CUDA 12; wanted is 2.50.2"
    ) as raised:
        release(make_node(**wanted(server, tarball(), version="2.50.2")))
    assert raised.value.code == "ReleaseVersionMismatch"


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


def test_a_pipe_holds_a_chunk_and_stays_where_it_may_not() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        widen(process.stdin)
        assert fcntl.fcntl(process.stdin.fileno(), GET_PIPE_SIZE) == CHUNK_BYTES
    with Path(os.devnull).open("rb") as no_pipe:
        widen(no_pipe)
    widen(None)


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
